"""Checkpoint -> fused encoder graph, float32: one short function per block of BERT or RoBERTa.

Hidden states are [batch, sequence, hidden] throughout; nothing is reshaped.
The constants of a linear layer are NAME.weight and NAME.bias, where NAME is its product's; ``linear`` finds them.
Fusions, each measured on the CPU provider of ONNX Runtime:

1. Q, K and V are one product. K's bias is left out: it moves all scores of a query alike, and softmax takes no notice.
2. ``MultiHeadAttention`` (com.microsoft) instead of ten traced nodes; without a mask where no token is padding.
3. ``Add`` + ``LayerNormalization``, *not* ``SkipLayerNormalization``, which is scalar on a CPU and six times slower.
4. Token types: only type 0 is ever used, so its row is added to the position embeddings once, here.

What stands on top of the encoder is in ``heads``.
"""

from typing import Any

import numpy as np
from onnx import ModelProto

from embedge.bundle.manifest import HIDDEN, SCORES, TOKEN_VECTORS, TOKEN_WEIGHTS
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.tensors import Tensors
from embedge_export.graph.builder import CONTRIB, Builder
from embedge_export.graph.heads import project_tokens, score_pairs, weigh_tokens
from embedge_export.graph.shape import ACTIVATIONS, Shape, read_shape


def build_graph(checkpoint: Checkpoint) -> ModelProto:
    """The graph: ``input_ids`` and ``attention_mask`` in; out ``last_hidden_state``, or a reranker's ``logits``.

    With a sparse head, ``token_weights`` too; with a multi-vector head, ``token_vectors``.

    Raises:
        CheckpointError: an architecture that is not known, or a tensor that is missing, misshapen or read by nothing.
    """
    shape = read_shape(checkpoint)
    with Tensors(checkpoint) as tensors:
        encoder = _Encoder(shape, tensors)
        hidden = encoder.embeddings()
        for layer in range(shape.layers):
            hidden = encoder.layer(hidden, f"encoder.layer.{layer}")
        return _finish(encoder, hidden, checkpoint)


def _finish(encoder: "_Encoder", hidden: str, checkpoint: Checkpoint) -> ModelProto:
    """The whole model: with a head, or hidden states as they are."""
    b, width = encoder.builder, encoder.shape.hidden
    if checkpoint.task == "rerank":
        score_pairs(b, encoder.tensors, hidden, width=width)
        return b.model({SCORES: ["batch", 1]})
    outputs: dict[str, list[str | int]] = {b.op("Identity", [hidden], name=HIDDEN): ["batch", "sequence", width]}
    if checkpoint.sparse_head is not None:
        with Tensors(checkpoint, layer=checkpoint.sparse_head, prefix="sparse_linear.") as head:
            weigh_tokens(b, head, hidden, width=width)
        outputs[TOKEN_WEIGHTS] = ["batch", "sequence"]
    if checkpoint.multi_vector_head is not None:
        with Tensors(checkpoint, layer=checkpoint.multi_vector_head, prefix="colbert_linear.") as head:
            project_tokens(b, head, hidden, width=width)
        outputs[TOKEN_VECTORS] = ["batch", "sequence", width]
    return b.model(outputs)


class _Encoder:
    """The blocks of one encoder; each method adds a block's nodes and returns the name of its output."""

    def __init__(self, shape: Shape, tensors: Tensors) -> None:
        self.shape = shape
        self.tensors = tensors
        self.builder = b = Builder()
        self._sequence = b.op("Shape", ["input_ids"], start=1, name="sequence")
        # MultiHeadAttention wants the mask as int32.
        self._mask = b.op("Cast", ["attention_mask"], to=b.INT32, name="mask")
        lowest = b.op("ReduceMin", ["attention_mask"], keepdims=0, name="lowest_mask")
        self._no_padding = b.op("Cast", [lowest], to=b.BOOL, name="no_padding")

    def embeddings(self) -> str:
        """Word + position + token type 0, normalised (rule 4)."""
        b, s, hidden = self.builder, self.shape, self.shape.hidden
        words = self.tensors.get("embeddings.word_embeddings.weight", s.vocabulary, hidden)
        positions = self.tensors.get("embeddings.position_embeddings.weight", s.positions, hidden)
        types = self.tensors.get("embeddings.token_type_embeddings.weight", s.token_types, hidden)
        word = b.op("Gather", [b.constant("word_embeddings", words), "input_ids"], name="words")
        table = b.constant("position_embeddings", positions + types[0])
        total = b.op("Add", [word, self._positions(table)], name="embedding_sum")
        return self._normalisation(total, "embeddings.LayerNorm")

    def layer(self, hidden: str, at: str) -> str:
        """Attention and feed-forward, each added to its input and normalised (rule 3)."""
        attended = self._attention(hidden, f"{at}.attention")
        hidden = self._residual(attended, hidden, f"{at}.attention.output.LayerNorm")
        fed = self._feed_forward(hidden, at)
        return self._residual(fed, hidden, f"{at}.output.LayerNorm")

    def _positions(self, table: str) -> str:
        """Position embeddings of all tokens, [sequence, hidden] or [batch, sequence, hidden]."""
        b, padding = self.builder, self.shape.padding
        if padding is None:
            return b.op("Slice", [table, b.ints([0]), self._sequence], name="positions")
        first = b.scalar(padding)
        real = b.op("Not", [b.op("Equal", ["input_ids", first], name="is_padding")], name="is_text")
        counted = b.op("Cast", [real], to=b.INT64, name="text")
        running = b.op("CumSum", [counted, b.scalar(1)], name="count")
        places = b.op("Add", [b.op("Mul", [running, counted], name="text_count"), first], name="position_ids")
        return b.op("Gather", [table, places], name="positions")

    def _attention(self, hidden: str, at: str) -> str:
        """Q, K and V (rule 1), the mean of V that they ask for, and its projection."""
        b, width = self.builder, self.shape.hidden
        self.tensors.get(f"{at}.self.key.bias", width)  # there, and then left out
        weights = [self.tensors.get(f"{at}.self.{name}.weight", width, width).T for name in ("query", "key", "value")]
        packed = b.op(
            "MatMul", [hidden, b.constant(f"{at}.qkv.weight", np.concatenate(weights, axis=1))], name=f"{at}.qkv"
        )
        query, key, value = b.ops("Split", [packed], outputs=3, axis=-1, num_outputs=3, name=f"{at}.split")
        inputs = [self._plus_bias(query, f"{at}.self.query"), key, self._plus_bias(value, f"{at}.self.value")]
        return self._linear(self._heads(inputs, f"{at}.self"), f"{at}.output.dense", width, width)

    def _heads(self, inputs: list[str], at: str) -> str:
        """MultiHeadAttention, with or without the mask (rule 2): 15 to 40 % faster without."""
        attend: dict[str, Any] = {"domain": CONTRIB, "num_heads": self.shape.heads}
        b, width = self.builder, self.shape.hidden
        without = b.branch("MultiHeadAttention", inputs, width=width, name=f"{at}.unmasked", **attend)
        masked = b.branch("MultiHeadAttention", [*inputs, "", self._mask], width=width, name=f"{at}.masked", **attend)
        return b.op("If", [self._no_padding], then_branch=without, else_branch=masked, name=at)

    def _feed_forward(self, hidden: str, at: str) -> str:
        s = self.shape
        up = self._linear(hidden, f"{at}.intermediate.dense", s.hidden, s.intermediate)
        operator, attributes = ACTIVATIONS[s.activation]
        active = self.builder.op(operator, [up], name=f"{at}.activation", **attributes)
        return self._linear(active, f"{at}.output.dense", s.intermediate, s.hidden)

    def _linear(self, rows: str, at: str, inputs: int, outputs: int) -> str:
        weight = self.builder.constant(f"{at}.weight", self.tensors.get(f"{at}.weight", outputs, inputs).T)
        return self._plus_bias(self.builder.op("MatMul", [rows, weight], name=at), at, outputs)

    def _plus_bias(self, product: str, at: str, outputs: int | None = None) -> str:
        bias = self.builder.constant(f"{at}.bias", self.tensors.get(f"{at}.bias", outputs or self.shape.hidden))
        return self.builder.op("Add", [product, bias], name=f"{at}.plus_bias")

    def _residual(self, block: str, hidden: str, at: str) -> str:
        return self._normalisation(self.builder.op("Add", [block, hidden]), at)

    def _normalisation(self, rows: str, at: str) -> str:
        b, width = self.builder, self.shape.hidden
        gain = b.constant(f"{at}.weight", self.tensors.get(f"{at}.weight", width))
        bias = b.constant(f"{at}.bias", self.tensors.get(f"{at}.bias", width))
        return b.op("LayerNormalization", [rows, gain, bias], axis=-1, epsilon=self.shape.epsilon, name=at)
