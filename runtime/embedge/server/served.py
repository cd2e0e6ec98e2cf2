"""The models of a server, by the names that clients know them by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from embedge.async_model import scheduler_of
from embedge.errors import short
from embedge.server.request_error import RequestError

if TYPE_CHECKING:
    from embedge.async_embedder import AsyncEmbedder
    from embedge.async_model import AsyncModel
    from embedge.async_reranker import AsyncReranker
    from embedge.embedder import Embedder
    from embedge.model import Model
    from embedge.reranker import Reranker

AnyModel = TypeVar("AnyModel", bound="Model")
AnyQueue = TypeVar("AnyQueue", bound="AsyncModel[Any]")


@dataclass(frozen=True, slots=True)
class Named(Generic[AnyModel, AnyQueue]):
    """A model with its queue and its names: the one that answers use, and all that requests may use."""

    name: str
    names: frozenset[str]
    model: AnyModel
    queue: AnyQueue


def named(model: AnyModel, queue: AnyQueue, argument: str) -> Named[AnyModel, AnyQueue]:
    """Return a model with its names: what the command was given, the manifest's, and the id on the hub."""
    manifest = model.bundle.manifest
    hub_id = manifest.source.hub_id
    names = {manifest.model, argument, *([hub_id] if hub_id else [])}
    return Named(manifest.model, frozenset(names), model, queue)


OneNamed = TypeVar("OneNamed", bound=Named[Any, Any])
if TYPE_CHECKING:
    AnEmbedder = Named[Embedder, AsyncEmbedder]
    AReranker = Named[Reranker, AsyncReranker]


@dataclass(frozen=True, slots=True)
class Models:
    """The embedders and rerankers of a server, in the order of the command's arguments."""

    embedders: Sequence[AnEmbedder]
    rerankers: Sequence[AReranker]

    def __iter__(self) -> Iterator[AnEmbedder | AReranker]:
        yield from self.embedders
        yield from self.rerankers

    def embedder(self, name: str | None) -> AnEmbedder:
        """Return the embedder of a name, or the first one if a request names none.

        Raises:
            RequestError: no such embedder is served.
        """
        return _find(self.embedders, name, "embedder", self._known())

    def reranker(self, name: str | None) -> AReranker:
        """Return the reranker of a name, or the first one if a request names none; raises as ``embedder``."""
        return _find(self.rerankers, name, "reranker", self._known())

    def any(self, name: str | None) -> AnEmbedder | AReranker:
        """Return the model of a name, or the first one; raises as ``embedder``."""
        everything: list[AnEmbedder | AReranker] = [*self.embedders, *self.rerankers]
        return _find(everything, name, "model", self._known())

    def waiting(self) -> tuple[int, int]:
        """Return how many texts wait for a core, and their tokens."""
        counts = [one.queue.waiting for one in self]
        return sum(texts for texts, _ in counts), sum(tokens for _, tokens in counts)

    def observe(self, on_batch: Callable[[int, int], object]) -> None:
        """Call a function with the texts and the tokens of each batch that a model has run; see ``Scheduler``."""
        for one in self:
            scheduler_of(one.queue).observe(on_batch)

    async def close(self) -> None:
        """Close the models, when what runs has ended."""
        for one in self:
            await one.queue.close()

    def _known(self) -> str:
        embedders = [f"{one.name} (embedder)" for one in self.embedders]
        return ", ".join([*embedders, *(f"{one.name} (reranker)" for one in self.rerankers)])


def _find(models: Sequence[OneNamed], name: str | None, kind: str, known: str) -> OneNamed:
    if name is None and models:
        return models[0]
    # Ollama's clients may add the tag that is their default.
    wanted = name.removesuffix(":latest") if name else ""
    for one in models:
        if wanted in one.names or name in one.names:
            return one
    found = f"no {kind} is called {short(name)}" if name is not None else f"no {kind} is served"
    raise RequestError(f"{found}; this server has {known}", "not_found", param="model")
