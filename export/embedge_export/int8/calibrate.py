"""Calibrate: run texts through the float32 graph, and record statistics of the inputs of each linear layer.

Smoothing and quantisation are fitted to these statistics.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from onnx import ModelProto

from embedge.bundle.manifest import Side
from embedge.errors import BundleError, CheckpointError, InputValueError
from embedge.inference.tokenise import Tokeniser
from embedge_export.errors import reason_of
from embedge_export.graph.piece import whole
from embedge_export.int8.moments import Activations
from embedge_export.int8.text_states import Ids, TextStates


def calibrate(
    model: ModelProto,
    texts: Sequence[str],
    *,
    tokenizer: Path,
    max_tokens: int,
    truncation_side: Side = "right",
    min_distinct: int = 1,
    range_texts: Sequence[str] = (),
) -> Mapping[str, Activations]:
    """Run texts through a float32 graph; return the activations of each linear layer by its name.

    Args:
        model: a graph from ``build_graph``; it is not changed.
        texts: some hundreds, as varied as the texts to embed. A long text is truncated, as in the runtime.
        tokenizer: the path of the checkpoint's ``tokenizer.json``.
        max_tokens: the longest input of the model.
        truncation_side: the side of a long text that is cut off.
        min_distinct: how many of the texts must differ after tokenisation.
        range_texts: more texts, which count for ``lowest`` and ``highest`` alone. If ``texts`` are few or of one kind,
            other texts would exceed their range.

    Raises:
        InputValueError: fewer than ``min_distinct`` texts differ.
        CheckpointError: an activation overflows, or the tokenizer or the graph fails on a text.
    """
    states = text_states(
        texts,
        tokenizer=tokenizer,
        max_tokens=max_tokens,
        truncation_side=truncation_side,
        min_distinct=min_distinct,
        range_texts=range_texts,
    )
    return states.advance(whole(model))


def text_states(
    texts: Sequence[str],
    *,
    tokenizer: Path,
    max_tokens: int,
    truncation_side: Side = "right",
    min_distinct: int = 1,
    range_texts: Sequence[str] = (),
    scratch: Path | None = None,
) -> TextStates:
    """Return the texts as token ids, ready for the first piece of a graph.

    The arguments are those of ``calibrate``, and ``scratch``, a folder for temporary files; None is the system's.

    Raises:
        InputValueError: fewer than ``min_distinct`` texts differ.
        CheckpointError: the tokenizer fails on a text.
    """
    ids, range_ids = _tokenise((texts, range_texts), tokenizer, max_tokens, truncation_side)
    _check_distinct(ids, min_distinct)
    return TextStates(ids, range_ids, scratch=scratch)


def _tokenise(groups: Iterable[Sequence[str]], tokenizer: Path, max_tokens: int, side: Side) -> list[Ids]:
    """Return the token ids of each text, for each group of texts."""
    try:
        tokeniser = Tokeniser(tokenizer, max_tokens=max_tokens, truncation_side=side)
        return [tokeniser.encode(texts).ids for texts in groups]
    except BundleError as error:  # its own message says to export the bundle again
        reason = reason_of(error.__cause__ or error)
        raise CheckpointError(
            f"the tokenizer fails on the calibration texts ({reason}); get the checkpoint again"
        ) from error


def _check_distinct(ids: Ids, minimum: int) -> None:
    distinct = len({tuple(text.tolist()) for text in ids})
    if distinct < minimum:
        raise InputValueError(
            f"the {len(ids)} calibration texts have {distinct} different token sequences, at least {minimum} are "
            "needed; give --calibration some hundreds of different texts, or leave it out"
        )
