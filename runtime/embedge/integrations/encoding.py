"""The options with which a component embeds queries and documents."""

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
    """The options of every call; ``Embedder.encode`` explains them.

    Attributes:
        query_prompt: text that is put in front of each query; None uses the model's own prompt, "" uses none.
        document_prompt: text that is put in front of each document; None uses the model's own, "" uses none.
        batch_tokens: how many tokens run through the model at once; None is a good value for the device.
        normalize: scale vectors to length 1; None does what the model was trained for.
        truncate_dim: keep only the first dimensions, this many; None keeps all.
        show_progress_bar: show a progress bar for documents; queries never have one.
        on_truncate: what to do if a text is longer than the model reads: ``"warn"``, ``"ignore"`` or ``"error"``.
    """

    query_prompt: str | None = None
    document_prompt: str | None = None
    batch_tokens: int | None = None
    normalize: bool | None = None
    truncate_dim: int | None = None
    show_progress_bar: bool | None = None
    on_truncate: OnTruncate = "warn"

    def queries(self, embedder: Embedder, texts: Sequence[str]) -> NDArray[Any]:
        """Embed queries: float32 [n, dimension]. Raises the errors of ``Embedder.encode_query``."""
        return self._call(embedder.encode_query, texts, self.query_prompt, False)

    def query(self, embedder: Embedder, text: str) -> list[float]:
        """Embed one query: [dimension]."""
        return self.queries(embedder, [text])[0].tolist()  # type: ignore[no-any-return]

    def documents(self, embedder: Embedder, texts: Sequence[str]) -> NDArray[Any]:
        """Embed documents: float32 [n, dimension]. Raises the errors of ``Embedder.encode_document``."""
        return self._call(embedder.encode_document, texts, self.document_prompt, self.show_progress_bar)

    def _call(
        self, encode: Callable[..., NDArray[Any]], texts: Sequence[str], prompt: str | None, show: bool | None
    ) -> NDArray[Any]:
        if isinstance(texts, str):  # Embedder would return one vector, but the framework expects a list
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
