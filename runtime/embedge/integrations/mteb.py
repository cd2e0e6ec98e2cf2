"""mteb: ``EmbedgeEncoder``, a model that mteb's tasks and benchmarks can be run on.

    import mteb
    from embedge import Embedder
    from embedge.integrations.mteb import EmbedgeEncoder

    mteb.evaluate(EmbedgeEncoder(Embedder("bge-small-en-v1.5")), mteb.get_tasks(["STSBenchmark"]))

Satisfies mteb 2's ``EncoderProtocol``. Nothing of mteb is imported before its metadata are asked for.
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
    """An ``Embedder`` for mteb: queries get the model's query prompt, documents its document prompt, others none.

    Args:
        embedder: the model.
        on_truncate: as in ``Embedder.encode``; mteb's tasks have long texts, and its other models truncate silently.
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
        """Vectors of a task's texts.

        Args:
            inputs: mteb's DataLoader; the ``"text"`` of its batches is embedded, all in one plan.
            task_metadata: not used, as the two after it: a bundle's prompts are by kind of text, not by task.
            hf_split: not used.
            hf_subset: not used.
            prompt_type: ``PromptType.query``, ``PromptType.document`` or None.
            batch_size: of ``inputs``; no vector depends on it.
            show_progress_bar: as in ``Embedder.encode``.
            precision: as in ``Embedder.encode``.

        Returns:
            float32 [texts, dimension], or what ``precision`` makes of them.

        Raises:
            EmbedgeError: as ``Embedder.encode``.
        """
        kind = prompt_type.value if prompt_type else ""
        model = self._embedder
        encode = {"query": model.encode_query, "document": model.encode_document}.get(kind, model.encode)
        texts = [text for batch in inputs for text in batch["text"]]
        return encode(texts, show_progress_bar=show_progress_bar, precision=precision, on_truncate=self._on_truncate)

    def similarity(self, embeddings1: NDArray[Any], embeddings2: NDArray[Any]) -> NDArray[np.float32]:
        """How alike every vector is to every other, see ``Embedder.similarity``."""
        return self._embedder.similarity(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: NDArray[Any], embeddings2: NDArray[Any]) -> NDArray[np.float32]:
        """How alike each vector is to its counterpart, see ``Embedder.similarity_pairwise``."""
        return self._embedder.similarity_pairwise(embeddings1, embeddings2)

    @cached_property
    def mteb_model_meta(self) -> ModelMeta:
        """What mteb writes beside its results: which model, at which precision.

        Raises:
            MissingExtraError: mteb is not installed.
        """
        try:
            from mteb.models import ModelMeta
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"{error.name} is not installed; `pip install mteb` brings it") from error

        bundle, precision = self._embedder.bundle, self._embedder.precision
        weights = bundle.graph_files(precision)[-1]
        return ModelMeta.create_empty(
            overwrites={
                "name": f"embedge/{bundle.manifest.model}-{precision}",
                "revision": bundle.manifest.files[weights].sha256,  # mteb keeps results by name and revision
                "adapted_from": bundle.manifest.source.hub_id,
                "embed_dim": bundle.manifest.dimension,
                "framework": ["ONNX"],
                "max_tokens": bundle.manifest.max_tokens,
                "similarity_fn_name": bundle.manifest.similarity,
                "use_instructions": any(bundle.manifest.prompts.values()),
            }
        )
