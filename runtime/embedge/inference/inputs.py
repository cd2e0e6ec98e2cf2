"""The texts or pairs of calls, as they are tokenised: each call alone, or several short ones together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedge.inference.tokenise import Tokeniser
    from embedge.inference.tokens import Tokens


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """The texts or the pairs of one call.

    Attributes:
        tokeniser: the model's tokeniser.
        texts: strings, or pairs of query and document.
        prefix: what is put in front of each string; None for pairs.
        start: the index of the first of them in error messages.
    """

    tokeniser: Tokeniser
    texts: Sequence[Any]
    prefix: str | None
    start: int = 0

    def tokenise(self, first: int, end: int, *, parallel: bool = True) -> Tokens:
        """Return the tokens of the inputs between two positions; raises as ``Tokeniser.encode`` or ``encode_pairs``."""
        texts, start = self.texts[first:end], self.start + first
        if self.prefix is None:
            return self.tokeniser.encode_pairs(texts, start=start, parallel=parallel)
        return self.tokeniser.encode(texts, prefix=self.prefix, start=start, parallel=parallel)

    def joins(self, other: Inputs) -> bool:
        """Whether both may be tokenised together."""
        return self.prefix == other.prefix and self.tokeniser is other.tokeniser


def tokenise_together(inputs: Sequence[Inputs]) -> list[Tokens] | None:
    """Return the tokens of several calls that join, tokenised in one call, on one core.

    For texts of some words this takes two thirds of the time; the longer they are, the less it saves. The tokenizer's
    own threads would need cores that run batches, or that tokenise other calls.

    Returns:
        The tokens of each call. None if they must be tokenised one by one: a text is faulty, and the error would name
        its place among all texts; or a text has too many characters, which ``Tokens`` knows of all texts only.
    """
    try:
        texts = [text for one in inputs for text in one.texts]
        tokens = Inputs(inputs[0].tokeniser, texts, inputs[0].prefix).tokenise(0, len(texts), parallel=False)
        return None if tokens.max_characters else tokens.split([len(one.texts) for one in inputs])
    except BaseException:  # each call alone raises it again, for its caller
        return None
