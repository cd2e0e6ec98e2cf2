"""mteb: ``EmbedgeEncoder``, which runs mteb's tasks and benchmarks on an ``Embedder``.

    import mteb
    from embedge import Embedder
    from embedge.integrations.mteb import EmbedgeEncoder

    mteb.evaluate(EmbedgeEncoder(Embedder("bge-small-en-v1.5")), mteb.get_tasks(["STSBenchmark"]))

The class follows mteb 2's ``EncoderProtocol``. It imports mteb only when mteb asks for the model's metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from embedge.embedder import Embedder
from embedge.errors import MissingExtraError
from embedge.inference.options import OnTruncate, OutputPrecision

if TYPE_CHECKING:
    import numpy as np
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models import ModelMeta
    from mteb.types import PromptType
    from numpy.typing import NDArray


class EmbedgeEncoder:
    """An ``Embedder`` for mteb. Queries get the model's query prompt, documents its document prompt, other texts none.

    Args:
        embedder: the model, on the device that you loaded it for.
        on_truncate: what to do if a text is longer than the model reads: ``"warn"``, ``"ignore"`` or ``"error"``. The
            default is not ``"warn"``: many tasks have long texts, and other models in mteb truncate them silently.
    """

    def __init__(self, embedder: Embedder, *, on_truncate: OnTruncate = "ignore") -> None:
        self._embedder = embedder
        self._on_truncate = on_truncate

    def encode(
        self,
        inputs: Iterable[Mapping[str, Sequence[str]]],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        precision: OutputPrecision = "float32",
    ) -> NDArray[Any]:
        """Embed the texts of a task.

        Args:
            inputs: mteb's DataLoader. The ``"text"`` of all its batches is embedded in one call.
            task_metadata: not used: a bundle has prompts for queries and documents, not for tasks.
            hf_split: not used.
            hf_subset: not used.
            prompt_type: ``PromptType.query``, ``PromptType.document`` or None.
            batch_size: not used: embedge makes its own batches, and no vector depends on them.
            show_progress_bar: show a progress bar; None shows one if the work is long and stderr is a terminal.
            precision: the type of the vectors, as in ``Embedder.encode``.

        Returns:
            float32 [texts, dimension], or the type that ``precision`` names.

        Raises:
            EmbedgeError: the errors of ``Embedder.encode``.
        """
        kind = prompt_type.value if prompt_type else ""
        model = self._embedder
        encode = {"query": model.encode_query, "document": model.encode_document}.get(kind, model.encode)
        texts = [text for batch in inputs for text in batch["text"]]
        return encode(texts, show_progress_bar=show_progress_bar, precision=precision, on_truncate=self._on_truncate)

    def similarity(self, embeddings1: NDArray[Any], embeddings2: NDArray[Any]) -> NDArray[np.float32]:
        """The similarity of every vector to every other; see ``Embedder.similarity``."""
        return self._embedder.similarity(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: NDArray[Any], embeddings2: NDArray[Any]) -> NDArray[np.float32]:
        """The similarity of each vector to its counterpart; see ``Embedder.similarity_pairwise``."""
        return self._embedder.similarity_pairwise(embeddings1, embeddings2)

    @cached_property
    def mteb_model_meta(self) -> ModelMeta:
        """The model's description that mteb stores with its results: its name and precision, among others.

        Raises:
            MissingExtraError: mteb is not installed.
        """
        try:
            from mteb.models import ModelMeta
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"{error.name} is not installed; run `pip install mteb`") from error

        bundle, precision = self._embedder.bundle, self._embedder.precision
        weights = bundle.graph_files(precision)[-1]
        return ModelMeta.create_empty(
            overwrites={
                "name": f"embedge/{bundle.manifest.model}-{precision}",
                "revision": bundle.manifest.files[weights].sha256,  # mteb stores results by name and revision
                "adapted_from": bundle.manifest.source.hub_id,
                "embed_dim": bundle.manifest.dimension,
                "framework": ["ONNX"],
                "max_tokens": bundle.manifest.max_tokens,
                "similarity_fn_name": bundle.manifest.similarity,
                "use_instructions": any(bundle.manifest.prompts.values()),
            }
        )
