"""Build the fused float32 graph of a BERT or RoBERTa encoder: one short method for each block.

Hidden states are [batch, sequence, hidden] throughout; no node reshapes them. A linear layer is a ``MatMul`` called
NAME, and its constants are NAME.weight and NAME.bias; ``linear`` finds them by these names.

The graph differs from a traced one in four points, each measured on ONNX Runtime's CPU provider:

1. Q, K and V are one product. K's bias is left out: it adds the same number to all scores of a query, and softmax does
   not depend on that.
2. One ``MultiHeadAttention`` node (com.microsoft) replaces ten traced nodes. If no token is padding, it has no mask.
3. ``Add`` and ``LayerNormalization`` are two nodes. ``SkipLayerNormalization`` would be one, but its CPU kernel is not
   vectorised, and six times slower.
4. Only token type 0 is ever used, so its row is added to the position embeddings at export.

The layers on top of the encoder are in ``heads``.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import ModelProto

from embedge.bundle.manifest import HIDDEN, SCORES, TOKEN_VECTORS, TOKEN_WEIGHTS
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.table import Table
from embedge_export.checkpoint.tensors import Tensors
from embedge_export.graph.builder import CONTRIB, Builder
from embedge_export.graph.encoder_config import ACTIVATIONS, EncoderConfig, read_encoder_config
from embedge_export.graph.heads import add_multi_vector_head, add_reranker_head, add_sparse_head
from embedge_export.graph.piece import Piece, join


def build_graph(checkpoint: Checkpoint) -> ModelProto:
    """Return the float32 graph of a checkpoint, with all weights in memory. See ``build_pieces``."""
    return join(build_pieces(checkpoint))


def check_tensors(checkpoint: Checkpoint) -> None:
    """Check the names and shapes of all tensors that the graph needs, without reading them. See ``build_pieces``."""
    for _ in build_pieces(checkpoint, has_data=False):
        pass


def build_pieces(checkpoint: Checkpoint, *, has_data: bool = True) -> Iterator[Piece]:
    """Yield the pieces of a checkpoint's float32 graph. A piece's weights are read when it is its turn.

    The graph's inputs are ``input_ids`` and ``attention_mask``. Its output is ``last_hidden_state``, or ``logits`` for
    a reranker. A sparse head adds ``token_weights``, and a multi-vector head ``token_vectors``.

    Args:
        checkpoint: the checkpoint.
        has_data: whether the constants have data; without, the weights are not read.

    Raises:
        CheckpointError: the architecture is not supported, or a tensor is missing, has the wrong shape, or is not used.
    """
    config = read_encoder_config(checkpoint)
    with Tensors(checkpoint, has_data=has_data) as tensors:
        encoder = _Encoder(config, tensors, has_data=has_data)
        total, tables = encoder.embeddings()
        yield Piece(model=encoder.builder.take(inputs=Builder.inputs()), hidden=total, tables=tables)
        norm = "embeddings.LayerNorm"
        for layer in range(config.layers):
            at = f"encoder.layer.{layer}"
            total, norm = encoder.layer(encoder.normalised(total, norm), at), f"{at}.output.LayerNorm"
            yield Piece(model=encoder.builder.take(), hidden=total, is_last_layer=layer == config.layers - 1)
        yield Piece(model=_finish(encoder, encoder.normalised(total, norm), checkpoint, has_data=has_data))


def _finish(encoder: "_Encoder", hidden: str, checkpoint: Checkpoint, *, has_data: bool) -> ModelProto:
    """Return the last piece: with the heads that the checkpoint has, or with the hidden states alone."""
    b, width = encoder.builder, encoder.config.hidden
    if checkpoint.task == "rerank":
        add_reranker_head(b, encoder.tensors, hidden, width=width)
        return b.take(outputs={SCORES: ["batch", 1]})
    outputs: dict[str, list[str | int]] = {b.op("Identity", [hidden], name=HIDDEN): ["batch", "sequence", width]}
    if checkpoint.sparse_head is not None:
        layer = checkpoint.sparse_head
        with Tensors(checkpoint, layer=layer, prefix="sparse_linear.", has_data=has_data) as head:
            add_sparse_head(b, head, hidden, width=width)
        outputs[TOKEN_WEIGHTS] = ["batch", "sequence"]
    if checkpoint.multi_vector_head is not None:
        layer = checkpoint.multi_vector_head
        with Tensors(checkpoint, layer=layer, prefix="colbert_linear.", has_data=has_data) as head:
            add_multi_vector_head(b, head, hidden, width=width)
        outputs[TOKEN_VECTORS] = ["batch", "sequence", width]
    return b.take(outputs=outputs)


class _Encoder:
    """The blocks of one encoder. Each method adds the nodes of a block, and returns the name of its output."""

    def __init__(self, config: EncoderConfig, tensors: Tensors, *, has_data: bool) -> None:
        self.config = config
        self.tensors = tensors
        self.builder = b = Builder(has_data=has_data)
        self._sequence = b.op("Shape", ["input_ids"], start=1, name="sequence")
        # MultiHeadAttention takes the mask as int32.
        self._mask = b.op("Cast", ["attention_mask"], to=b.INT32, name="mask")
        lowest = b.op("ReduceMin", ["attention_mask"], keepdims=0, name="lowest_mask")
        self._no_padding = b.op("Cast", [lowest], to=b.BOOL, name="no_padding")

    def embeddings(self) -> tuple[str, dict[str, Table]]:
        """Word, position and token type 0 embeddings (point 4): their sum, and the table of the words."""
        b, c, hidden = self.builder, self.config, self.config.hidden
        words = self.tensors.table("embeddings.word_embeddings.weight", c.vocabulary, hidden)
        positions = self.tensors.get("embeddings.position_embeddings.weight", c.positions, hidden)
        types = self.tensors.get("embeddings.token_type_embeddings.weight", c.token_types, hidden)
        word = b.op("Gather", [b.constant("word_embeddings", words), "input_ids"], name="words")
        table = b.constant("position_embeddings", positions + types[0])
        return b.op("Add", [word, self._positions(table)], name="embedding_sum"), {"word_embeddings": words}

    def layer(self, hidden: str, at: str) -> str:
        """Attention and feed-forward; each is added to its input, and the first sum is normalised (point 3)."""
        attended = self._attention(hidden, f"{at}.attention")
        total = self.builder.op("Add", [attended, hidden])
        hidden = self.normalised(total, f"{at}.attention.output.LayerNorm")
        return self.builder.op("Add", [self._feed_forward(hidden, at), hidden])

    def normalised(self, rows: str, at: str) -> str:
        """Layer normalisation."""
        b, width = self.builder, self.config.hidden
        gain = b.constant(f"{at}.weight", self.tensors.get(f"{at}.weight", width))
        bias = b.constant(f"{at}.bias", self.tensors.get(f"{at}.bias", width))
        return b.op("LayerNormalization", [rows, gain, bias], axis=-1, epsilon=self.config.epsilon, name=at)

    def _positions(self, table: str) -> str:
        """Position embeddings of all tokens: [sequence, hidden], or for RoBERTa [batch, sequence, hidden].

        RoBERTa numbers the tokens that are not padding, from the padding token's id + 1 on.
        """
        b, padding = self.builder, self.config.pad_token_id
        if padding is None:
            return b.op("Slice", [table, b.ints([0]), self._sequence], name="positions")
        first = b.scalar(padding)
        real = b.op("Not", [b.op("Equal", ["input_ids", first], name="is_padding")], name="is_text")
        counted = b.op("Cast", [real], to=b.INT64, name="text")
        running = b.op("CumSum", [counted, b.scalar(1)], name="count")
        places = b.op("Add", [b.op("Mul", [running, counted], name="text_count"), first], name="position_ids")
        return b.op("Gather", [table, places], name="positions")

    def _attention(self, hidden: str, at: str) -> str:
        """Self-attention: Q, K and V in one product (point 1), attention, and the output projection."""
        b, width = self.builder, self.config.hidden
        self.tensors.get(f"{at}.self.key.bias", width)  # read to check that it is there; then left out
        weights = [self.tensors.get(f"{at}.self.{name}.weight", width, width).T for name in ("query", "key", "value")]
        packed = b.op(
            "MatMul", [hidden, b.constant(f"{at}.qkv.weight", np.concatenate(weights, axis=1))], name=f"{at}.qkv"
        )
        query, key, value = b.ops("Split", [packed], outputs=3, axis=-1, num_outputs=3, name=f"{at}.split")
        inputs = [self._plus_bias(query, f"{at}.self.query"), key, self._plus_bias(value, f"{at}.self.value")]
        return self._linear(self._heads(inputs, f"{at}.self"), f"{at}.output.dense", width, width)

    def _heads(self, inputs: list[str], at: str) -> str:
        """MultiHeadAttention with or without the mask (point 2): it is 15 to 40 % faster without."""
        attend: dict[str, Any] = {"domain": CONTRIB, "num_heads": self.config.heads}
        b, width = self.builder, self.config.hidden
        without = b.branch("MultiHeadAttention", inputs, width=width, name=f"{at}.unmasked", **attend)
        masked = b.branch("MultiHeadAttention", [*inputs, "", self._mask], width=width, name=f"{at}.masked", **attend)
        return b.op("If", [self._no_padding], then_branch=without, else_branch=masked, name=at)

    def _feed_forward(self, hidden: str, at: str) -> str:
        c = self.config
        up = self._linear(hidden, f"{at}.intermediate.dense", c.hidden, c.intermediate)
        operator, attributes = ACTIVATIONS[c.activation]
        active = self.builder.op(operator, [up], name=f"{at}.activation", **attributes)
        return self._linear(active, f"{at}.output.dense", c.intermediate, c.hidden)

    def _linear(self, rows: str, at: str, inputs: int, outputs: int) -> str:
        weight = self.builder.constant(f"{at}.weight", self.tensors.get(f"{at}.weight", outputs, inputs).T)
        return self._plus_bias(self.builder.op("MatMul", [rows, weight], name=at), at, outputs)

    def _plus_bias(self, product: str, at: str, outputs: int | None = None) -> str:
        bias = self.builder.constant(f"{at}.bias", self.tensors.get(f"{at}.bias", outputs or self.config.hidden))
        return self.builder.op("Add", [product, bias], name=f"{at}.plus_bias")
