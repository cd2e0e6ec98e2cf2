"""node_assignment.py: a provider that runs only a part of a graph is an error that counts and names the nodes."""

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import onnxruntime as ort
import pytest

from embedge import Bundle, Embedder, ProviderError
from embedge.bundle.manifest import HIDDEN
from embedge.inference.device.node_assignment import RECORD_ASSIGNMENT, check_assignment, is_heavy
from embedge.inference.providers import CPU, CUDA, Provider
from embedge.inference.session import Session

GRAPH = Path("model.onnx")
AZURE = "AzureExecutionProvider"  # in most builds of ONNX Runtime; it runs no node of a graph like ours


@dataclass(frozen=True)
class Node:
    op_type: str


@dataclass(frozen=True)
class Part:
    ep_name: str
    nodes: tuple[Node, ...]

    def get_nodes(self) -> list[Node]:
        return list(self.nodes)


@dataclass(frozen=True)
class Recorded:
    """What the check reads of a session."""

    parts: tuple[Part, ...]

    def get_provider_graph_assignment_info(self) -> list[Part]:
        return list(self.parts)


def recorded(counts: Mapping[str, Mapping[str, int]]) -> Recorded:
    """A session with these nodes, a part of the graph for each operator."""
    return Recorded(
        tuple(Part(name, (Node(kind),) * count) for name, kinds in counts.items() for kind, count in kinds.items())
    )


def check(session: object, provider: str = CUDA) -> None:
    check_assignment(
        cast("ort.InferenceSession", session),
        graph=GRAPH,
        provider=provider,
        advice=lambda opened: "do this" if opened else "do that",
    )


# What CUDA left to the CPU of graphs of both exporters in fp32 and fp16 (onnxruntime-gpu 1.31.1). All these graphs are
# good.
@pytest.mark.parametrize(
    "on_cpu",
    [
        {},
        {"Gather": 1, "Unsqueeze": 1, "Equal": 1, "Where": 1},  # xlm-roberta, traced
        {"Gather": 3, "Unsqueeze": 3, "Concat": 2},  # electra
        {"Gather": 9, "Concat": 5, "Reshape": 1, "Equal": 1, "Slice": 2, "Cast": 2, "Sqrt": 4, "Div": 2},  # albert
        {"Gather": 7, "Unsqueeze": 25, "Slice": 20, "Squeeze": 20, "Concat": 12, "Cast": 2, "Sqrt": 2},  # deberta
        {"Gather": 21, "Div": 12, "Add": 3, "Mul": 3, "Sqrt": 6, "Reshape": 2},  # modernbert
        {"ReduceMin": 1, "Equal": 1},  # xlm-roberta, native, with onnxruntime-gpu 1.25.1
        {"Shape": 1, "ReduceMin": 1, "Cast": 2},  # bert, native, with WebGPU
    ],
)
def test_shape_computations_on_the_cpu_are_no_error(on_cpu: Mapping[str, int]) -> None:
    check(recorded({CUDA: {"MatMul": 24, "Add": 40}, CPU: on_cpu}))


# What CUDA, OpenVINO (onnxruntime-openvino 1.24.1) and WebGPU (1.27.0) left to the CPU of graphs that they run in part.
@pytest.mark.parametrize(
    ("on_cpu", "named"),
    [
        ({"Less": 1, "MatMulIntegerToFloat": 24}, "leaves 25 of the 65 nodes .*among them 24 MatMulIntegerToFloat;"),
        ({"If": 6, "ReduceMin": 1}, "leaves 7 of the 47 nodes .*among them 6 If;"),  # onnxruntime-gpu 1.24.4
        ({"QAttention": 2}, "leaves 2 of the 42 nodes .*among them 2 QAttention;"),
        ({"FastGelu": 2}, "leaves 2 of the 42 nodes .*among them 2 FastGelu;"),
        ({"Attention": 2, "EmbedLayerNormalization": 1, "Shape": 4}, "2 Attention, 1 EmbedLayerNormalization;"),
        (
            {"QEmbedLayerNormalization": 1, "DynamicQuantizeLinear": 8, "QAttention": 2, "MatMulInteger": 6},
            "leaves 17 of the 57 nodes .*among them 8 DynamicQuantizeLinear, 6 MatMulInteger, 2 QAttention;",
        ),
    ],
)
def test_heavy_nodes_on_the_cpu_are_counted_and_named(on_cpu: Mapping[str, int], named: str) -> None:
    with pytest.raises(ProviderError, match=f"{CUDA} .*{named} do this") as raised:
        check(recorded({CUDA: {"Add": 39, "MatMul": 1}, CPU: on_cpu}))
    assert "\n" not in str(raised.value)
    assert str(GRAPH) in str(raised.value)


def test_nodes_that_were_not_recorded_are_not_part_of_a_count() -> None:
    """ONNX Runtime 1.27.0 records few of WebGPU's nodes, so the number of all nodes is unknown."""
    for on_device in ({}, {"WebGpuExecutionProvider": {"Sqrt": 4, "Transpose": 4}}):
        with pytest.raises(ProviderError, match="leaves 2 nodes of model.onnx to the CPU, among them 1 MatMul;"):
            check(recorded({**on_device, CPU: {"MatMul": 1, "Shape": 1}}))


def test_heavy_nodes_of_a_second_provider_are_no_error() -> None:
    check(recorded({"TensorrtExecutionProvider": {"MatMul": 1}, CUDA: {"Gelu": 1}}), "TensorrtExecutionProvider")


@pytest.mark.parametrize(
    "kind",
    """MatMul FusedMatMul MatMulInteger MatMulIntegerToFloat DynamicQuantizeMatMul MatMulNBits QLinearMatMul Gemm
    FusedGemm Einsum Conv NhwcConv Attention MultiHeadAttention PackedMultiHeadAttention GroupQueryAttention QAttention
    RotaryEmbedding Softmax BiasSoftmax LayerNormalization SkipLayerNormalization EmbedLayerNormalization
    RMSNormalization Gelu BiasGelu FastGelu QuickGelu Erf Tanh Relu Sigmoid QuantizeLinear DequantizeLinear
    DynamicQuantizeLinear""".split(),
)
def test_an_operator_that_does_the_work_of_an_encoder_is_heavy(kind: str) -> None:
    assert is_heavy(kind)


def test_a_build_that_does_not_record_nodes_is_an_error_with_its_version() -> None:
    """A package before 1.24.1; embedge's own requirement only reaches the package that is called onnxruntime."""
    with pytest.raises(
        ProviderError, match=rf"ONNX Runtime {ort.__version__} does not say .*{CUDA}.*1\.24\.1 or later"
    ):
        check(object())


def test_a_session_that_recorded_no_nodes_is_an_error(tiny_bundle: Bundle) -> None:
    """The real session's complaint, which ONNX Runtime raises if the entry is not set."""
    with pytest.raises(ProviderError, match=rf"does not say which nodes .*{RECORD_ASSIGNMENT}.*1\.24\.1"):
        check(open_on_cpu(tiny_bundle.graph("fp32"), {}))


def open_on_cpu(graph: Path, entries: Mapping[str, str]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    return ort.InferenceSession(str(graph), options, providers=[CPU])


def kinds_in(graph: Any) -> Counter[str]:
    """The operators of a graph and of the branches of ``If``, counted by onnx."""
    kinds = Counter(node.op_type for node in graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            kinds += kinds_in(attribute.g)
    return kinds


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_real_assignment_has_every_node_of_the_graph(tiny_bundle: Bundle, precision: Any) -> None:
    """A session on the CPU, as if CUDA came first and took nothing; onnx counts the nodes."""
    onnx = pytest.importorskip("onnx", reason="needs onnx, which the extra `export` installs")
    graph = tiny_bundle.graph(precision)
    kinds = kinds_in(onnx.load(graph, load_external_data=False).graph)
    heavy = [f"{count} {kind}" for kind, count in kinds.items() if is_heavy(kind)]
    with pytest.raises(ProviderError) as raised:
        check(open_on_cpu(graph, {RECORD_ASSIGNMENT: "1"}))
    message = str(raised.value)
    assert f"leaves {kinds.total()} nodes of {GRAPH} to the CPU, among them " in message
    named = message.partition("among them ")[2].partition(";")[0].split(", ")
    assert len(named) == 3
    assert set(named) <= set(heavy)


@pytest.mark.skipif(AZURE not in ort.get_available_providers(), reason=f"needs an ONNX Runtime with {AZURE}")
@pytest.mark.parametrize("names", [[AZURE], [AZURE, CPU]])
def test_a_provider_that_runs_nothing_is_no_silent_cpu(tiny_bundle: Bundle, names: list[str]) -> None:
    with pytest.raises(ProviderError, match=f"{AZURE} leaves .* nodes of .*model.onnx to the CPU, among them .*MatMul"):
        Embedder(tiny_bundle.path, precision="fp32", providers=names)


@pytest.mark.skipif(AZURE not in ort.get_available_providers(), reason=f"needs an ONNX Runtime with {AZURE}")
def test_a_provider_after_the_cpu_is_not_asked(tiny_bundle: Bundle) -> None:
    assert Embedder(tiny_bundle.path, precision="fp32", providers=[CPU, AZURE]).encode("the cat").shape == (32,)


def test_a_provider_that_cannot_open_a_graph_is_not_the_bundle_s_fault(tmp_path: Path) -> None:
    """The file is broken here, which Session does not know; ``load_engine`` compares checksums first."""
    if AZURE not in ort.get_available_providers():
        pytest.skip(f"needs an ONNX Runtime with {AZURE}")
    graph = tmp_path / "model.onnx"
    graph.write_bytes(b"no graph")
    with pytest.raises(ProviderError, match=rf"{AZURE} cannot open .*model.onnx \(.*\); remove device and providers"):
        Session(graph, threads=1, providers=(Provider(AZURE),), outputs={HIDDEN: ()}, run_as_is=False)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_the_cpu_imports_nothing_of_this_folder(tiny_bundle: Bundle, device: str | None) -> None:
    code = (
        f"import sys; from embedge import Embedder; model = Embedder({str(tiny_bundle.path)!r}, device={device!r}); "
        "model.encode(['the cat', 'a dog']), list(model.stream(['the cat'])); "
        "sys.exit(any(name.startswith('embedge.inference.device') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
