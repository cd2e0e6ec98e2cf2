"""The reference by numpy: a checkpoint's encoder, layer by layer, so that one layer's weights are in memory at a time.

It shares no code with the graphs: each formula is that of the published architecture. Texts are not padded, the weights
are not rearranged, and all texts go through a layer before the next layer is read.

Sources: BERT (Devlin et al., arXiv:1810.04805), RoBERTa (Liu et al., arXiv:1907.11692), and transformers'
``modeling_bert.py`` and ``modeling_xlm_roberta.py``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.tensors import Tensors
from embedge_export.graph.encoder_config import EncoderConfig, read_encoder_config
from embedge_export.verify.padded_batches import Ids
from embedge_export.verify.reference import Outputs, score_outputs
from embedge_export.verify.token_head import TokenHeads

_BLOCK = 256  # rows of a feed-forward block that are computed at once, so that its wide states stay in the cache

Array = NDArray[np.float32]


class NumpyReference:
    """A checkpoint of BERT's or RoBERTa's architecture.

    Args:
        checkpoint: the checkpoint.

    Raises:
        CheckpointError: the architecture is another one.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.name = f"the checkpoint's layers by numpy {np.__version__}"
        self._checkpoint = checkpoint
        self._config = read_encoder_config(checkpoint)
        self._heads = TokenHeads(checkpoint)

    def outputs(self, ids: Sequence[Ids], names: Iterable[str]) -> list[Outputs]:
        """Return all outputs for each text. See ``Computes``.

        Raises:
            CheckpointError: a tensor is missing, has the wrong shape, or is not used.
        """
        config = self._config
        ends = np.cumsum([0, *map(len, ids)])
        texts = [slice(*pair) for pair in pairwise(ends.tolist())]
        with Tensors(self._checkpoint) as tensors:
            hidden = _embed(_Layer(tensors, "embeddings"), config, ids)
            for layer in range(config.layers):
                hidden = _encode(_Layer(tensors, f"encoder.layer.{layer}"), config, hidden, texts)
            if self._checkpoint.task == "rerank":
                return score_outputs(_score(_Layer(tensors, "classifier"), config.hidden, hidden[ends[:-1]]))
        return self._heads.outputs(hidden[text] for text in texts)


class _Layer:
    """Reads the tensors of one part of a checkpoint, by the ends of their names."""

    def __init__(self, tensors: Tensors, at: str) -> None:
        self._tensors, self._at = tensors, at

    def get(self, name: str, *shape: int) -> Array:
        return self._tensors.get(f"{self._at}.{name}", *shape)

    def rows(self, name: str, size: int, width: int, numbers: Ids) -> Array:
        """Return some rows of a table [size, width], which is read in slices."""
        used, places = np.unique(numbers, return_inverse=True)
        found: Array = self._tensors.table(f"{self._at}.{name}", size, width).rows(used)
        return found[places]

    def linear(self, name: str, inputs: int, outputs: int) -> Callable[[Array], Array]:
        """Return the function ``rows @ weight.T + bias``."""
        weight, bias = self.get(f"{name}.weight", outputs, inputs), self.get(f"{name}.bias", outputs)
        return lambda rows: rows @ weight.T + bias

    def normalise(self, name: str, rows: Array, epsilon: float) -> Array:
        """Layer normalisation over the last axis."""
        gain, bias = (self.get(f"{name}.{kind}", rows.shape[-1]) for kind in ("weight", "bias"))
        centred = rows - rows.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        result: Array = centred / np.sqrt(variance + np.float32(epsilon)) * gain + bias
        return result


def _embed(layer: _Layer, config: EncoderConfig, ids: Sequence[Ids]) -> Array:
    """Word, position and token type 0 embeddings of all tokens: their normalised sum, [tokens, hidden]."""
    places = np.concatenate([_positions(text, config.pad_token_id) for text in ids])
    total = layer.rows("word_embeddings.weight", config.vocabulary, config.hidden, np.concatenate(ids))
    total += layer.rows("position_embeddings.weight", config.positions, config.hidden, places)
    total += layer.get("token_type_embeddings.weight", config.token_types, config.hidden)[0]
    return layer.normalise("LayerNorm", total, config.epsilon)


def _positions(ids: Ids, pad_id: int | None) -> Ids:
    """BERT counts tokens from 0. RoBERTa counts those that are not padding from the padding's id + 1."""
    if pad_id is None:
        return np.arange(len(ids))
    real = ids != pad_id
    places: Ids = np.cumsum(real) * real + pad_id
    return places


def _encode(layer: _Layer, config: EncoderConfig, hidden: Array, texts: Sequence[slice]) -> Array:
    """Self-attention within each text, then the feed-forward block; each is added to its input and normalised."""
    width, inner = config.hidden, config.intermediate
    parts = (layer.linear(f"attention.self.{name}", width, width)(hidden) for name in ("query", "key", "value"))
    query, key, value = (rows.reshape(len(rows), config.heads, -1).transpose(1, 0, 2) for rows in parts)
    attended = np.empty_like(hidden)
    for text in texts:
        heads = _softmax(query[:, text] @ key[:, text].transpose(0, 2, 1) / np.sqrt(np.float32(width // config.heads)))
        attended[text] = (heads @ value[:, text]).transpose(1, 0, 2).reshape(-1, width)
    attended = layer.linear("attention.output.dense", width, width)(attended)
    hidden = layer.normalise("attention.output.LayerNorm", attended + hidden, config.epsilon)
    up, down = layer.linear("intermediate.dense", width, inner), layer.linear("output.dense", inner, width)
    activate = _ACTIVATIONS[config.activation]
    blocks = (hidden[start : start + _BLOCK] for start in range(0, len(hidden), _BLOCK))
    fed = np.concatenate([down(activate(up(rows))) for rows in blocks])
    return layer.normalise("output.LayerNorm", fed + hidden, config.epsilon)


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _score(layer: _Layer, width: int, first: Array) -> Iterator[Array]:
    """Yield the score of each pair, [1], from the hidden states of the first tokens, [pairs, hidden]."""
    inner = np.tanh(layer.linear("dense", width, width)(first))
    yield from layer.linear("out_proj", width, 1)(inner)


def _gelu(rows: Array) -> Array:
    """GELU, x * Phi(x), with Abramowitz and Stegun's erf 7.1.26, whose error is at most 1.5e-7."""
    scaled = np.abs(rows) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * scaled)
    sum_: Array = np.full_like(rows, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        sum_ *= t
        sum_ += np.float32(coefficient)
    tail = sum_ * t * np.exp(-np.square(scaled)) / 2  # 1 - Phi(|x|)
    result: Array = np.where(rows < 0, rows * tail, rows - rows * tail)
    return result


def _gelu_tanh(rows: Array) -> Array:
    inner = np.float32(np.sqrt(2 / np.pi)) * (rows + np.float32(0.044715) * rows**3)
    result: Array = rows / 2 * (1 + np.tanh(inner))
    return result


def _relu(rows: Array) -> Array:
    return np.maximum(rows, 0)


# By the ``hidden_act`` of config.json.
_ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "gelu": _gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": _relu,
}
