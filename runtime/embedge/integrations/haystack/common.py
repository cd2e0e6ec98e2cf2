"""What the components share: their model, how they are saved, and what of a document is read."""

from typing import Any, Generic, Self, TypeVar

from haystack import Document, default_from_dict

from embedge import Embedder, InputTypeError, Reranker
from embedge.integrations.source import Source

M = TypeVar("M", Embedder, Reranker)
MODULE = "embedge.integrations.haystack"  # of the components, in saved pipelines and pickles


class Component(Generic[M]):
    """A component with a model that is loaded when it is needed; Haystack makes its classes anew, so no ``super()``."""

    _kind: type[M]
    _source: Source
    _loaded: M | None = None

    def warm_up(self) -> None:
        """Loads the model, once; raises as ``Embedder`` and ``Reranker`` do."""
        self._model()

    def _model(self) -> M:
        if self._loaded is None:
            self._loaded = self._source.open(self._kind)
        return self._loaded

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The component that ``to_dict`` was called on."""
        return default_from_dict(cls, data)


def read_texts(documents: list[Document], fields: list[str], separator: str) -> list[str]:
    """What is read of each document: the meta data asked for, where it has them, and its content."""
    texts = []
    for index, document in enumerate(documents):
        if not isinstance(document, Document):
            raise InputTypeError(f"document {index} must be a haystack Document, found {type(document).__name__}")
        meta = [str(document.meta[name]) for name in fields if document.meta.get(name) is not None]
        texts.append(separator.join([*meta, document.content or ""]))
    return texts
