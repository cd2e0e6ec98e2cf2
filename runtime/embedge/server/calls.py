"""Ask a model, and count the tokens and the truncated texts of the request.

The jobs are those of the model's own methods, with a counter in the place of what warns about truncated texts; and
the scheduler is that of ``AsyncEmbedder``. So nothing is tokenised twice, and the answers are the same, bit for bit.
``Fields`` has checked already that texts are strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from embedge.async_model import scheduler_of
from embedge.errors import OverloadedError
from embedge.inference.options import CallOptions, VectorOptions
from embedge.inference.truncation import Truncation
from embedge.server.request_error import RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.async_embedder import AsyncEmbedder
    from embedge.async_reranker import AsyncReranker
    from embedge.inference.jobs import Job
    from embedge.inference.scheduler.scheduler import Scheduler
    from embedge.inference.sparse import SparseVector
    from embedge.inference.tokens import Tokens

Result = TypeVar("Result")
_CALL = CallOptions.check(batch_tokens=None, on_truncate="ignore", show_progress_bar=False)


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
        prompt: text to put in front of every input, one of the model's.
        truncate: whether a text may be truncated; if not, a text that is too long is an error.
        cut: positions of the texts that were cut already, before they are tokenised.
    """

    prompt: str
    truncate: bool
    cut: Sequence[int]


class Count(Truncation):
    """Counts the tokens and the truncated texts of a job, and raises for one if it may not be truncated.

    Args:
        max_tokens: the model's limit.
        truncate: whether texts may be truncated.
        cut: positions of the texts that were cut already.
    """

    def __init__(self, max_tokens: int, *, truncate: bool, cut: Sequence[int]) -> None:
        super().__init__(max_tokens, "ignore")
        self.tokens = 0
        self.truncated = set(cut)
        self._seen = 0
        self._truncate = truncate

    def add(self, tokens: Tokens) -> None:
        """Count the texts of a part of the job, on a thread of the scheduler's."""
        self.truncated.update(self._seen + position for position in tokens.truncated)
        self._seen += len(tokens)
        self.tokens += len(tokens.values)
        if self.truncated and not self._truncate:
            raise RequestError(
                f"text {min(self.truncated)} is longer than {self._max_tokens} tokens; split it, or send "
                '"truncate": true to drop the rest',
                "too_long",
            )


async def embed(
    model: AsyncEmbedder,
    texts: list[str],
    options: TextOptions,
    *,
    normalize: bool | None,
    dimensions: int | None,
) -> Counted[NDArray[np.float32]]:
    """Return the vectors of texts, float32 [n, dimensions]."""
    scheduler = scheduler_of(model)
    manifest = model.embedder.bundle.manifest
    checked = VectorOptions(  # ``Fields`` has checked the numbers, and prompts are the model's own
        prefix=options.prompt,
        normalize=manifest.normalize if normalize is None else normalize,
        dimension=dimensions or manifest.dimension,
        precision="float32",
        call=_CALL,
    )
    count = Count(model.max_tokens, truncate=options.truncate, cut=options.cut)
    return await _run(scheduler, scheduler.engine.jobs.vectors(texts, checked, truncation=count), count)


async def embed_sparse(model: AsyncEmbedder, texts: list[str], options: TextOptions) -> Counted[list[SparseVector]]:
    """Return the lexical weights of texts; raises BundleError if the model has none."""
    scheduler = scheduler_of(model)
    count = Count(model.max_tokens, truncate=options.truncate, cut=options.cut)
    return await _run(scheduler, scheduler.engine.jobs.sparse(texts, options.prompt, _CALL, truncation=count), count)


async def embed_multi_vector(
    model: AsyncEmbedder, texts: list[str], options: TextOptions
) -> Counted[list[NDArray[np.float32]]]:
    """Return a vector for each token of texts, each float32 [tokens - 1, dimension]; raises as ``embed_sparse``."""
    scheduler = scheduler_of(model)
    count = Count(model.max_tokens, truncate=options.truncate, cut=options.cut)
    job = scheduler.engine.jobs.multi_vectors(texts, options.prompt, _CALL, truncation=count)
    return await _run(scheduler, job, count)


async def score(
    model: AsyncReranker, pairs: list[tuple[str, str]], *, truncate: bool, cut: Sequence[int]
) -> Counted[NDArray[np.float32]]:
    """Return the logits of pairs of query and document, float32 [n]."""
    scheduler = scheduler_of(model)
    count = Count(model.max_tokens, truncate=truncate, cut=cut)
    return await _run(scheduler, scheduler.engine.jobs.scores(pairs, _CALL, truncation=count), count)


async def _run(scheduler: Scheduler, job: Job[Result], count: Count) -> Counted[Result]:
    """Run a job, and return what it counted.

    Raises:
        RequestError: a text is too long, or too much waits already.
    """
    try:
        result = await scheduler.run(job)
    except OverloadedError as error:
        raise RequestError(
            f"the server is busy; try again in {error.retry_after:.1f} s", "overloaded", retry_after=error.retry_after
        ) from error
    return Counted(result, count.tokens, len(count.truncated))
