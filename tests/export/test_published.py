"""What others publish of the real checkpoints (the table is tests/published): `pytest -m hub` fetches them all.

A plain `pytest` fetches only the small ones, and none where the hub does not answer. Without a hub, test_figure_kinds
runs the very same checks on seeded checkpoints.
"""

import os
import queue
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from embedge_export import export
from embedge_export.recipe import find_recipe, load_recipe
from figure_kinds import Figure, StsB
from published_figures import FIGURES

PATIENCE = 5.0  # seconds for the hub to answer
SMALL = 50_000_000  # weights of the largest model that is fetched unasked, 0.2 GB


@pytest.fixture(scope="session")
def hub() -> str:
    """Where the hub is. It is asked once; what needs it skips, and says why, where it does not answer."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        pytest.skip("HF_HUB_OFFLINE forbids the hub")
    answers: queue.Queue[str] = queue.Queue()

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{endpoint}/api/models/BAAI/bge-small-en-v1.5", timeout=PATIENCE):
                answers.put("")
        except OSError as error:
            answers.put(f"cannot be reached ({error})")

    # In a thread: the timeout is not one for looking up a name.
    threading.Thread(target=ask, daemon=True).start()
    try:
        why = answers.get(timeout=PATIENCE)
    except queue.Empty:
        why = f"is silent for {PATIENCE:.0f} s"
    if why:
        pytest.skip(f"{endpoint} {why}; set HF_ENDPOINT to a mirror")
    return endpoint


@pytest.fixture(scope="module")
def bundle(request: pytest.FixtureRequest, hub: str) -> Iterator[Path]:
    """A bundle of a recipe's name and a precision; int8 is held to its recipe's floors, too."""
    name, precision = request.param
    parameters = load_recipe(name).parameters
    if parameters > SMALL and "hub" not in request.config.option.markexpr:
        pytest.skip(f"{name} is {parameters * 4e-9:.1f} GB on the hub; `pytest -m hub` fetches it")
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = export(name, Path(folder) / name, precisions=(precision,), verify=precision == "int8")
        yield made.path


@pytest.mark.hub
@pytest.mark.parametrize(
    ("bundle", "figure"),
    [pytest.param((f.model, f.precision), f, id=f"{f.model}-{f.precision}-{type(f).__name__}") for f in FIGURES],
    indirect=["bundle"],
)
def test_a_real_checkpoint_gives_what_is_published(
    bundle: Path, figure: Figure, request: pytest.FixtureRequest
) -> None:
    if isinstance(figure, StsB):
        request.getfixturevalue("data")
    figure.check(bundle)


def test_every_figure_has_a_recipe_and_a_source() -> None:
    for figure in FIGURES:
        assert find_recipe(figure.model) is not None
        assert figure.source.startswith("https://")


def run_hub_tests(*options: str, endpoint: str) -> str:
    """What pytest says of this file in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, __file__]
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_hub_that_is_not_there_is_a_skip_that_says_why() -> None:
    said = run_hub_tests("-m", "hub", endpoint="http://127.0.0.1:9")
    assert f"{len(FIGURES)} skipped" in said
    assert "http://127.0.0.1:9 cannot be reached" in said


def test_a_large_model_is_fetched_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "api" / "models" / "BAAI" / "bge-small-en-v1.5"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = run_hub_tests("-k", "bge-m3 and real", endpoint=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert "bge-m3 is 2.3 GB on the hub; `pytest -m hub` fetches it" in said
