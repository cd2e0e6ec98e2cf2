"""LanceDB: the embedding function ``embedge`` in its registry. A table stores it, and embeds rows and queries by it.

    import lancedb
    from lancedb.embeddings import get_registry
    from lancedb.pydantic import LanceModel, Vector
    import embedge.integrations.lancedb

    model = get_registry().get("embedge").create(model="bge-small-en-v1.5")

    class Document(LanceModel):
        text: str = model.SourceField()
        vector: Vector(model.ndims()) = model.VectorField()

    table = lancedb.connect("./lancedb").create_table("documents", schema=Document)
    table.add([{"text": "Yeast makes dough rise."}, {"text": "The bike has a flat tyre."}])
    result = table.search("how do I bake bread?").distance_type("cosine").limit(1).to_list()

Importing this module registers the function. A program that reopens the table imports it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from embedge.embedder import Embedder
from embedge.errors import InputTypeError
from embedge.integrations.arrow import read_texts
from embedge.integrations.encoding import Encoding
from embedge.integrations.extra import needs_extra
from embedge.integrations.source import ModelSource

with needs_extra("lancedb"):
    import pyarrow as pa
    from lancedb.embeddings import TextEmbeddingFunction, register
    from pydantic import ConfigDict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = list[NDArray[Any] | None]


@register("embedge")
class EmbedgeEmbeddings(TextEmbeddingFunction):
    """Embeds a table's source column, and searches with the model's query prompt.

    LanceDB makes a function whenever it opens a table. The model is loaded by the first call that needs it, and
    functions with the same options share it. Options must be JSON values, because the table stores them.

    Attributes:
        model: the name of a recipe, a hub id, or the path of a bundle.
        precision: ``"int8"``, ``"fp32"`` or ``"fp16"``, the graph's precision; None takes the first that the bundle
            holds, in this order, or on a GPU fp16, then fp32.
        device: what the model runs on: ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` for the second GPU; None is the CPU.
        threads: the largest number of cores to use; None uses all that the process may use.
        cache_dir: the folder of downloaded bundles; None is ``$EMBEDGE_HOME``, else the platform's cache folder.
        local_files_only: never use the network.
        kernels: whether to run int8 with the package ``embedge-kernels``; None uses it where it is installed.
        query_prompt: text that is put in front of each query; None uses the model's own prompt, "" uses none.
        document_prompt: text that is put in front of each document; None uses the model's own, "" uses none.
        batch_tokens: how many tokens run through the model at once; None is a good value for the device.
        normalize: scale vectors to length 1; None does what the model was trained for.
        truncate_dim: keep only the first dimensions, this many; None keeps all.
        on_truncate: what to do if a text is longer than the model reads: ``"warn"``, ``"ignore"`` or ``"error"``.
        on_invalid: what to do about a row without a text: ``"error"``, or ``"null"``, which makes its vector null;
            LanceDB then acts by its ``on_bad_vectors``.
        max_retries: LanceDB's; not used, because an error of a text or an option comes back each time.
    """

    model_config = ConfigDict(extra="forbid")  # LanceDB's own classes ignore a misspelled option

    model: str = "bge-small-en-v1.5"
    precision: Literal["int8", "fp32", "fp16"] | None = None
    device: str | None = None
    threads: int | None = None
    cache_dir: str | None = None
    local_files_only: bool = False
    kernels: bool | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    batch_tokens: int | None = None
    normalize: bool | None = None
    truncate_dim: int | None = None
    on_truncate: Literal["ignore", "warn", "error"] = "warn"
    on_invalid: Literal["error", "null"] = "error"
    max_retries: int = 0

    def ndims(self) -> int:
        """Return the number of elements of a vector. The model is not loaded for it."""
        return self._source().dimension(self.truncate_dim)

    def compute_query_embeddings(self, query: Any, *args: Any, **kwargs: Any) -> Vectors:
        """Return the float32 [dimension] of a query, or of each of several.

        Raises:
            EmbedgeError: the errors of ``Embedder`` and ``encode_query``.
        """
        return list(self._encoding().queries(self._embedder(), self._strings(query)))

    def compute_source_embeddings(self, texts: Any, *args: Any, **kwargs: Any) -> Vectors:
        """Return the float32 [dimension] of each row; None for one without a text, if ``on_invalid`` is ``"null"``.

        Raises:
            EmbedgeError: the errors of ``Embedder`` and ``encode_document``, or a row has no text.
        """
        rows = pa.table({"text": _column(self.sanitize_input(texts))})
        found = read_texts(rows, "text", on_invalid=self.on_invalid)
        vectors = iter(self._encoding().documents(self._embedder(), found.strings))
        return [next(vectors) if present else None for present in found.present]

    # LanceDB calls these, and would try again for minutes, then hide the error in another one.
    def compute_query_embeddings_with_retry(self, *args: Any, **kwargs: Any) -> Vectors:
        """Return the same as ``compute_query_embeddings``, at the first try."""
        return self.compute_query_embeddings(*args, **kwargs)

    def compute_source_embeddings_with_retry(self, *args: Any, **kwargs: Any) -> Vectors:
        """Return the same as ``compute_source_embeddings``, at the first try."""
        return self.compute_source_embeddings(*args, **kwargs)

    def generate_embeddings(self, texts: Any, *args: Any, **kwargs: Any) -> Vectors:
        """Return the same as ``compute_source_embeddings``: what LanceDB's base class asks for."""
        return self.compute_source_embeddings(texts)

    def _strings(self, query: Any) -> list[str]:
        return list(self.sanitize_input(query))

    def _embedder(self) -> Embedder:
        return self._source().open_shared(Embedder)

    def _source(self) -> ModelSource:
        return ModelSource(
            model=self.model,
            precision=self.precision,
            device=self.device,
            threads=self.threads,
            cache_dir=self.cache_dir,
            local_files_only=self.local_files_only,
            kernels=self.kernels,
        )

    def _encoding(self) -> Encoding:
        return Encoding(
            query_prompt=self.query_prompt,
            document_prompt=self.document_prompt,
            batch_tokens=self.batch_tokens,
            normalize=self.normalize,
            truncate_dim=self.truncate_dim,
            show_progress_bar=False,
            on_truncate=self.on_truncate,
        )


def _column(texts: Any) -> pa.Array:
    try:
        return pa.array(texts)
    except pa.ArrowException as error:
        raise InputTypeError(f"the source column must hold strings ({error}); cast it to string") from error
