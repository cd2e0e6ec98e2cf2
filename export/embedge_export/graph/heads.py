"""The layers on top of an encoder: a reranker's score of a pair, and bge-m3's weights and vectors of tokens.

A layer with one output is ``Mul`` and ``ReduceSum``, not ``MatMul``, for two reasons. The int8 rewrite leaves it in
float32: its result is used as a number, so rounding would change it more than it changes the direction of a vector. And
its sums are the same in any batch, and whether or not a session prepacks its weights. The sums of a float ``MatMul``
may change when its weights are prepacked.

The vectors of tokens are compared by direction, so they are a ``MatMul``. An int8 graph quantises it like all others.
Its integer sums are the same in any batch, too.
"""

from embedge.bundle.manifest import SCORES, TOKEN_VECTORS, TOKEN_WEIGHTS
from embedge_export.checkpoint.tensors import Tensors
from embedge_export.graph.builder import Builder


def add_reranker_head(b: Builder, tensors: Tensors, hidden: str, *, width: int) -> str:
    """Add RoBERTa's classification head with one label: on the first token, dense, tanh, projection; [batch, 1].

    Source: transformers, ``XLMRobertaClassificationHead``.
    """
    first = b.op("Slice", [hidden, b.ints([0]), b.ints([1]), b.ints([1])], name="head.first_token")
    weight = b.constant("classifier.dense.weight", tensors.get("classifier.dense.weight", width, width).T)
    bias = b.constant("classifier.dense.bias", tensors.get("classifier.dense.bias", width))
    product = b.op("MatMul", [first, weight], name="classifier.dense")
    inner = b.op("Tanh", [b.op("Add", [product, bias], name="classifier.dense.plus_bias")], name="classifier.tanh")
    scores = _single_output(b, tensors, inner, "classifier.out_proj", width=width)
    return b.op("Identity", [scores], name=SCORES)


def add_sparse_head(b: Builder, tensors: Tensors, hidden: str, *, width: int) -> str:
    """Add bge-m3's sparse head: a linear layer with one output and ReLU, on every token; [batch, sequence].

    Source: FlagEmbedding, ``BGEM3ForInference.sparse_embedding``.
    """
    return b.op("Relu", [_single_output(b, tensors, hidden, "sparse_linear", width=width)], name=TOKEN_WEIGHTS)


def add_multi_vector_head(b: Builder, tensors: Tensors, hidden: str, *, width: int) -> str:
    """Add bge-m3's multi-vector head: a linear layer on every token, [batch, sequence, width].

    The runtime drops the first token's vector, and normalises the others.

    Source: FlagEmbedding, ``EncoderOnlyEmbedderM3Model._colbert_embedding``.
    """
    at = "colbert_linear"
    weight = b.constant(f"{at}.weight", tensors.get(f"{at}.weight", width, width).T)
    product = b.op("MatMul", [hidden, weight], name=at)
    return b.op("Add", [product, b.constant(f"{at}.bias", tensors.get(f"{at}.bias", width))], name=TOKEN_VECTORS)


def _single_output(b: Builder, tensors: Tensors, rows: str, at: str, *, width: int) -> str:
    """Add a linear layer with one output, on each row of [batch, tokens, width]: [batch, tokens]."""
    weight = b.constant(f"{at}.weight", tensors.get(f"{at}.weight", 1, width)[0])
    products = b.op("Mul", [rows, weight], name=f"{at}.products")
    total = b.op("ReduceSum", [products, b.ints([-1])], keepdims=0, name=at)
    return b.op("Add", [total, b.constant(f"{at}.bias", tensors.get(f"{at}.bias", 1))], name=f"{at}.plus_bias")
