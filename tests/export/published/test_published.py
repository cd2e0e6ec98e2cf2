"""Compare the real checkpoints with published figures (tests/published has the table).

`pytest -m hub` downloads all of them. `pytest` downloads only the default one, and none if the hub does not answer.
Without a hub, test_figure_kinds runs the same checks on checkpoints with seeded weights.
"""

import os
import queue
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from embedge_export import export
from embedge_export.checkpoint.recipe import find_recipe, load_recipe
from embedge_models import recipe_names
from figure_kinds import Figure, StsB
from published_figures import FIGURES

PATIENCE = 5.0  # seconds for the hub to answer
DEFAULT = "bge-small-en-v1.5"


@pytest.fixture(scope="session")
def hub() -> str:
    """The hub's address. It is asked once; if it does not answer, the tests that need it are skipped."""
    # Imported here, before a test sets a cache of its own: gigabytes are downloaded to the user's cache.
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        pytest.skip("HF_HUB_OFFLINE forbids the hub")
    answers: queue.Queue[str] = queue.Queue()

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{ENDPOINT}/api/models/BAAI/{DEFAULT}", timeout=PATIENCE):
                answers.put("")
        except OSError as error:
            answers.put(f"cannot be reached ({error})")

    # In a thread, because the timeout does not cover the look-up of the name.
    threading.Thread(target=ask, daemon=True).start()
    try:
        why = answers.get(timeout=PATIENCE)
    except queue.Empty:
        why = f"is silent for {PATIENCE:.0f} s"
    if why:
        pytest.skip(f"{ENDPOINT} {why}; set HF_ENDPOINT to a mirror")
    return str(ENDPOINT)


@pytest.mark.hub
@pytest.mark.parametrize("name", [name for name in recipe_names() if load_recipe(name).package is None])
def test_a_real_checkpoint_exports_and_gives_what_is_published(
    name: str, hub: str, request: pytest.FixtureRequest
) -> None:
    """int8 and fp32 reach their floors, and all figures of the table are met."""
    if name != DEFAULT and "hub" not in request.config.option.markexpr:
        size = load_recipe(name).parameters * 4e-9
        pytest.skip(f"{name} is {size:.1f} GB on the hub; `pytest -m hub` downloads it")
    figures = [figure for figure in FIGURES if figure.model == name]
    on_sts_b = [figure for figure in figures if isinstance(figure, StsB)]
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bundle = export(name, Path(folder) / name, precisions=("int8", "fp32"))
        check([figure for figure in figures if not isinstance(figure, StsB)], bundle.path)
        if on_sts_b:
            request.getfixturevalue("data")
            check(on_sts_b, bundle.path)


def check(figures: Sequence[Figure], model: Path) -> None:
    """Fail with a list of the figures that are not met."""
    errors = []
    for figure in figures:
        try:
            figure.check(model)
        except AssertionError as error:
            errors.append(f"{type(figure).__name__} {figure.precision}: {error}")
    if errors:
        pytest.fail("\n".join(errors))


def test_every_figure_has_a_recipe_and_a_source() -> None:
    for figure in FIGURES:
        assert find_recipe(figure.model) is not None
        assert figure.source.startswith("https://")


def run_hub_tests(*options: str, endpoint: str) -> str:
    """Run pytest on this file in a new process; return its output."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, __file__]
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_without_a_hub_the_tests_are_skipped_with_the_reason() -> None:
    said = run_hub_tests("-m", "hub", endpoint="http://127.0.0.1:9")
    assert f"{len(recipe_names()) - 1} skipped" in said  # all but the one that a package has
    assert "http://127.0.0.1:9 cannot be reached" in said


def test_a_large_model_is_downloaded_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "api" / "models" / "BAAI" / DEFAULT
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = run_hub_tests("-k", "bge-m3", endpoint=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert "bge-m3 is 2.3 GB on the hub; `pytest -m hub` downloads it" in said
