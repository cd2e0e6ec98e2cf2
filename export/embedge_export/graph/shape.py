"""What a config says of an encoder: its sizes and kind, or why no graph can be made of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedge.errors import CheckpointError
from embedge_export.checkpoint.read import Checkpoint

# Those whose positions count on from the padding token's id, over the tokens that are none.
_FROM_PADDING = ("camembert", "roberta", "xlm-roberta")
SUPPORTED = ("bert", *_FROM_PADDING)
# config.json's hidden_act -> (operator, attributes)
ACTIVATIONS: Mapping[str, tuple[str, dict[str, str]]] = {
    "gelu": ("Gelu", {"approximate": "none"}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of an encoder.

    Attributes:
        vocabulary: rows of the word embeddings.
        positions: rows of the position embeddings.
        token_types: rows of the token type embeddings.
        hidden: width of a hidden state.
        layers: how many.
        heads: of attention, in each layer.
        intermediate: width inside the feed-forward block.
        activation: inside the feed-forward block, by its name in config.json.
        epsilon: of layer normalisation.
        padding: the padding token's id, where positions are counted from it; None where they are from 0.
    """

    vocabulary: int
    positions: int
    token_types: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    activation: str
    epsilon: float
    padding: int | None


def read_shape(checkpoint: Checkpoint) -> Shape:
    """The sizes in ``config.json``.

    Raises:
        CheckpointError: not an architecture or variant that the native exporter knows.
    """
    config = checkpoint.config
    other = f"the native exporter knows {', '.join(SUPPORTED)} encoders; `--exporter optimum` brings others"
    if checkpoint.architecture not in SUPPORTED:
        raise CheckpointError(f"{checkpoint.directory} is a {checkpoint.architecture} model; {other}")
    if config.get("position_embedding_type", "absolute") != "absolute" or config.get("is_decoder"):
        raise CheckpointError(f"{checkpoint.directory} has relative positions or is a decoder; {other}")
    activation = config.get("hidden_act", "gelu")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise CheckpointError(
            f"{checkpoint.directory} has activation {activation!r}; native knows {known}; try `--exporter optimum`"
        )
    sizes = _Sizes(config, checkpoint.directory / "config.json")
    shape = Shape(
        vocabulary=sizes.number("vocab_size"),
        positions=sizes.number("max_position_embeddings"),
        token_types=sizes.number("type_vocab_size", 2),
        hidden=sizes.number("hidden_size"),
        layers=sizes.number("num_hidden_layers"),
        heads=sizes.number("num_attention_heads"),
        intermediate=sizes.number("intermediate_size"),
        activation=activation,
        epsilon=sizes.epsilon("layer_norm_eps", 1e-12),
        padding=sizes.number("pad_token_id", 1) if checkpoint.architecture in _FROM_PADDING else None,
    )
    if min(shape.vocabulary, shape.positions, shape.token_types, shape.hidden, shape.layers, shape.intermediate) < 1:
        raise CheckpointError(f"{checkpoint.directory / 'config.json'} has a size below 1; get it again")
    if shape.padding is not None and not 0 <= shape.padding < min(shape.vocabulary, shape.positions):
        raise CheckpointError(f"{checkpoint.directory / 'config.json'} has no pad_token_id; get it again")
    if checkpoint.task == "rerank" and shape.padding is None:
        raise CheckpointError(
            f"{checkpoint.directory} reranks with token types; native knows rerankers of {', '.join(_FROM_PADDING)}"
        )
    if shape.heads < 1 or shape.hidden % shape.heads:
        raise CheckpointError(
            f"{checkpoint.directory}: hidden_size {shape.hidden} is not a multiple of {shape.heads} heads"
        )
    return shape


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Numbers of a config; what one leaves out is what transformers takes then. Raises CheckpointError for another."""

    config: Mapping[str, Any]
    where: Path

    def number(self, key: str, default: int | None = None) -> int:
        found = self.config.get(key, default)
        if type(found) is not int:  # of 2.5 or true something would be made, too
            raise CheckpointError(f"{self.where} lacks a size ({key} is {found!r}); get it again")
        return found

    def epsilon(self, key: str, default: float) -> float:
        found = self.config.get(key, default)
        if type(found) not in (float, int) or not 0 <= found < 1:
            raise CheckpointError(f"{self.where} has {key} {found!r}, and must have a small number; get it again")
        return float(found)
