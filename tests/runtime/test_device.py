"""The device of a model: what is asked of ONNX Runtime, the precision that it picks, pickles. None needs a card."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import runner
from embedge import Bundle, Embedder, InputValueError, PrecisionNotFoundError, ProviderError, Reranker
from embedge.command.main import cli
from embedge.inference.sentence_transformers_keywords import check_device
from manifests import change
from no_card import CPU, CUDA, pretend_cuda

GOLDEN = Path(__file__).parents[1] / "golden" / "format-1" / "release-0.1.0"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the models of a test would load their engines with, on a machine that seems to have CUDA."""
    return pretend_cuda(monkeypatch)


def as_reranker(bundle: Bundle, folder: Path) -> Path:
    """A copy of a bundle that says that it is a reranker. It loads no further than to its engine."""
    shutil.copytree(bundle.path, folder)
    change(folder, lambda manifest: manifest.update(task="rerank"))
    return folder


def only(bundle: Bundle, folder: Path, *precisions: str) -> Path:
    """A copy of a bundle whose manifest names these precisions; a graph that it lacks is never opened."""

    def keep(manifest: dict[str, Any]) -> None:
        records = manifest["precisions"]
        records["fp16"] = {**records["fp32"], "file": "onnx/model_fp16.onnx"}
        manifest["precisions"] = {name: records[name] for name in precisions}

    shutil.copytree(bundle.path, folder)
    change(folder, keep)
    return folder


def test_a_model_runs_on_the_cpu_unless_told(tiny_bundle: Bundle) -> None:
    expected = Embedder(tiny_bundle.path).encode("the cat")
    ways: list[dict[str, Any]] = [{}, {"device": "cpu"}, {"device": "cpu", "providers": [CPU]}, {"providers": [CPU]}]
    for options in ways:
        model = Embedder(tiny_bundle.path, **options)
        assert (model.device, model.providers, model.precision) == ("cpu", (CPU,), "int8")
        assert "device" not in repr(model)
        np.testing.assert_array_equal(model.encode("the cat", device="cpu"), expected)


@pytest.mark.parametrize(
    ("options", "device", "providers"),
    [
        ({"device": "cuda"}, "cuda:0", [(CUDA, {}), (CPU, {})]),
        ({"device": "cuda:1"}, "cuda:1", [(CUDA, {"device_id": "1"}), (CPU, {})]),
        ({"providers": [CUDA]}, "cuda:0", [(CUDA, {})]),
        (
            {"providers": [(CUDA, {"device_id": 1, "gpu_mem_limit": 2 << 30}), CPU]},
            "cuda:1",
            [(CUDA, {"device_id": "1", "gpu_mem_limit": "2147483648"}), (CPU, {})],
        ),
        (
            {"device": "cuda:1", "providers": [(CUDA, {"use_tf32": True})]},
            "cuda:1",
            [(CUDA, {"use_tf32": "1", "device_id": "1"})],
        ),
    ],
)
@pytest.mark.parametrize("kind", [Embedder, Reranker])
def test_a_device_and_options_reach_the_engine(
    tiny_bundle: Bundle,
    tmp_path: Path,
    asked: list[dict[str, Any]],
    kind: Any,
    options: dict[str, Any],
    device: str,
    providers: list[tuple[str, dict[str, str]]],
) -> None:
    """Those of a pickle, too, which is opened where the environment says nothing of them."""
    path = tiny_bundle.path if kind is Embedder else as_reranker(tiny_bundle, tmp_path / "reranker")
    model = kind(path, **options)
    again = pickle.loads(pickle.dumps(model))
    for one in (model, again):
        assert one.device == device
        assert one.providers == tuple(name for name, _ in providers)
        assert repr(one).endswith(f", device={device!r})")
    for loaded in asked:
        assert [(provider.name, dict(provider.options)) for provider in loaded["providers"]] == providers
    assert len(asked) == 2


def test_a_pickle_of_0_1_0_is_opened() -> None:
    """As embedge 0.1.0 wrote it, in pickle's text protocol, but for the path."""
    written = (
        b"cembedge.model\n_reopen\np0\n(cembedge.embedder\nEmbedder\np1\nV%s\np2\nVint8\np3\n"
        b"(VCPUExecutionProvider\np4\ntp5\nI1\ntp6\nRp7\n."
    )
    model = pickle.loads(written % str(GOLDEN).encode("raw_unicode_escape"))
    assert (model.device, model.precision, model.threads) == ("cpu", "int8", 1)
    np.testing.assert_array_equal(model.encode("the cat"), Embedder(GOLDEN).encode("the cat"))


@pytest.mark.parametrize(
    ("held", "picked"),
    [(("int8", "fp32", "fp16"), "fp16"), (("int8", "fp32"), "fp32"), (("int8", "fp16"), "fp16"), (("fp32",), "fp32")],
)
def test_a_gpu_runs_fp16_else_fp32(
    tiny_bundle: Bundle, tmp_path: Path, asked: list[dict[str, Any]], held: tuple[str, ...], picked: str
) -> None:
    path = only(tiny_bundle, tmp_path / "bundle", *held)
    assert Embedder(path, device="cuda").precision == picked
    assert Embedder(path, providers=[CUDA, CPU]).precision == picked
    assert [options["precision"] for options in asked] == [picked, picked]


def test_any_other_provider_runs_fp16_else_fp32(
    tiny_bundle: Bundle, tmp_path: Path, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the CPU is the first, the model runs on it, whatever comes after."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CoreMLExecutionProvider", CPU, CUDA])
    path = only(tiny_bundle, tmp_path / "bundle", "int8", "fp32", "fp16")
    model = Embedder(path, providers=["CoreMLExecutionProvider", CPU])
    assert (model.precision, model.device) == ("fp16", "CoreMLExecutionProvider")
    model = Embedder(path, providers=[CPU, CUDA])
    assert (model.precision, model.device) == ("int8", "cpu")


def test_int8_is_loaded_on_a_gpu_only_by_its_name(
    tiny_bundle: Bundle, tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    """A bundle at a path is not written to: the error has the command that adds fp16 to it."""
    path = only(tiny_bundle, tmp_path / "bundle", "int8")
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    command = f"embedge export CHECKPOINT -o {path} --precision fp16"
    with pytest.raises(PrecisionNotFoundError, match=f"bundle holds int8, not fp16 or fp32; run `{command}` to get it"):
        Embedder(path, device="cuda")
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before
    assert Embedder(path, device="cuda", precision="int8").precision == "int8"


@pytest.mark.parametrize("kind", [Embedder, Reranker])
@pytest.mark.parametrize("options", [{"device": "cuda"}, {"device": "cuda:1"}, {"providers": [CUDA]}])
def test_without_cuda_the_error_names_the_package(
    monkeypatch: pytest.MonkeyPatch, kind: Any, options: dict[str, Any]
) -> None:
    """Before anything is downloaded or exported: there is no such bundle."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CPU])
    with pytest.raises(ProviderError, match=r"^CUDAExecutionProvider is not in this onnxruntime.*onnxruntime-gpu"):
        kind("someone/nosuch", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "there is no device 'tpu'; pass device='cpu', 'cuda' or 'cuda:1'"),
        ({"device": "cpu", "providers": [CUDA, CPU]}, "device='cpu' does not agree with providers"),
        ({"device": "cuda", "providers": [CPU]}, "device='cuda' does not agree with providers"),
    ],
)
@pytest.mark.parametrize("kind", [Embedder, Reranker])
def test_a_device_that_cannot_be_is_refused(
    tiny_bundle: Bundle, asked: list[dict[str, Any]], kind: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputValueError, match=message):
        kind(tiny_bundle.path, **options)


@pytest.mark.parametrize(
    ("device", "of_model", "agrees"),
    [
        (None, "cuda:0", True),
        ("cuda", "cuda:0", True),
        ("cuda:0", "cuda:0", True),
        ("CoreMLExecutionProvider", "CoreMLExecutionProvider", True),
        ("cuda", "cuda:1", False),
        ("cpu", "cuda:0", False),
        ("cuda", "cpu", False),
        (["cpu", "cpu"], "cpu", False),
    ],
)
def test_a_call_names_the_models_device_or_none(device: object, of_model: str, agrees: bool) -> None:
    if agrees:
        check_device(device, of_model)
        return
    with pytest.raises(InputValueError, match=rf"^this model runs on {of_model}, .* Embedder\(model, device='cuda'\)"):
        check_device(device, of_model)


@pytest.mark.parametrize("words", [("embed", "the cat"), ("rerank", "cat", "the cat")])
def test_the_commands_run_on_a_device(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Without CUDA the failure is one line. With it, the option reaches the engine, which is as far as it goes here."""
    path = tiny_bundle.path if words[0] == "embed" else as_reranker(tiny_bundle, tmp_path / "reranker")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CPU])
    done = runner().invoke(cli, [*words, "-m", str(path), "--device", "cuda"])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"Error: {CUDA} is not in this onnxruntime")
    asked = pretend_cuda(monkeypatch)
    runner().invoke(cli, [*words, "-m", str(path), "--device", "cuda:1"])
    assert [provider.name for provider in asked[0]["providers"]] == [CUDA, CPU]
    assert dict(asked[0]["providers"][0].options) == {"device_id": "1"}
    assert asked[0]["precision"] == "fp32"


@pytest.mark.parametrize("words", [("embed", "the cat"), ("rerank", "cat", "the cat")])
@pytest.mark.parametrize(("option", "expected"), [((), None), (("--no-kernels",), False)])
def test_the_commands_can_leave_the_kernels_out(
    tiny_bundle: Bundle,
    tmp_path: Path,
    asked: list[dict[str, Any]],
    words: tuple[str, ...],
    option: tuple[str, ...],
    expected: bool | None,
) -> None:
    """The option reaches the engine, which is as far as it goes here."""
    path = tiny_bundle.path if words[0] == "embed" else as_reranker(tiny_bundle, tmp_path / "reranker")
    runner().invoke(cli, [*words, "-m", str(path), *option])
    assert [options["kernels"] for options in asked] == [expected]


@pytest.mark.parametrize("kind", [Embedder, Reranker])
@pytest.mark.parametrize("wanted", [None, True, False])
def test_the_option_of_the_kernels_reaches_the_engine(
    tiny_bundle: Bundle, tmp_path: Path, asked: list[dict[str, Any]], kind: Any, wanted: bool | None
) -> None:
    """That of a pickle, too."""
    path = tiny_bundle.path if kind is Embedder else as_reranker(tiny_bundle, tmp_path / "reranker")
    pickle.loads(pickle.dumps(kind(path, kernels=wanted)))
    assert [options["kernels"] for options in asked] == [wanted, wanted]
