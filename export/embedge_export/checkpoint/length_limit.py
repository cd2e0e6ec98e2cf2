"""The longest text of a checkpoint: the trainer's limit, and the number of positions that the model has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedge.errors import CheckpointError

# These models number the positions of a text from the id of the padding token plus 1, so the positions up to that id
# hold no token. (transformers: create_position_ids_from_input_ids.)
_AFTER_PADDING_ID = (
    "camembert",
    "data2vec-text",
    "ibert",
    "longformer",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)
# This one does the same with a padding id of 1, whatever its config says. (transformers: MPNetEmbeddings.)
_AFTER_ONE = ("mpnet",)
_FEWEST = 3  # tokens; two are special


def limit_tokens(folder: Path, config: Mapping[str, Any], wanted: int | None) -> int:
    """Return the longest text in tokens: the wanted length, or the number of positions if that is smaller.

    Args:
        folder: the encoder's folder, for messages.
        config: config.json.
        wanted: the length that the checkpoint's settings state; None if they state none.

    Raises:
        CheckpointError: the model has no position for a text.
    """
    positions = int(config.get("max_position_embeddings", 512))
    if config.get("model_type") in (*_AFTER_PADDING_ID, *_AFTER_ONE):
        padding = 1 if config["model_type"] in _AFTER_ONE else int(config.get("pad_token_id", 1) or 0)
        if padding + 1 >= positions:
            raise CheckpointError(
                f"{folder / 'config.json'} has pad_token_id {padding} and {positions} positions, and a text begins "
                "after pad_token_id; download or copy the checkpoint again"
            )
        positions -= padding + 1
    # transformers writes 1e30 for "no limit".
    tokens = min(positions, positions if wanted is None else wanted)
    if tokens < _FEWEST:
        raise CheckpointError(
            f"{folder} allows texts of {tokens} tokens, and a text needs at least {_FEWEST}; correct its "
            "max_seq_length, or choose another checkpoint"
        )
    return tokens
