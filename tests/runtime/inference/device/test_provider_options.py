"""provider_options.py: embedge's own options for CUDA, which a caller may replace."""

from typing import Any

import onnxruntime
import pytest

from embedge import Bundle, Embedder, ProviderError
from embedge.bundle.manifest import Precision
from embedge.inference.device.provider_options import for_session, with_defaults
from embedge.inference.providers import CPU, CUDA, Provider


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("fp16", {"arena_extend_strategy": "kSameAsRequested", "sdpa_kernel": "3"}),
        ("fp32", {"arena_extend_strategy": "kSameAsRequested", "use_tf32": "0"}),
        ("int8", {"arena_extend_strategy": "kSameAsRequested"}),
    ],
)
def test_cuda_has_options_for_each_precision(precision: Precision, expected: dict[str, str]) -> None:
    others = (Provider(CPU), Provider("TensorrtExecutionProvider", {"device_id": "1"}))
    assert with_defaults((Provider(CUDA), *others), precision) == (Provider(CUDA, expected), *others)


def test_the_callers_options_win_and_the_others_stay() -> None:
    own = {"sdpa_kernel": "16", "gpu_mem_limit": "1000", "arena_extend_strategy": "kNextPowerOfTwo"}
    (provider,) = with_defaults((Provider(CUDA, own),), "fp16")
    assert provider.options == own


def test_the_first_card_is_not_named_to_onnxruntime() -> None:
    """Which would print a warning about it each time."""
    assert for_session(Provider(CUDA, {"device_id": "0", "use_tf32": "0"})) == (CUDA, {"use_tf32": "0"})
    assert for_session(Provider(CUDA, {"device_id": "1"})) == (CUDA, {"device_id": "1"})
    assert for_session(Provider("DmlExecutionProvider", {"device_id": "0"})) == (
        "DmlExecutionProvider",
        {"device_id": "0"},
    )


def test_a_session_gets_them(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """And graph optimisations, which embedge turns off for the CPU alone."""
    seen: list[Any] = []

    def refuse(path: str, options: Any, *, providers: Any, **_: object) -> None:
        seen.append((providers, options.graph_optimization_level))
        raise RuntimeError("CUDA failure 999: unknown error ; GPU=0 ; hostname=h ; file=f ; line=1 ; expr=x")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    monkeypatch.setattr("embedge.inference.device.cuda.prepare_cuda", lambda _: None)
    providers: Any = [(CUDA, {"gpu_mem_limit": 2**30}), CPU]
    with pytest.raises(ProviderError, match=rf"{CUDA} did not start \(CUDA failure 999: unknown error\)"):
        Embedder(tiny_bundle.path, precision="fp32", providers=providers)
    options = {"arena_extend_strategy": "kSameAsRequested", "use_tf32": "0", "gpu_mem_limit": "1073741824"}
    optimised = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert seen == [([(CUDA, options), (CPU, {})], optimised)]


def test_an_error_of_cuda_after_the_cpu_is_not_the_bundle_s(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime-gpu 1.31.1 starts every provider that is listed, though the CPU takes all nodes."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA failure 999: unknown error ; GPU=0 ; hostname=h ; file=f ; line=1 ; expr=x")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    monkeypatch.setattr("embedge.inference.device.cuda.prepare_cuda", lambda _: None)
    with pytest.raises(ProviderError, match=rf"{CUDA} did not start \(CUDA failure 999: unknown error\)"):
        Embedder(tiny_bundle.path, providers=[CPU, CUDA])
