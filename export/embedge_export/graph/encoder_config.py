"""Read an encoder's sizes from ``config.json``, or say why the native exporter cannot build it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedge.errors import CheckpointError
from embedge_export.checkpoint.read import Checkpoint

# RoBERTa and its relatives: the first token's position is the padding token's id + 1, and padding has no position.
_FROM_PADDING = ("camembert", "roberta", "xlm-roberta")
SUPPORTED = ("bert", *_FROM_PADDING)
# The ONNX operator and its attributes for each ``hidden_act`` of config.json.
ACTIVATIONS: Mapping[str, tuple[str, dict[str, str]]] = {
    "gelu": ("Gelu", {"approximate": "none"}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """The sizes of an encoder.

    Attributes:
        vocabulary: rows of the word embeddings.
        positions: rows of the position embeddings.
        token_types: rows of the token type embeddings.
        hidden: width of a hidden state.
        layers: number of layers.
        heads: attention heads in each layer.
        intermediate: width of the feed-forward block.
        activation: the activation function of the feed-forward block; a key of ``ACTIVATIONS``.
        epsilon: the epsilon of layer normalisation.
        pad_token_id: the padding token's id, if positions are counted from it; None if they are counted from 0.
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
    pad_token_id: int | None


def read_encoder_config(checkpoint: Checkpoint) -> EncoderConfig:
    """Return the sizes in a checkpoint's ``config.json``.

    Raises:
        CheckpointError: the native exporter does not support the architecture or the variant, or a size is wrong.
    """
    config = checkpoint.config
    other = f"the native exporter supports {', '.join(SUPPORTED)} encoders; run `embedge export --exporter optimum`"
    if checkpoint.architecture not in SUPPORTED:
        raise CheckpointError(f"{checkpoint.directory} is a {checkpoint.architecture} model; {other}")
    if config.get("position_embedding_type", "absolute") != "absolute" or config.get("is_decoder"):
        raise CheckpointError(f"{checkpoint.directory} has relative position embeddings or is a decoder; {other}")
    activation = config.get("hidden_act", "gelu")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise CheckpointError(
            f"{checkpoint.directory} has activation {activation!r}, the native exporter supports {known}; "
            "run `embedge export --exporter optimum`"
        )
    numbers = _Numbers(config, checkpoint.directory / "config.json")
    sizes = EncoderConfig(
        vocabulary=numbers.number("vocab_size"),
        positions=numbers.number("max_position_embeddings"),
        token_types=numbers.number("type_vocab_size", 2),
        hidden=numbers.number("hidden_size"),
        layers=numbers.number("num_hidden_layers"),
        heads=numbers.number("num_attention_heads"),
        intermediate=numbers.number("intermediate_size"),
        activation=activation,
        epsilon=numbers.epsilon("layer_norm_eps", 1e-12),
        pad_token_id=numbers.number("pad_token_id", 1) if checkpoint.architecture in _FROM_PADDING else None,
    )
    if min(sizes.vocabulary, sizes.positions, sizes.token_types, sizes.hidden, sizes.layers, sizes.intermediate) < 1:
        raise CheckpointError(f"{checkpoint.directory / 'config.json'} has a size below 1; get the checkpoint again")
    if sizes.pad_token_id is not None and not 0 <= sizes.pad_token_id < min(sizes.vocabulary, sizes.positions):
        raise CheckpointError(
            f"{checkpoint.directory / 'config.json'} has pad_token_id {sizes.pad_token_id}, which is not a row of its "
            "embeddings; get the checkpoint again"
        )
    if checkpoint.task == "rerank" and sizes.pad_token_id is None:
        raise CheckpointError(
            f"{checkpoint.directory} reranks with token types, which a bundle's graph does not take; "
            f"choose a reranker of another architecture ({', '.join(_FROM_PADDING)}), such as bge-reranker-base"
        )
    if sizes.heads < 1 or sizes.hidden % sizes.heads:
        raise CheckpointError(
            f"{checkpoint.directory}: hidden_size {sizes.hidden} is not a multiple of {sizes.heads} heads"
        )
    return sizes


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The numbers of a ``config.json``. A default is that of transformers. Raises CheckpointError for a wrong value."""

    config: Mapping[str, Any]
    where: Path

    def number(self, key: str, default: int | None = None) -> int:
        value = self.config.get(key, default)
        if type(value) is not int:  # 2.5 and true would also build some graph
            raise CheckpointError(f"{self.where} has no valid size: {key} is {value!r}; get the checkpoint again")
        return value

    def epsilon(self, key: str, default: float) -> float:
        value = self.config.get(key, default)
        if type(value) not in (float, int) or not 0 <= value < 1:
            raise CheckpointError(
                f"{self.where} has {key} {value!r}, which must be in [0, 1); get the checkpoint again"
            )
        return float(value)
