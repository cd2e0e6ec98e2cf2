"""The scripts in examples/ find the right document, each run as a reader would run it."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from embedge import Bundle

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(script: str, bundle: Bundle, folder: Path, *arguments: str) -> list[str]:
    """Texts that a script prints, best first, its scores left out; lines without a score are headings."""
    command = [sys.executable, str(EXAMPLES / f"{script}.py"), str(bundle.path), *arguments]
    printed = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=True).stdout.splitlines()
    return [line.partition("  ")[2] or line for line in printed]


def test_numpy(minilm_bundle: Bundle, tmp_path: Path) -> None:
    """The second run reads the vectors that the first one wrote."""
    bike = "Bicycles travel free of charge outside rush hour."
    assert run("search_numpy", minilm_bundle, tmp_path, "can I take my bike on the train?")[0] == bike
    written = (tmp_path / "vectors.npy").stat().st_mtime_ns
    refund = "Tickets that were not used are refunded within two weeks."
    assert run("search_numpy", minilm_bundle, tmp_path, "do I get my money back?")[0] == refund
    assert (tmp_path / "vectors.npy").stat().st_mtime_ns == written


@pytest.mark.skipif(not find_spec("qdrant_client"), reason="needs qdrant-client, which the test extra brings")
def test_qdrant(minilm_bundle: Bundle, tmp_path: Path) -> None:
    found = run("search_qdrant", minilm_bundle, tmp_path, "how do I get out of my subscription?")
    assert len(found) == 3
    assert found[0] == "A contract can be cancelled at the end of any month."


@pytest.mark.skipif(
    not (find_spec("apsw") and find_spec("sqlite_vec")), reason="needs apsw and sqlite-vec, which the test extra brings"
)
def test_sqlite_vec(minilm_bundle: Bundle, tmp_path: Path) -> None:
    """Bits pick the candidates and whole vectors rank them, so the best are the same."""
    found = run("search_sqlite_vec", minilm_bundle, tmp_path, "when does my citrus have to come indoors?")
    heads = [position for position, line in enumerate(found) if line.endswith(":")]
    whole, rescored = found[1 : heads[1]], found[heads[1] + 1 :]
    assert whole[0] == rescored[0] == "Cover lemon trees before the first frost, or take them inside."
    assert len(whole) == len(rescored) == 3


@pytest.mark.skipif(not find_spec("lancedb"), reason="needs lancedb, which the test extra brings")
def test_lancedb(minilm_bundle: Bundle, tmp_path: Path) -> None:
    found = run("search_lancedb", minilm_bundle, tmp_path, "why does my meat get dry?", "store")
    assert found[0] == "Rest a steak for five minutes, so that the juice stays in it."
    assert (tmp_path / "store" / "kitchen.lance").is_dir()
