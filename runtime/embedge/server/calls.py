"""Ask a model, and count the tokens and the truncated texts of the request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from embedge.server.request_error import RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.embedder import Embedder
    from embedge.inference.sparse import SparseVector
    from embedge.inference.tokens import Tokens
    from embedge.reranker import Reranker

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Counted(Generic[Result]):
    """What a model returned.

    Attributes:
        result: vectors or scores.
        tokens: how many tokens the model read, special ones included.
        truncated: how many texts, or pairs, lost their end or their start.
    """

    result: Result
    tokens: int
    truncated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """What all calls with texts have.

    Attributes:
        prompt: text to put in front of every input.
        truncate: whether a text may be truncated; if not, a text that is too long is an error.
        cut: how many texts were cut already, before they are tokenised.
    """

    prompt: str
    truncate: bool
    cut: int


async def embed(
    model: Embedder,
    texts: Sequence[str],
    options: TextOptions,
    *,
    normalize: bool | None,
    dimensions: int | None,
) -> Counted[NDArray[np.float32]]:
    """Return the vectors of texts, float32 [n, dimensions]."""
    return await _run(
        lambda: model._engine.tokeniser.encode(texts, prefix=options.prompt),
        lambda: model.encode(
            texts, prompt=options.prompt, normalize=normalize, truncate_dim=dimensions, on_truncate="ignore",
            show_progress_bar=False,
        ),
        options.truncate, options.cut, model.max_tokens,
    )  # fmt: skip


async def embed_sparse(model: Embedder, texts: Sequence[str], options: TextOptions) -> Counted[list[SparseVector]]:
    """Return the lexical weights of texts."""
    return await _run(
        lambda: model._engine.tokeniser.encode(texts, prefix=options.prompt),
        lambda: model.encode_sparse(
            texts, prompt=options.prompt, on_truncate="ignore", show_progress_bar=False
        ),
        options.truncate, options.cut, model.max_tokens,
    )  # fmt: skip


async def embed_multi_vector(
    model: Embedder, texts: Sequence[str], options: TextOptions
) -> Counted[list[NDArray[np.float32]]]:
    """Return a vector for each token of texts, each float32 [tokens - 1, dimension]."""
    return await _run(
        lambda: model._engine.tokeniser.encode(texts, prefix=options.prompt),
        lambda: model.encode_multi_vector(
            texts, prompt=options.prompt, on_truncate="ignore", show_progress_bar=False
        ),
        options.truncate, options.cut, model.max_tokens,
    )  # fmt: skip


async def score(
    model: Reranker, pairs: Sequence[tuple[str, str]], *, truncate: bool, cut: int
) -> Counted[NDArray[np.float32]]:
    """Return the logits of pairs of query and document, float32 [n]."""
    return await _run(
        lambda: model._engine.tokeniser.encode_pairs(pairs),
        lambda: model.score(pairs, on_truncate="ignore", show_progress_bar=False),
        truncate, cut, model.max_tokens,
    )  # fmt: skip


async def _run(
    tokenise: Callable[[], Tokens], call: Callable[[], Any], truncate: bool, cut: int, max_tokens: int
) -> Counted[Any]:
    def work() -> Counted[Any]:
        tokens = tokenise()
        truncated = max(len(tokens.truncated), cut)
        if truncated and not truncate:
            raise too_long(truncated, len(tokens), max_tokens)
        return Counted(call(), len(tokens.values), truncated)

    return await asyncio.to_thread(work)


def too_long(truncated: int, texts: int, max_tokens: int) -> RequestError:
    """Return the error of texts that are longer than the model reads."""
    return RequestError(
        f"{truncated} of {texts} texts are longer than {max_tokens} tokens; split them, or send "
        '"truncate": true to drop the rest',
        "too_long",
    )
