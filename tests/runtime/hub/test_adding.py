"""obtain.py and resolve.py for a GPU: fp16 is added to a cached bundle, or the error's command adds it.

The exporter is the real one, on a checkpoint of two layers, and the hub is on the loopback. Only CUDA is pretended.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from embedge import Bundle
from embedge.bundle.cache_paths import cached_path
from embedge.bundle.copy import copy_bundle
from embedge_export.checkpoint.recipe import load_recipe
from hub_commands import NAME, environment, run
from loopback_hub import Hub, fails
from no_card import PRETEND

MODEL = "someone/tiny-model"  # a checkpoint on the hub; NAME is a bundle
LOAD = """
import logging, sys
sys.modules["optimum"] = None  # verifying the export with it takes seconds
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from embedge import Embedder
model = Embedder(sys.argv[1], device="cuda", local_files_only="local" in sys.argv)
print(model.precision)
"""
WITHOUT_EXPORTER = "import sys; sys.modules['onnx'] = None\n"


def load(hub: Hub | None, model: str, *words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Load a model on what seems to be a GPU, in a new process, which prints its log and the precision."""
    words = (sys.executable, "-c", before + PRETEND + LOAD, model, *words)
    return subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment(hub), check=False)


def error(done: subprocess.CompletedProcess[str]) -> str:
    """The message of a PrecisionNotFoundError."""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("embedge.errors.PrecisionNotFoundError: "), done.stderr
    return last.partition(": ")[2]


def type_last_command(hub: Hub | None, message: str) -> None:
    """Type embedge's last command in an error's message, but verify no export with optimum, which takes seconds."""
    name, *words = shlex.split(re.findall("`([^`]*)`", message)[-1])
    assert name == "embedge"
    done = run(hub, *words, *(["--no-verify"] if words[0] == "export" else []))
    assert done.returncode == 0, done.stderr


def held(model: str) -> set[str]:
    """The precisions of a cached bundle, whose files are whole."""
    bundle = Bundle.open(cached_path(model))
    bundle.check()
    return set(bundle.manifest.precisions)


@pytest.fixture(scope="session")
def full_bundle(
    export: Callable[..., Bundle], tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """int8, fp32 and fp16."""
    folder = tmp_path_factory.mktemp("full") / "bundle"
    return export(tiny_checkpoint, folder, precisions=("int8", "fp32", "fp16"), verify=False)


def offer(hub: Hub, bundle: Bundle, folder: Path, *precisions: str) -> None:
    """Let the repository NAME hold these precisions of a bundle, and nothing else."""
    hub.add(NAME, copy_bundle(bundle, folder, precisions=precisions).path)


@pytest.fixture
def exported(hub: Hub, full_bundle: Bundle, tiny_checkpoint: Path) -> Path:
    """The cached bundle of MODEL, int8, which was exported from the hub's checkpoint."""
    hub.add(MODEL, tiny_checkpoint)
    assert run(hub, "export", MODEL, "--no-verify").returncode == 0
    assert held(MODEL) == {"int8"}
    return cached_path(MODEL)


def test_the_exporter_adds_fp16_to_an_exported_bundle(hub: Hub, exported: Path) -> None:
    """Once, and what was there stays."""
    graph = (exported / "onnx" / "model_int8.onnx").read_bytes()
    done = load(hub, MODEL)
    lines = done.stdout.splitlines()
    assert lines[-1:] == ["fp16"], done.stderr
    assert lines[0] == f"adding     fp16 or fp32 to {exported}, which holds int8"
    assert any(line.startswith("fp16 ") for line in lines)  # the exporter's step
    assert held(MODEL) == {"int8", "fp16"}
    assert (exported / "onnx" / "model_int8.onnx").read_bytes() == graph
    assert load(None, MODEL).stdout == "fp16\n"


@pytest.mark.parametrize("online", [True, False])
def test_without_the_exporter_the_error_has_the_commands_that_add_fp16(hub: Hub, exported: Path, online: bool) -> None:
    message = error(load(hub if online else None, MODEL, before=WITHOUT_EXPORTER))
    assert message == (
        f"{exported} holds int8, not fp16, and it cannot be exported here (onnx is not installed); "
        f"run `pip install 'embedge[export]'`, then `embedge export {MODEL} --precision fp16`"
    )
    assert held(MODEL) == {"int8"}
    type_last_command(hub, message)
    assert load(None, MODEL, before=WITHOUT_EXPORTER).stdout == "fp16\n"


def test_local_files_only_exports_from_a_checkpoint_that_is_here(hub: Hub, exported: Path) -> None:
    """Which the first export has downloaded. Without it, the error says what is missing."""
    hub.requests.clear()
    assert load(hub, MODEL, "local").stdout.splitlines()[-1:] == ["fp16"]
    assert hub.requests == []
    shutil.rmtree(cached_path(MODEL))
    assert run(hub, "export", MODEL, "--no-verify").returncode == 0
    shutil.rmtree(Path(os.environ["EMBEDGE_HOME"]) / "checkpoints")
    hub.requests.clear()
    message = error(load(hub, MODEL, "local"))
    assert re.search(
        r"not fp16, and it cannot be exported here \(someone/tiny-model .*\); run `embedge export", message
    )
    assert hub.requests == []


def test_a_recipes_name_gets_fp16_by_the_recipe(hub: Hub, full_bundle: Bundle, tiny_checkpoint: Path) -> None:
    """First by the exporter; and where that is not there, by the command in the error."""
    recipe = load_recipe("bge-small-en-v1.5")
    repository = hub.add(recipe.hub.id, tiny_checkpoint)
    repository.branches[recipe.hub.revision] = repository.files
    assert load(hub, recipe.name).stdout.splitlines()[-1:] == ["fp16"]
    assert held(recipe.name) == {"fp16"}
    shutil.rmtree(cached_path(recipe.name))
    assert run(hub, "export", recipe.name, "--no-verify").returncode == 0
    message = error(load(None, recipe.name, before=WITHOUT_EXPORTER))
    assert message.endswith(f"then `embedge export {recipe.hub.id} --precision fp16`")
    type_last_command(hub, message)
    assert held(recipe.name) == {"int8", "fp16"}
    assert load(None, recipe.hub.id).stdout == load(None, recipe.name).stdout == "fp16\n"


@pytest.mark.parametrize(
    ("offered", "added"), [(("int8", "fp32", "fp16"), "fp16"), (("int8", "fp32"), "fp32"), (("int8", "fp16"), "fp16")]
)
def test_what_the_hubs_bundle_has_is_added_to_a_downloaded_one(
    hub: Hub, full_bundle: Bundle, tmp_path: Path, offered: tuple[str, ...], added: str
) -> None:
    offer(hub, full_bundle, tmp_path / "offered", *offered)
    assert run(hub, "pull", NAME).returncode == 0
    assert held(NAME) == {"int8"}
    hub.requests.clear()
    done = load(hub, NAME, before=WITHOUT_EXPORTER)
    assert done.stdout.splitlines()[-1:] == [added], done.stderr
    assert held(NAME) == {"int8", added}
    assert hub.count("GET", "model_int8") == 0
    hub.requests.clear()
    assert load(hub, NAME).stdout == f"{added}\n"
    assert hub.requests == []


def test_a_downloaded_bundle_of_which_the_hub_has_no_more_gets_the_export_command(
    hub: Hub, exported: Path, tmp_path: Path
) -> None:
    hub.add(NAME, exported)
    assert run(hub, "pull", NAME).returncode == 0
    message = error(load(hub, NAME))
    place = cached_path(NAME)
    command = f"embedge export {MODEL} -o {place} --precision fp16"
    assert message == f"{place} holds int8, not fp16 or fp32; run `{command}` to get it"
    assert held(NAME) == {"int8"}
    type_last_command(hub, message)
    assert held(NAME) == {"int8", "fp16"}
    assert load(None, NAME).stdout == "fp16\n"


@pytest.mark.parametrize("before", ["", WITHOUT_EXPORTER], ids=["exporter", "no exporter"])
def test_no_network_is_an_error_with_the_pull_command(
    hub: Hub, full_bundle: Bundle, tmp_path: Path, before: str
) -> None:
    """So is local_files_only, with which the hub is not asked."""
    offer(hub, full_bundle, tmp_path / "offered", "int8", "fp16")
    assert run(hub, "pull", NAME).returncode == 0
    place, command = cached_path(NAME), f"embedge pull {NAME} --precision fp16"
    hub.fault = fails(503, "/api/models/")
    message = error(load(hub, NAME, before=before))
    assert re.fullmatch(rf"{place} holds int8, not fp16, and the hub .* {NAME} .*; run `{command}`", message)
    hub.fault = None
    hub.requests.clear()
    message = error(load(hub, NAME, "local", before=before))
    assert message == f"{place} holds int8, not fp16, and local_files_only forbids to download it; run `{command}`"
    assert hub.requests == []
    assert held(NAME) == {"int8"}
    type_last_command(hub, message)
    assert load(hub, NAME, "local", before=before).stdout == "fp16\n"


def test_nothing_is_lost_if_the_hub_has_another_bundle_by_now(hub: Hub, full_bundle: Bundle, tmp_path: Path) -> None:
    """One without int8, and nothing says which commit the cached bundle is of."""
    offer(hub, full_bundle, tmp_path / "int8", "int8")
    assert run(hub, "pull", NAME).returncode == 0
    (cached_path(NAME) / ".commit").unlink()
    offer(hub, full_bundle, tmp_path / "fp16", "fp16")
    assert "holds int8, not fp16 or fp32; run `embedge export CHECKPOINT -o " in error(load(hub, NAME))
    assert held(NAME) == {"int8"}


@pytest.mark.parametrize(
    ("offered", "picked"), [(("int8", "fp32", "fp16"), "fp16"), (("int8", "fp32"), "fp32"), (("int8",), None)]
)
def test_a_first_download_is_of_what_a_gpu_runs(
    hub: Hub, full_bundle: Bundle, tmp_path: Path, offered: tuple[str, ...], picked: str | None
) -> None:
    offer(hub, full_bundle, tmp_path / "offered", *offered)
    done = load(hub, NAME)
    if picked is None:
        assert f"{NAME} on the hub holds int8, not fp16 or fp32; run `embedge export CHECKPOINT" in error(done)
        assert not cached_path(NAME).exists()
        return
    assert done.stdout.splitlines()[-1:] == [picked], done.stderr
    assert held(NAME) == {picked}


def test_a_cached_bundle_of_fp32_is_loaded_as_it_is(hub: Hub, full_bundle: Bundle, tmp_path: Path) -> None:
    offer(hub, full_bundle, tmp_path / "offered", "int8", "fp32", "fp16")
    assert run(hub, "pull", NAME, "--precision", "fp32").returncode == 0
    hub.requests.clear()
    assert load(hub, NAME).stdout == "fp32\n"
    assert hub.requests == []


def test_a_bundle_that_was_exported_from_a_directory_gets_the_command_with_its_place(
    hub: Hub, full_bundle: Bundle, tiny_checkpoint: Path
) -> None:
    """Its name is no recipe's, so that nothing but the checkpoint's directory makes it again."""
    assert run(hub, "export", str(tiny_checkpoint), "--no-verify").returncode == 0
    (place,) = (Path(os.environ["EMBEDGE_HOME"]) / "bundles").iterdir()
    message = error(load(hub, place.name))
    assert message.endswith(f"; run `embedge export CHECKPOINT -o {place} --precision fp16`")
    type_last_command(hub, message.replace("CHECKPOINT", str(tiny_checkpoint)))
    assert load(None, place.name).stdout == "fp16\n"


def test_a_directory_of_the_models_name_changes_nothing(
    hub: Hub, full_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cached bundle is meant, as without CUDA."""
    offer(hub, full_bundle, tmp_path / "offered", "int8", "fp16")
    assert run(hub, "pull", NAME).returncode == 0
    (tmp_path / NAME).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    done = load(hub, NAME)
    assert done.stdout.splitlines()[-1:] == ["fp16"], done.stderr
