"""Token ids and padded batches for a reference, as another runtime would make them.

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
_BATCH_TOKENS = 1024  # with padding; two texts may have more

Ids = NDArray[np.int64]


def token_ids(bundle: Bundle, texts: Sequence[str] | Sequence[tuple[str, str]]) -> list[Ids]:
    """Return the token ids of each text, int64 [tokens].

    Args:
        bundle: its tokenizer is used, without the runtime.
        texts: texts, or for a reranker pairs of texts.
    """
    tokenizer = Tokenizer.from_file(str(bundle.path / TOKENIZER))
    strategy = "only_second" if bundle.manifest.task == "rerank" else "longest_first"
    tokenizer.enable_truncation(
        bundle.manifest.max_tokens, strategy=strategy, direction=bundle.manifest.truncation_side
    )
    tokenizer.no_padding()
    return [np.array(encoding.ids, np.int64) for encoding in tokenizer.encode_batch(list(texts))]


def padded_batches(ids: Sequence[Ids], *, pad_id: int) -> Iterator[tuple[list[int], Ids, Ids]]:
    """Yield the places of the texts of each batch, their padded token ids and their mask, both int64 [batch, tokens].

    A batch is the longest texts that are left and the shortest one, so each has padding. The order is for speed: in
    the order of the texts, half of all tokens would be padding.

    Args:
        ids: the token ids of each text, [tokens].
        pad_id: the id to pad with. It must be right: RoBERTa numbers only the tokens that are not padding.
    """
    left = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
    while left:
        longest = len(ids[left[0]])
        rows = min(_BATCH, max(2, _BATCH_TOKENS // longest))
        places = left if len(left) <= rows else [*left[: rows - 1], left[-1]]
        left = left[len(places) - 1 : -1] if len(places) < len(left) else []
        yield places, *pad([ids[place] for place in places], pad_id=pad_id)


def pad(ids: Sequence[Ids], *, pad_id: int) -> tuple[Ids, Ids]:
    """Return the token ids of texts padded at their ends, and their mask, both int64 [texts, tokens].

    >>> [rows.tolist() for rows in pad([np.array([7, 8]), np.array([9])], pad_id=0)]
    [[[7, 8], [9, 0]], [[1, 1], [1, 0]]]
    """
    lengths = np.array([len(text) for text in ids])
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    padded = np.full(mask.shape, pad_id, np.int64)
    padded[mask == 1] = np.concatenate(ids)
    return padded, mask


def pad_token_id(bundle: Bundle) -> int:
    """Return the id that the checkpoint's model pads with."""
    return int(json.loads((bundle.path / "config.json").read_text(encoding="utf-8")).get("pad_token_id") or 0)


def pool(hidden: NDArray[np.float32], pooling: str) -> NDArray[np.float64]:
    """Return the unit vector of a text, float64 [dimension].

    Args:
        hidden: the hidden states of its tokens, [tokens, dimension]; with ``"cls"``, the first row is enough.
        pooling: ``"cls"``, ``"last"`` or ``"mean"``.
    """
    states = hidden.astype(np.float64)
    vector = {"cls": lambda: states[0], "last": lambda: states[-1], "mean": lambda: states.mean(axis=0)}[pooling]()
    unit: NDArray[np.float64] = vector / np.linalg.norm(vector)
    return unit
