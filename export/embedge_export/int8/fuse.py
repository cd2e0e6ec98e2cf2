"""Write an int8 graph once more with the operators of embedge-kernels: one for each layer of the encoder.

The graph from ``quantise`` is the plain graph. The fused graph computes the same with four operators of the domain
``embedge``: ``EmbedLayerNorm`` and ``EncoderLayer``, and for the heads ``RowLinear`` and ``RowDot``. The first two read
the attention mask, and compute nothing for padding, which must come last. So texts of any lengths share a batch.

1. The constants are those of the plain graph. Where they are external data, they stay references into its file. So the
   fused graph is small, and both graphs share the mapped weights.
2. A packed product with dynamic scales has a bias for each of its parts in the plain graph. The fused graph holds the
   whole bias itself, with zeros for K.
3. What the operators do not compute stays as it is in the plain graph: the positions of RoBERTa, the first token for a
   reranker's head, and the factors in front of a head (case 2 of ``smooth``).
"""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from embedge.bundle.manifest import HIDDEN, SCORES, TOKEN_VECTORS, TOKEN_WEIGHTS
from embedge_export.int8.mend_rows import FINE
from embedge_export.int8.plain_graph import LinearLayer, PlainGraph

DOMAIN = "embedge"  # of the operators
_VERSION = 1  # of the domain
_MULTIPLE = 64  # of both widths: the kernels work on blocks of 64 columns
_HEAD_SIZES = (32, 64)
_GELU, _GELU_TANH, _RELU = range(3)  # EncoderLayer's attribute ``activation``
_ROWS_TANH = 1  # RowLinear's attribute ``activation``
_EMBEDDINGS = "embeddings.LayerNorm"


def why_not_fused(model: ModelProto) -> str | None:
    """Return why the operators cannot express an int8 graph from ``quantise``; None if they can."""
    fine = sum(node.name.endswith(FINE) for node in model.graph.node)
    if fine:
        return f"{fine} linear layers have rows of 16 bits, and the operators have 8"
    plain = PlainGraph(model, Path())
    if not plain.layers:
        return "the encoder has no layers"
    first = plain.layers[0]
    hidden, inner = plain.constants[f"{first}.intermediate.dense.weight.int8"].dims
    for name, width in (("hidden size", hidden), ("intermediate size", inner)):
        if width % _MULTIPLE:
            return f"the {name} {width} is not a multiple of {_MULTIPLE}"
    head = hidden // plain.num_heads(first)
    return None if head in _HEAD_SIZES else f"the attention heads have size {head}, not 32 or 64"


def fuse(model: ModelProto, folder: Path) -> ModelProto:
    """Return the fused graph of an int8 graph for which ``why_not_fused`` gives no reason; ``model`` is not changed.

    Args:
        model: a graph from ``quantise``. Its weights may be external data; the fused graph then refers to the same.
        folder: the folder of the external data.
    """
    return _Fusion(PlainGraph(model, folder)).apply()


class _Fusion:
    """Adds the nodes of the fused graph. Tensors keep their names of the plain graph."""

    def __init__(self, plain: PlainGraph) -> None:
        self._plain = plain
        self._nodes: list[NodeProto] = []
        self._made: dict[str, TensorProto] = {}  # constants that the plain graph lacks

    def apply(self) -> ModelProto:
        self._embeddings()
        hidden = _EMBEDDINGS
        for at in self._plain.layers:
            hidden = self._layer(at, hidden)
        self._heads(hidden)
        if HIDDEN in self._plain.outputs:
            _rename(self._nodes, hidden, HIDDEN)  # instead of the plain graph's Identity, which copies
        return self._model()

    def _embeddings(self) -> None:
        """Word and position embeddings, normalised."""
        plain = self._plain
        inputs = ["input_ids", "attention_mask", "word_embeddings.int8", "word_embeddings.scales"]
        if "position_ids" in plain.producers:
            table, *ids = self._rows_of_positions()
        else:
            table, *ids = ["position_embeddings"]
        inputs += [table, *self._norm(_EMBEDDINGS), *ids]
        self._op("EmbedLayerNorm", inputs, _EMBEDDINGS, epsilon=plain.epsilon(_EMBEDDINGS))

    def _rows_of_positions(self) -> tuple[str, str]:
        """Return RoBERTa's position embeddings as EmbedLayerNorm takes them: a table, and the row of each token.

        The plain graph's table is int8, and the operator's is float32. So the plain graph's nodes compute the row of
        each token, and these rows are the table: [batch * tokens, hidden].
        """
        rows = self._copied("positions", until="")
        width = self._plain.constants["position_embeddings.int8"].dims[1]
        table = self._node("Reshape", [rows, self._ints("position_table.shape", [-1, width])], "position_table")
        count = self._node("Size", ["input_ids"], "tokens")
        numbers = self._node("Range", [self._ints("zero", 0), count, self._ints("one", 1)], "token_numbers")
        shape = self._node("Shape", ["input_ids"], "token_numbers.shape")
        return table, self._node("Reshape", [numbers, shape], "token_rows")

    def _layer(self, at: str, hidden: str) -> str:
        """One layer of the encoder; return the name of its output."""
        plain, attention = self._plain, f"{at}.attention"
        is_pruned = plain.has_linear(f"{attention}.q")
        packed = ("kv", "q") if is_pruned else ("qkv",)
        inputs = [hidden, *(name for part in packed for name in self._linear(f"{attention}.{part}"))]
        inputs += [""] * (1 + 2 * 4 - len(inputs))
        after_attention, output = f"{attention}.output.LayerNorm", f"{at}.output.LayerNorm"
        inputs += self._dynamic(f"{attention}.output.dense")
        inputs += [plain.residual_scale(after_attention), *self._norm(after_attention)]
        inputs += self._linear(f"{at}.intermediate.dense")
        inputs += self._dynamic(f"{at}.output.dense")
        inputs += [plain.residual_scale(output), *self._norm(output), "attention_mask"]
        coding = plain.row_coding(f"{at}.output.dense")
        return self._op(
            "EncoderLayer",
            inputs,
            output,
            num_heads=plain.num_heads(at),
            epsilon=plain.epsilon(output),
            first_token=int(is_pruned),
            activation=_activation(plain.producers[f"{at}.activation"]),
            zero_point=coding.zero_point,
            step=coding.step,
            least=coding.least,
        )

    def _heads(self, hidden: str) -> None:
        """The heads that the plain graph has, on the encoder's output."""
        outputs = self._plain.outputs
        if SCORES in outputs:
            inner = self._row_linear("classifier.dense", hidden, "classifier.tanh", activation=_ROWS_TANH)
            self._row_dot("classifier.out_proj", inner, SCORES, relu=0)
        if TOKEN_WEIGHTS in outputs:
            self._row_dot("sparse_linear", hidden, TOKEN_WEIGHTS, relu=1)
        if TOKEN_VECTORS in outputs:
            self._row_linear("colbert_linear", hidden, TOKEN_VECTORS, activation=0)

    def _row_linear(self, at: str, hidden: str, output: str, *, activation: int) -> str:
        layer = self._plain.linear(at)
        inputs = [self._copied(layer.rows, until=hidden), *self._linear(at)]
        return self._op("RowLinear", inputs, output, activation=activation)

    def _row_dot(self, at: str, rows: str, output: str, *, relu: int) -> None:
        self._op("RowDot", [rows, f"{at}.weight", f"{at}.bias"], output, relu=relu)

    def _linear(self, at: str) -> list[str]:
        """Weight, scales, bias and static scale of a linear layer."""
        layer = self._plain.linear(at)
        return [layer.weight, layer.scales, self._bias(at, layer), layer.static_scale]

    def _dynamic(self, at: str) -> list[str]:
        """Weight, scales and bias of a linear layer whose rows have dynamic scales."""
        *inputs, static_scale = self._linear(at)
        if static_scale:  # ``quantise`` has static scales only behind a layer normalisation
            raise ValueError(f"{at} has a static scale, for which EncoderLayer has no input")
        return inputs

    def _bias(self, at: str, layer: LinearLayer) -> str:
        """The whole bias of a linear layer; made here where the plain graph adds it in parts."""
        if layer.bias is not None:
            return layer.bias
        name = f"{at}.whole_bias"
        self._made[name] = numpy_helper.from_array(self._plain.whole_bias(at), name)
        return name

    def _norm(self, at: str) -> list[str]:
        return list(self._plain.producers[at].input[1:])

    def _copied(self, tensor: str, *, until: str) -> str:
        """Add the plain graph's own nodes that compute a tensor, from the tensor ``until`` on; return its name."""
        self._nodes += [_copy(node) for node in self._plain.ancestors(tensor, until=until)]
        return tensor

    def _op(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add one of the operators of embedge-kernels."""
        return self._node(kind, inputs, output, domain=DOMAIN, **attributes)

    def _node(self, kind: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def _ints(self, name: str, values: int | list[int]) -> str:
        self._made[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def _model(self) -> ModelProto:
        """The model, with the inputs and the outputs of the plain graph, and with the constants that its nodes read."""
        model, constants = self._plain.model, {**self._plain.constants, **self._made}
        used = dict.fromkeys(name for node in self._nodes for name in node.input if name in constants)
        graph = helper.make_graph(
            self._nodes, "embedge_fused", model.graph.input, model.graph.output, [constants[name] for name in used]
        )
        own = next(opset.version for opset in model.opset_import if not opset.domain)
        opsets = [helper.make_opsetid("", own), helper.make_opsetid(DOMAIN, _VERSION)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=model.ir_version, producer_name=model.producer_name
        )


def _activation(node: NodeProto) -> int:
    """EncoderLayer's number for the activation function of a feed-forward block."""
    if node.op_type == "Relu":
        return _RELU
    approximate = next((a.s for a in node.attribute if a.name == "approximate"), b"none")
    return _GELU_TANH if approximate == b"tanh" else _GELU


def _copy(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def _rename(nodes: list[NodeProto], old: str, new: str) -> None:
    """Rename a tensor wherever a node reads or writes it."""
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
