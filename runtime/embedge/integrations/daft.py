"""Daft: ``EmbedgeProvider`` for ``embed_text``.

    import daft
    from daft.functions import embed_text
    from embedge.integrations.daft import EmbedgeProvider

    rows = daft.from_pydict({"text": ["Yeast makes dough rise.", "The bike has a flat tyre."]})
    vector = embed_text(daft.col("text"), provider=EmbedgeProvider(), model="bge-small-en-v1.5")
    rows = rows.with_column("vector", vector).collect()

The new column's type is ``Embedding[Float32; dimension]``. Each worker process loads the model once, and its threads
share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, get_args

from embedge.bundle.manifest import Precision
from embedge.embedder import Embedder
from embedge.errors import InputTypeError, InputValueError, short
from embedge.inference.options import OnTruncate, check_choice, check_count
from embedge.inference.providers import ProviderArgument
from embedge.integrations.encoding import Encoding
from embedge.integrations.extra import needs_extra
from embedge.integrations.source import ModelSource

with needs_extra("daft"):
    from daft import DataType
    from daft.ai.protocols import TextEmbedder, TextEmbedderDescriptor
    from daft.ai.provider import Provider
    from daft.ai.typing import EmbeddingDimensions, Options, UDFOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["document", "query"]
OnInvalid = Literal["error", "null"]
OnError = Literal["raise", "log", "ignore"]

DEFAULT_MODEL = "bge-small-en-v1.5"
# Daft hands over all rows that it has, up to 131,072; Embedder sorts a call's texts by length, and 4,096 are enough for
# batches of equal length. Fewer rows at a time keep the progress bar moving and the memory low.
_ROWS = 4096


class EmbedgeProvider(Provider):
    """Makes ``embed_text`` run a bundle. The options are those of every model that it opens.

    Args:
        kind: whose prompt to put in front of each text, if the model has one: ``"document"`` or ``"query"``.
        prompt: text to put in front of each text instead; "" puts none.
        on_invalid: what to do about a row that is null or no string: ``"error"`` or ``"null"``, which makes its vector
            null.
        precision: ``"int8"``, ``"fp32"`` or ``"fp16"``, the graph's precision; None takes the first that the bundle
            holds, in this order, or on a GPU fp16, then fp32.
        device: what the model runs on: ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` for the second GPU; None is the CPU, or
            the first of ``providers``.
        providers: the long form of ``device``; see ``Embedder``.
        threads: the largest number of cores that a worker process uses; None uses all that it may use.
        cache_dir: the folder of downloaded bundles; None is ``$EMBEDGE_HOME``, else the platform's cache folder, on
            each machine.
        local_files_only: never use the network.
        kernels: whether to run int8 with the package ``embedge-kernels``; None uses it where it is installed.
        batch_tokens: how many tokens run through the model at once; None is a good value for the device.
        normalize: scale vectors to length 1; None does what the model was trained for.
        on_truncate: what to do if a text is longer than the model reads: ``"warn"``, ``"ignore"`` or ``"error"``.

    Raises:
        InputValueError: ``kind`` or ``on_invalid`` has another value.
    """

    def __init__(
        self,
        *,
        kind: Kind = "document",
        prompt: str | None = None,
        on_invalid: OnInvalid = "error",
        precision: Precision | None = None,
        device: str | None = None,
        providers: Sequence[ProviderArgument] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        kernels: bool | None = None,
        batch_tokens: int | None = None,
        normalize: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> None:
        check_choice("kind", kind, get_args(Kind))
        check_choice("on_invalid", on_invalid, get_args(OnInvalid))
        self._kind, self._prompt, self._on_invalid = kind, prompt, on_invalid
        self._precision, self._device, self._providers, self._threads = precision, device, providers, threads
        self._cache_dir, self._local_files_only, self._kernels = cache_dir, local_files_only, kernels
        self._batch_tokens, self._normalize, self._on_truncate = batch_tokens, normalize, on_truncate

    @property
    def name(self) -> str:
        """The name by which a Daft session finds this provider."""
        return "embedge"

    def get_text_embedder(
        self,
        model: str | None = None,
        dimensions: int | None = None,
        *,
        batch_size: int = _ROWS,
        concurrency: int | None = None,
        num_gpus: int | None = None,
        max_retries: int = 0,
        on_error: OnError = "raise",
    ) -> TextEmbedderDescriptor:
        """Return what ``embed_text`` sends to the workers. ``embed_text`` passes its options to here.

        Args:
            model: the name of a recipe, a hub id, or the path of a bundle, on this machine and on the workers.
            dimensions: keep only the first dimensions, this many; None keeps all.
            batch_size: how many rows are embedded at once.
            concurrency: the number of workers; None leaves it to Daft.
            num_gpus: the GPUs of a worker; None is 1 if ``device`` is a GPU, else none.
            max_retries: how often Daft tries a failed batch again. An error of a text comes back each time.
            on_error: what Daft does at last: ``"raise"``, or give the batch's rows null with ``"log"`` and
                ``"ignore"``.

        Raises:
            EmbedgeError: there is no such bundle and it cannot be obtained here, or it has fewer dimensions.
        """
        rows = check_count("batch_size", batch_size) or _ROWS
        check_choice("on_error", on_error, get_args(OnError))
        on_gpu = str(self._device).startswith("cuda")
        return BundleDescriptor(
            source=ModelSource(
                model=model or DEFAULT_MODEL,
                precision=self._precision,
                device=self._device,
                providers=self._providers,
                threads=self._threads,
                cache_dir=self._cache_dir,
                local_files_only=self._local_files_only,
                kernels=self._kernels,
            ),
            encoding=Encoding(
                query_prompt=self._prompt,
                document_prompt=self._prompt,
                batch_tokens=self._batch_tokens,
                normalize=self._normalize,
                truncate_dim=dimensions,
                show_progress_bar=False,
                on_truncate=self._on_truncate,
            ),
            kind=self._kind,
            on_invalid=self._on_invalid,
            batch_size=rows,
            concurrency=concurrency if concurrency is not None or not on_gpu else 1,
            num_gpus=num_gpus if num_gpus is not None or not on_gpu else 1,
            max_retries=max_retries,
            on_error=on_error,
        )


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
