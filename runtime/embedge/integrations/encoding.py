"""What a component asks of its Embedder, for queries and for documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embedge.errors import InputTypeError
from embedge.inference.options import OnTruncate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge import Embedder


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Options of every call, see ``Embedder.encode``; of both prompts None is the model's own, and "" is none at all.

    Attributes:
        query_prompt: text put in front of queries.
        document_prompt: text put in front of documents.
        batch_tokens: token budget of one session run.
        normalize: scale vectors to length 1; None does what the model was trained for.
        truncate_dim: keep the first so many dimensions.
        show_progress_bar: for documents; one query never has a bar.
        on_truncate: what to do about texts that are too long.
    """

    query_prompt: str | None = None
    document_prompt: str | None = None
    batch_tokens: int | None = None
    normalize: bool | None = None
    truncate_dim: int | None = None
    show_progress_bar: bool | None = None
    on_truncate: OnTruncate = "warn"

    def queries(self, embedder: Embedder, texts: Sequence[str]) -> NDArray[Any]:
        """Vectors of queries, float32 [n, dimension]; raises as ``Embedder.encode_query``."""
        return self._call(embedder.encode_query, texts, self.query_prompt, False)

    def query(self, embedder: Embedder, text: str) -> list[float]:
        """The vector of one query, [dimension]."""
        return self.queries(embedder, [text])[0].tolist()  # type: ignore[no-any-return]

    def documents(self, embedder: Embedder, texts: Sequence[str]) -> NDArray[Any]:
        """Vectors of documents, float32 [n, dimension]; raises as ``Embedder.encode_document``."""
        return self._call(embedder.encode_document, texts, self.document_prompt, self.show_progress_bar)

    def _call(
        self, encode: Callable[..., NDArray[Any]], texts: Sequence[str], prompt: str | None, show: bool | None
    ) -> NDArray[Any]:
        if isinstance(texts, str):  # it would be one vector, where the caller awaits a list of them
            raise InputTypeError("texts must be a list of strings, found one string; put it in a list")
        return encode(
            texts,
            prompt=prompt,
            batch_tokens=self.batch_tokens,
            normalize=self.normalize,
            truncate_dim=self.truncate_dim,
            show_progress_bar=show,
            on_truncate=self.on_truncate,
        )
