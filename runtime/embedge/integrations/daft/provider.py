"""``EmbedgeProvider``: what ``embed_text`` asks on the driver, for a descriptor that Daft sends to its workers."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, get_args

from embedge.bundle.manifest import Precision
from embedge.inference.options import OnTruncate, check_choice, check_count
from embedge.inference.providers import ProviderArgument
from embedge.integrations.daft.worker import BundleDescriptor, Kind, OnError, OnInvalid
from embedge.integrations.encoding import Encoding
from embedge.integrations.extra import needs_extra
from embedge.integrations.source import ModelSource

with needs_extra("daft"):
    from daft.ai.provider import Provider

if TYPE_CHECKING:
    from daft.ai.protocols import TextEmbedderDescriptor

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
