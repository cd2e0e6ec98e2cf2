"""What Daft sends to its workers, and what embeds there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from embedge.embedder import Embedder
from embedge.errors import InputTypeError, InputValueError, short
from embedge.integrations.encoding import Encoding
from embedge.integrations.extra import needs_extra
from embedge.integrations.source import ModelSource

with needs_extra("daft"):
    from daft import DataType
    from daft.ai.protocols import TextEmbedder, TextEmbedderDescriptor
    from daft.ai.typing import EmbeddingDimensions, Options, UDFOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["document", "query"]
OnInvalid = Literal["error", "null"]
OnError = Literal["raise", "log", "ignore"]


@dataclass(frozen=True, kw_only=True)
class BundleDescriptor(TextEmbedderDescriptor):
    """What Daft pickles and sends to its workers: which model to open there, and how to embed.

    Attributes:
        source: the model.
        encoding: the options of each call.
        kind: whose prompt is put in front of the texts.
        on_invalid: what is done about a row without a text.
        batch_size: how many rows are embedded at once.
        concurrency: the number of workers; None leaves it to Daft.
        num_gpus: the GPUs of a worker; None is none.
        max_retries: how often Daft tries a failed batch again.
        on_error: what Daft does at last.
    """

    source: ModelSource
    encoding: Encoding
    kind: Kind
    on_invalid: OnInvalid
    batch_size: int
    concurrency: int | None
    num_gpus: int | None
    max_retries: int
    on_error: OnError

    def get_provider(self) -> str:
        """Return the provider's name."""
        return "embedge"

    def get_model(self) -> str:
        """Return the model's name or path."""
        return str(self.source.model)

    def get_options(self) -> Options:
        """Return the model's options, as JSON values."""
        return self.source.config()

    def get_dimensions(self) -> EmbeddingDimensions:
        """Return the size and the number type of the vectors. The bundle is obtained here, too, and not loaded."""
        return EmbeddingDimensions(self.source.dimension(self.encoding.truncate_dim), DataType.float32())

    def get_udf_options(self) -> UDFOptions:
        """Return how Daft runs the embedder."""
        return UDFOptions(
            concurrency=self.concurrency,
            num_gpus=self.num_gpus,
            max_retries=self.max_retries,
            on_error=self.on_error,
            batch_size=self.batch_size,
        )

    def instantiate(self) -> TextEmbedder:
        """Open the model, on a worker. A process opens it once."""
        return BundleEmbedder(self)


class BundleEmbedder(TextEmbedder):
    """Embeds batches of rows, on a worker."""

    def __init__(self, descriptor: BundleDescriptor) -> None:
        self._descriptor = descriptor
        self._model = descriptor.source.open_shared(Embedder)

    def embed_text(self, text: list[str]) -> list[NDArray[Any] | None]:
        """Return a float32 [dimension] for each row; None for one without a text, if ``on_invalid`` is ``"null"``.

        Raises:
            InputTypeError: a row is no string.
            InputValueError: a row is null, or its text cannot be embedded.
        """
        described = self._descriptor
        invalid = [index for index, value in enumerate(text) if not isinstance(value, str)]
        if invalid and described.on_invalid == "error":
            raise _error(invalid[0], text[invalid[0]])
        strings = [value for value in text if isinstance(value, str)] if invalid else text
        encode = described.encoding.queries if described.kind == "query" else described.encoding.documents
        vectors = iter(encode(self._model, strings))
        return [next(vectors) if isinstance(value, str) else None for value in text]


def _error(index: int, value: object) -> InputTypeError | InputValueError:
    where = f"row {index} of the batch; drop the row, or pass on_invalid='null' to EmbedgeProvider to give it null"
    if value is None:
        return InputValueError(f"embed_text needs strings, found null in {where}")
    return InputTypeError(f"embed_text needs strings, found {type(value).__name__} {short(value)} in {where}")
