"""Padded batches for a reference, as another runtime would make them.

The runtime does not pad as these do, and pools with code of its own. This is deliberate: verify would not notice an
error in code that both sides share.
"""

import json
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import TOKENIZER

_BATCH = 8  # texts


def padded_batches(
    bundle: Bundle, texts: Sequence[str] | Sequence[tuple[str, str]]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the token ids and the attention mask of each batch of texts, both int64 [batch, sequence].

    A batch is texts of different lengths, in the order given, padded to the longest.

    Args:
        bundle: its tokenizer is used, without the runtime.
        texts: texts, or for a reranker pairs of texts.
    """
    tokenizer = Tokenizer.from_file(str(bundle.path / TOKENIZER))
    strategy = "only_second" if bundle.manifest.task == "rerank" else "longest_first"
    tokenizer.enable_truncation(
        bundle.manifest.max_tokens, strategy=strategy, direction=bundle.manifest.truncation_side
    )
    tokenizer.enable_padding(pad_id=_pad_token_id(bundle))
    for start in range(0, len(texts), _BATCH):
        encodings = tokenizer.encode_batch(texts[start : start + _BATCH])
        ids, masks = ([getattr(e, name) for e in encodings] for name in ("ids", "attention_mask"))
        yield np.array(ids, np.int64), np.array(masks, np.int64)


def _pad_token_id(bundle: Bundle) -> int:
    """Return the id to pad with. It must be right: RoBERTa numbers only the tokens that are not padding."""
    return int(json.loads((bundle.path / "config.json").read_text(encoding="utf-8")).get("pad_token_id") or 0)


def pool_padded(hidden: NDArray[np.float32], mask: NDArray[np.int64], pooling: str) -> NDArray[np.float64]:
    """Return the unit vector of each text of a padded batch, float64 [batch, dimension].

    Args:
        hidden: hidden states, [batch, sequence, dimension].
        mask: 1 for a token and 0 for padding, [batch, sequence].
        pooling: ``"cls"``, ``"last"`` or ``"mean"``.
    """
    states = hidden.astype(np.float64)
    if pooling == "cls":
        vectors = states[:, 0]
    elif pooling == "last":
        vectors = states[np.arange(len(states)), mask.sum(axis=1) - 1]
    else:
        vectors = (states * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
