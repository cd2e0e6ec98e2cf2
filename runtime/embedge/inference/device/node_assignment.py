"""Check that an execution provider runs all of a graph that takes time, and not only a part of it.

ONNX Runtime gives each node that a provider does not take to the CPU provider, and does not say so. Values are then
copied to the CPU and back at every such node. An int8 graph with CUDA gave right vectors in embedge 0.1.0, but only 184
a second on an H200.

At load, ONNX Runtime records which provider got each node. The check reads this record and runs nothing. The
alternative, ``session.disable_cpu_ep_fallback``, refuses any node on the CPU. But CUDA itself gives the CPU the
integers from which a graph computes shapes, so that it need not wait for the device to read them
(``GetCpuPreferredNodes``): a graph that is traced by optimum in float16 has up to 86 of those. That option also refuses
``["CUDAExecutionProvider", "CPUExecutionProvider"]``, the usual list, and its error neither counts nor names the nodes.

One gap: before version 1.27, ONNX Runtime does not record a float16 node for which neither the provider nor the CPU has
a kernel. The CPU then runs it in float32. The exporters' graphs have no such node with OpenVINO, nor with CUDA from
ONNX Runtime 1.25 on.
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.errors import ProviderError
from embedge.inference.device.provider_errors import reason_of
from embedge.inference.providers import CPU, ON_CPU

if TYPE_CHECKING:
    from embedge.inference.device.provider_advice import Advice
    from embedge.inference.onnxruntime_import import ort

# The entry of a session's configuration that makes ONNX Runtime record the assignment; since version 1.24.1.
RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
# Parts of the names of operators that do the work of an encoder: matrix products, attention, normalisation, activation
# functions and quantisation. ONNX Runtime's fused operators have them, too: FusedMatMul, QAttention, BiasGelu,
# EmbedLayerNormalization. The others are cheap, or compute shapes. (Add, Mul, Div, Sqrt, Cast, Gather, Slice, Concat
# and Where do: CUDA leaves all of these to the CPU in some good graph.)
_HEAVY = (
    "MatMul",
    "Gemm",
    "Einsum",
    "Conv",
    "Attention",
    "RotaryEmbedding",
    "Softmax",
    "Normalization",
    "Gelu",
    "Erf",
    "Tanh",
    "Relu",
    "Sigmoid",
    "Quantize",
    "Dequantize",
)
# The native exporter's ``If`` chooses between attention with and without a mask. Where the CPU has it, the values of
# each layer are copied to the CPU and back, though the attention is on the device: CUDA before ONNX Runtime 1.25.
_IF = "If"
_NAMED = 3  # operators named in a message


def check_assignment(session: "ort.InferenceSession", *, graph: Path, provider: str, advice: "Advice") -> None:
    """Raise ProviderError if the CPU provider would run any of the graph's heavy nodes.

    Args:
        session: opened with ``RECORD_ASSIGNMENT`` set to 1.
        graph: the ONNX file, for the message.
        provider: the name of the preferred provider, which is not the CPU's.
        advice: gives the end of the message.
    """
    nodes = _count_nodes(session, provider)
    on_cpu = nodes.get(CPU, Counter[str]())
    heavy = Counter({kind: count for kind, count in on_cpu.items() if is_heavy(kind)})
    if not heavy:
        return
    # Of WebGPU's nodes ONNX Runtime records only a few, none of them heavy; the number of all is then unknown.
    others = set[str]().union(*(kinds for name, kinds in nodes.items() if name != CPU))
    whole = f" of the {sum(map(Counter.total, nodes.values()))}" if any(map(is_heavy, others)) else ""
    named = ", ".join(f"{count} {kind}" for kind, count in heavy.most_common(_NAMED))
    raise ProviderError(
        f"{provider} leaves {on_cpu.total()}{whole} nodes of {graph} to the CPU, among them {named}; {advice(True)}"
    )


def is_heavy(kind: str) -> bool:
    """Whether a node of this operator takes time that grows with the model's width, or holds such a node.

    >>> [is_heavy(kind) for kind in ("FusedMatMul", "BiasGelu", "Gather", "Shape")]
    [True, True, False, False]
    """
    return kind == _IF or any(part in kind for part in _HEAVY)


def _count_nodes(session: "ort.InferenceSession", provider: str) -> dict[str, Counter[str]]:
    """How many nodes of each operator each provider runs, those in the branches of ``If`` included."""
    counts: dict[str, Counter[str]] = {}
    try:
        for part in session.get_provider_graph_assignment_info():
            counts.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
    except Exception as error:  # AttributeError before 1.24.1; ONNX Runtime's exceptions share no base but Exception
        from embedge.inference.onnxruntime_import import ort

        raise ProviderError(
            f"ONNX Runtime {ort.__version__} does not say which nodes {provider} runs ({reason_of(error)}); "
            f"update it to 1.24.1 or later, or {ON_CPU}"
        ) from error
    return counts
