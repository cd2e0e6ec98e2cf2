"""Texts to token ids, without padding; truncated texts are listed.

In embedge's names, a *tokeniser* is a class of this package, and a *tokenizer* an object or a file of the tokenizers
library.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Encoding

from embedge.errors import BundleError, InputValueError
from embedge.inference.content_tokens import ContentTokeniser
from embedge.inference.special_tokens import SpecialTokens
from embedge.inference.tokenizer_file import load_tokenizer
from embedge.inference.tokens import Tokens, TokensBuilder

if TYPE_CHECKING:
    from embedge.bundle.manifest import Side

# So many texts at most, and so many characters, go to the tokenizer in one call: its Encoding objects take some 200
# bytes for each token.
_CHUNK = 512
_CHUNK_CHARACTERS = 65_536
_MASKS = ("<mask>", "[MASK]")


class Tokeniser:
    """A bundle's ``tokenizer.json``, without the padding and truncation settings of the file.

    At most ``max(65_536, 12 * max_tokens)`` characters of a text are tokenised, with a BPE model half of 65,536. A long
    run of white space, of letters or of one character may count as a short one (see ``shorten``). Only ``count``
    tokenises whole texts. A text that is longer counts as truncated, however few tokens it has.

    Usually, the ids of such a text are exactly those of the whole text, truncated. For this, the characters within the
    limit must have some more words than are stored. With a Unigram model it is enough that behind the stored tokens
    there is a position that no piece of the vocabulary spans. Only if a single word is so long that neither is true,
    the ids are those of the characters within the limit.

    Args:
        path: the path of the file.
        max_tokens: the model's limit, special tokens included.
        truncation_side: the end of a long text that is truncated, ``right`` or ``left``.
    """

    def __init__(self, path: Path, *, max_tokens: int, truncation_side: Side = "right") -> None:
        self._path = path
        self._tokenizer = load_tokenizer(path)
        self._max_tokens = max_tokens
        self._side: Side = truncation_side
        self._special_tokens = SpecialTokens(self._tokenizer, path, is_pair=False)
        self._special_tokens_of_pair = SpecialTokens(self._tokenizer, path, is_pair=True)
        self._max_content_tokens = max_tokens - self._special_tokens.count
        if self._max_content_tokens < 1:
            raise BundleError(
                f"{path} adds more special tokens than max_tokens ({max_tokens}) has room for; export the bundle again"
            )
        self._content_tokeniser = ContentTokeniser(
            self._tokenizer,
            path,
            max_tokens=max_tokens,
            max_content_tokens=self._max_content_tokens,
            side=truncation_side,
        )

    def encode(self, texts: Sequence[str], *, prefix: str = "", start: int = 0, parallel: bool = True) -> Tokens:
        """Return the token ids of texts.

        Args:
            texts: the texts.
            prefix: what is put in front of each.
            start: the index of the first one in error messages.
            parallel: whether the tokenizer uses all cores for several texts. It takes longer if they are busy.

        Raises:
            InputValueError: a text has no tokens, or is not valid Unicode: a lone surrogate among the characters that
                are tokenised.
            BundleError: the tokenizer fails.
        """
        ids, truncated, max_characters = TokensBuilder(self._path, start), [], None
        content_tokeniser, special_tokens = self._content_tokeniser, self._special_tokens
        for first, end in _chunks([len(text) for text in texts]):
            chunk, incomplete = content_tokeniser.shorten(texts[first:end], prefix)
            indices = range(start + first, start + len(texts))
            contents = content_tokeniser.encode(chunk, indices, parallel=parallel)
            for index, content in enumerate(contents, first):
                if len(content) > self._max_content_tokens:
                    truncated.append(index)
                    content.truncate(self._max_content_tokens, direction=self._side)
                elif incomplete and index - first in incomplete:
                    truncated.append(index)
                    max_characters = content_tokeniser.max_characters
                ids.add(special_tokens.add(start + index, content))
            ids.end_chunk()
        return ids.tokens(truncated, self._side, max_characters)

    def encode_pairs(self, pairs: Sequence[tuple[str, str]], *, start: int = 0, parallel: bool = True) -> Tokens:
        """Return the token ids of pairs of query and document, joined as the tokenizer joins pairs.

        If a pair is too long, its document loses its end or its start; the query loses nothing. ``start`` and
        ``parallel`` are those of ``encode``.

        Raises:
            InputValueError: a text is not valid Unicode, a query leaves no room for a document, or a pair has no
                tokens.
            BundleError: the tokenizer fails.
        """
        ids, truncated, max_characters = TokensBuilder(self._path, start, kind="pair"), [], None
        content_tokeniser, special_tokens = self._content_tokeniser, self._special_tokens_of_pair
        max_content_tokens = self._max_tokens - special_tokens.count
        for first, end in _chunks([len(query) + len(document) for query, document in pairs]):
            chunk = pairs[first:end]
            queries, incomplete_queries = self._encode_queries(chunk, start + first, parallel=parallel)
            texts, incomplete = content_tokeniser.shorten([document for _, document in chunk])
            indices = range(start + first, start + len(pairs))
            documents = content_tokeniser.encode(texts, indices, parallel=parallel)
            for index, ((query, _), document) in enumerate(zip(chunk, documents, strict=True), first):
                room = max_content_tokens - len(queries[query])
                if room < 1:
                    raise InputValueError(
                        f"the query of pair {start + index} has {len(queries[query])} tokens or more, which leaves no "
                        f"room for a document within {self._max_tokens}; shorten the query"
                    )
                if len(document) > room:
                    truncated.append(index)
                    document.truncate(room, direction=self._side)
                elif index - first in incomplete or query in incomplete_queries:
                    truncated.append(index)
                    max_characters = content_tokeniser.max_characters
                ids.add(special_tokens.add(start + index, queries[query], document))
            ids.end_chunk()
        return ids.tokens(truncated, self._side, max_characters)

    def _encode_queries(
        self, pairs: Sequence[tuple[str, str]], start: int, *, parallel: bool
    ) -> tuple[dict[str, Encoding], Collection[str]]:
        """Tokenise each distinct query of some pairs once; return their content tokens, and the incomplete queries.

        ``start`` is the index of the first pair in error messages, which name the first pair that has a query.
        """
        first_index = {query: index for index, (query, _) in reversed(list(enumerate(pairs, start)))}
        texts, incomplete = self._content_tokeniser.shorten(list(first_index))
        contents = self._content_tokeniser.encode(texts, list(first_index.values()), parallel=parallel)
        incomplete_queries = {query for position, query in enumerate(first_index) if position in incomplete}
        return dict(zip(first_index, contents, strict=True)), incomplete_queries

    def special_ids(self) -> frozenset[int]:
        """Return the ids of tokens that are no part of a text: all special ones but the mask, which texts may have."""
        added = self._tokenizer.get_added_tokens_decoder().items()
        return frozenset(index for index, token in added if token.special and token.content not in _MASKS)

    def count(self, texts: Sequence[str], *, prefix: str = "") -> list[int]:
        """Return the number of tokens of each whole text, special ones included, before truncation.

        Raises:
            InputValueError: a text is not valid Unicode.
            BundleError: the tokenizer fails.
        """
        counts: list[int] = []
        for first, end in _chunks([len(text) for text in texts]):
            chunk = {index: prefix + text for index, text in enumerate(texts[first:end], first)}
            counts += (
                len(content) + self._special_tokens.count for content in self._content_tokeniser.encode_whole(chunk)
            )
        return counts


def _chunks(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and end index of each chunk of texts for the tokenizer: texts within both limits, or a long one.

    >>> list(_chunks([5, 80_000, 5, 5]))
    [(0, 1), (1, 2), (2, 4)]
    """
    first = characters = 0
    for end, length in enumerate(lengths):
        characters += length
        if end > first and (end - first == _CHUNK or characters > _CHUNK_CHARACTERS):
            yield first, end
            first, characters = end, length
    if first < len(lengths):
        yield first, len(lengths)
