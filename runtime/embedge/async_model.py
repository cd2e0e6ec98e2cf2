"""The common base of AsyncEmbedder and AsyncReranker: a model and the scheduler of its requests."""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar

from embedge.inference.jobs import Job
from embedge.inference.options import check_count
from embedge.inference.scheduler.scheduler import Scheduler
from embedge.model import Model

AModel = TypeVar("AModel", bound=Model)
Result = TypeVar("Result")

# A million tokens are what a core embeds with bge-small in about two minutes. A program that awaits many requests at
# once reaches neither limit soon. A server sets lower ones: its callers do not wait for minutes.
MAX_WAITING_TEXTS = 16_384
MAX_WAITING_TOKENS = 1_048_576


class AsyncModel(Generic[AModel]):
    """A model whose requests one scheduler runs. See ``AsyncEmbedder`` for the arguments."""

    def __init__(self, model: AModel, *, max_waiting_texts: int, max_waiting_tokens: int) -> None:
        self._model = model
        self._bounds = (
            check_count("max_waiting_texts", max_waiting_texts) or MAX_WAITING_TEXTS,
            check_count("max_waiting_tokens", max_waiting_tokens) or MAX_WAITING_TOKENS,
        )
        texts, tokens = self._bounds
        self._scheduler = Scheduler(model._engine, max_waiting_texts=texts, max_waiting_tokens=tokens)

    @classmethod
    def _of(cls, model: AModel, *, max_waiting_texts: int, max_waiting_tokens: int) -> Self:
        made = cls.__new__(cls)
        AsyncModel.__init__(made, model, max_waiting_texts=max_waiting_texts, max_waiting_tokens=max_waiting_tokens)
        return made

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._model!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self._model, *self._bounds)

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens of an input, special tokens and prompt included; a longer input is truncated."""
        return self._model.max_tokens

    @property
    def device(self) -> str:
        """What the model runs on; see ``Embedder.device``."""
        return self._model.device

    @property
    def kernels(self) -> str | None:
        """The instruction set of the kernels that run the model; see ``Embedder.kernels``."""
        return self._model.kernels

    @property
    def waiting(self) -> tuple[int, int]:
        """How many texts wait for a core, and their tokens; a text that is not tokenised yet counts as none."""
        return self._scheduler.waiting

    async def close(self) -> None:
        """Take no more requests, and return when all requests have ended that were made before."""
        await self._scheduler.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _run(self, job: Job[Result]) -> Result:
        """Run a job, and warn its caller about truncated texts."""
        result = await self._scheduler.run(job)
        job.truncation.warn()
        return result


def scheduler_of(model: AsyncModel[Any]) -> Scheduler:
    """Return what runs a model's jobs, for those who make jobs of their own, as the server does."""
    return model._scheduler


def _reopen(kind: type[AsyncModel[Any]], model: Model, max_waiting_texts: int, max_waiting_tokens: int) -> Any:
    """Make an async model again from its pickle: on the unpickled model, with a scheduler of its own."""
    return kind._of(model, max_waiting_texts=max_waiting_texts, max_waiting_tokens=max_waiting_tokens)
