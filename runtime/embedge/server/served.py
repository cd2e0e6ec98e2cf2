"""The models of a server, by the names that clients know them by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from embedge.errors import short
from embedge.server.request_error import RequestError

if TYPE_CHECKING:
    from embedge.embedder import Embedder
    from embedge.model import Model
    from embedge.reranker import Reranker

AnyModel = TypeVar("AnyModel", bound="Model", covariant=True)


@dataclass(frozen=True, slots=True)
class Named(Generic[AnyModel]):
    """A model and its names: the one that answers use, and all that requests may use."""

    name: str
    names: frozenset[str]
    model: AnyModel


def named(model: AnyModel, argument: str) -> Named[AnyModel]:
    """Return a model with its names: what the command was given, the manifest's, and the id on the hub."""
    manifest = model.bundle.manifest
    hub_id = manifest.source.hub_id
    names = {manifest.model, argument, *([hub_id] if hub_id else [])}
    return Named(manifest.model, frozenset(names), model)


@dataclass(frozen=True, slots=True)
class Models:
    """The embedders and rerankers of a server, in the order of the command's arguments."""

    embedders: Sequence[Named[Embedder]]
    rerankers: Sequence[Named[Reranker]]

    def __iter__(self) -> Iterator[Named[Embedder] | Named[Reranker]]:
        yield from self.embedders
        yield from self.rerankers

    def embedder(self, name: str | None) -> Named[Embedder]:
        """Return the embedder of a name, or the first one if a request names none.

        Raises:
            RequestError: no such embedder is served.
        """
        return _find(self.embedders, name, "embedder", self._known())

    def reranker(self, name: str | None) -> Named[Reranker]:
        """Return the reranker of a name, or the first one if a request names none; raises as ``embedder``."""
        return _find(self.rerankers, name, "reranker", self._known())

    def any(self, name: str | None) -> Named[Model]:
        """Return the model of a name, or the first one; raises as ``embedder``."""
        return _find([*self.embedders, *self.rerankers], name, "model", self._known())

    def _known(self) -> str:
        kinds = [(self.embedders, "embedder"), (self.rerankers, "reranker")]
        return ", ".join(f"{one.name} ({kind})" for models, kind in kinds for one in models)


def _find(models: Sequence[Named[AnyModel]], name: str | None, kind: str, known: str) -> Named[AnyModel]:
    if name is None and models:
        return models[0]
    # Ollama's clients may add the tag that is their default.
    wanted = name.removesuffix(":latest") if name else ""
    for one in models:
        if wanted in one.names or name in one.names:
            return one
    found = f"no {kind} is called {short(name)}" if name is not None else f"no {kind} is served"
    raise RequestError(f"{found}; this server has {known}", "not_found", param="model")
