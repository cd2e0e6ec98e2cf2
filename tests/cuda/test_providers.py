"""What a card runs, by ONNX Runtime's own report, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from embedge import Bundle, Embedder, EmbedgeError, ProviderError
from embedge.bundle.manifest import Precision

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
PROVIDERS = {"cpu": [CPU], "cuda": [CUDA, CPU]}
HEAVY = {"MatMul", "Gemm", "FusedMatMul", "MultiHeadAttention", "Attention", "LayerNormalization", "Gelu", "BiasGelu"}
HEAVY |= {"SkipLayerNormalization", "Softmax", "Erf", "QuickGelu", "FastGelu"}


def assigned(graph: Path, providers: list[str]) -> dict[str, list[str]]:
    """The operators that each provider runs, by ONNX Runtime's report."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(graph, options, providers=providers)
    found: dict[str, list[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        found.setdefault(part.ep_name, []).extend(node.op_type for node in part.get_nodes())
    return found


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("name", ["seeded_bundle", "m3_bundle", "reranker_bundle", "minilm_halves"])
def test_all_heavy_operators_are_on_the_device(
    request: pytest.FixtureRequest, name: str, device: str, precision: Precision
) -> None:
    bundle: Bundle = request.getfixturevalue(name)
    found = assigned(bundle.graph(precision), PROVIDERS[device])
    first = PROVIDERS[device][0]
    assert len(HEAVY & set(found[first])) >= 3
    others = [op for provider, ops in found.items() if provider != first for op in ops]
    assert not HEAVY & set(others)


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_graph_that_the_device_runs_is_accepted(pooled_bundle: Bundle, device: str, precision: Precision) -> None:
    model = Embedder(pooled_bundle.path, precision=precision, device=device)
    assert model.providers == tuple(PROVIDERS[device])
    assert model.encode("the cat").shape == (128,)


@pytest.mark.cuda
def test_a_card_takes_fp16_unless_told_otherwise(seeded_bundle: Bundle, card: None) -> None:
    assert Embedder(seeded_bundle.path, device="cuda").precision == "fp16"
    assert Embedder(seeded_bundle.path, providers=[CUDA, CPU]).precision == "fp16"


@pytest.mark.cuda
def test_int8_on_a_card_is_an_error_that_names_the_precision_to_load(seeded_bundle: Bundle, card: None) -> None:
    with pytest.raises(
        ProviderError, match=r"leaves .* nodes of .* to the CPU, among them .*; load it with precision=\"fp16\""
    ):
        Embedder(seeded_bundle.path, precision="int8", device="cuda")


@pytest.mark.cuda
def test_a_card_that_is_not_there_is_an_error(seeded_bundle: Bundle, card: None) -> None:
    with pytest.raises(ProviderError, match="there is no card 9, found"):
        Embedder(seeded_bundle.path, precision="fp16", device="cuda:9")
    assert Embedder(seeded_bundle.path, precision="fp16", device="cuda:0").encode("the cat").shape == (128,)


@pytest.mark.cuda
def test_too_little_memory_is_an_error(seeded_bundle: Bundle, mixed: list[str], card: None) -> None:
    """At load or in the first call, wherever ONNX Runtime asks for it; never a wrong vector."""
    limited: Any = [(CUDA, {"gpu_mem_limit": 2**20}), CPU]
    with pytest.raises(EmbedgeError, match=r"memory|gpu_mem_limit|batch_tokens"):
        Embedder(seeded_bundle.path, precision="fp32", providers=limited).encode(sorted(mixed, key=len)[-500:])


@pytest.mark.cuda
def test_options_of_the_provider_are_the_callers(seeded_bundle: Bundle, mixed: list[str], card: None) -> None:
    """ONNX Runtime refuses an option that it does not know, so these have arrived."""
    options = {"sdpa_kernel": 2, "arena_extend_strategy": "kNextPowerOfTwo", "gpu_mem_limit": 2**31}
    providers: Any = [(CUDA, options), CPU]
    model = Embedder(seeded_bundle.path, precision="fp16", providers=providers)
    plain = Embedder(seeded_bundle.path, precision="fp16", device="cuda")
    found, expected = (one.encode(mixed[:50]).astype(np.float64) for one in (model, plain))
    assert (found * expected).sum(axis=1).min() >= 0.99999
    unknown: Any = [(CUDA, {"no_such_option": "1"}), CPU]
    with pytest.raises(EmbedgeError, match="no_such_option"):
        Embedder(seeded_bundle.path, precision="fp16", providers=unknown)
