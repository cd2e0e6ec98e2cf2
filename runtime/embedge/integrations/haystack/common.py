"""The base class of the components, and the function that reads the text of each document."""

from typing import Any, Generic, Self, TypeVar

from haystack import Document, default_from_dict

from embedge import Embedder, InputTypeError, Reranker
from embedge.integrations.source import ModelSource

M = TypeVar("M", Embedder, Reranker)
MODULE = "embedge.integrations.haystack"  # the components' module in saved pipelines and pickles


class Component(Generic[M]):
    """A component whose model is loaded when it is first needed.

    Haystack's decorator replaces the classes, so ``super()`` does not work in them.
    """

    _kind: type[M]
    _source: ModelSource
    _loaded: M | None = None

    def warm_up(self) -> None:
        """Load the model, once. Raises the errors of ``Embedder`` and ``Reranker``."""
        self._model()

    def _model(self) -> M:
        if self._loaded is None:
            self._loaded = self._source.open(self._kind)
        return self._loaded

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make a component from what ``to_dict`` returned."""
        return default_from_dict(cls, data)


def read_texts(documents: list[Document], fields: list[str], separator: str) -> list[str]:
    """Return the text of each document: its content, with these metadata fields in front, if it has them."""
    texts = []
    for index, document in enumerate(documents):
        if not isinstance(document, Document):
            raise InputTypeError(f"document {index} must be a haystack Document, found {type(document).__name__}")
        meta = [str(document.meta[name]) for name in fields if document.meta.get(name) is not None]
        texts.append(separator.join([*meta, document.content or ""]))
    return texts
