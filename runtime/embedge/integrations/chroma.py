"""Chroma: ``EmbedgeEmbeddingFunction``. A collection stores its name and options, and is reopened with it.

    import chromadb
    from embedge.integrations.chroma import EmbedgeEmbeddingFunction

    client = chromadb.PersistentClient("./chroma")
    documents = client.create_collection("documents", embedding_function=EmbedgeEmbeddingFunction("bge-small-en-v1.5"))
    documents.add(ids=["0", "1"], documents=["Yeast makes dough rise.", "The bike has a flat tyre."])
    result = documents.query(query_texts=["how do I bake bread?"], n_results=1)

Importing this module registers the function with Chroma. A program that reopens the collection imports the module too;
then ``client.get_collection("documents")`` opens it with the stored function and options.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from embedge import Embedder, OnTruncate, Precision
from embedge.bundle.manifest import Similarity
from embedge.errors import InputValueError
from embedge.inference.providers import ProviderArgument
from embedge.integrations.encoding import Encoding
from embedge.integrations.extra import needs_extra
from embedge.integrations.source import ModelSource

with needs_extra("chroma"):
    from chromadb.api.types import Embeddable, EmbeddingFunction, Embeddings, Space
    from chromadb.utils.embedding_functions import register_embedding_function

# Chroma's names of the measures that models compare vectors by.
_SPACES: Mapping[Similarity, Space] = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}
# The options that the vectors depend on, so a collection's cannot change. The others may differ when it is reopened.
_FIXED = ("model", "query_prompt", "document_prompt", "normalize", "truncate_dim")


@register_embedding_function
class EmbedgeEmbeddingFunction(EmbeddingFunction[Embeddable]):
    """Embeds a collection's documents, and its queries with the model's query prompt.

    Chroma makes a function whenever it opens a collection, even if no text will be embedded. So the model is loaded by
    the first call that needs it, and functions with the same options share it. Errors in the options appear then, too.

    Args:
        model: the name of a recipe, a hub id, the path of a bundle, or a loaded ``Embedder``, whose path the collection
            stores.
        precision: ``"int8"``, ``"fp32"`` or ``"fp16"``, the graph's precision; None takes the first that the bundle
            holds, in this order, or on a GPU fp16, then fp32.
        device: what the model runs on: ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` for the second GPU; None is the CPU, or
            the first of ``providers``.
        providers: the long form of ``device``: ONNX Runtime execution providers, each a name or a pair of a name and
            its options, such as ``("CUDAExecutionProvider", {"gpu_mem_limit": 2 << 30})``; None
            takes those of ``device``.
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
    """

    def __init__(
        self,
        model: str | PathLike[str] | Embedder = "bge-small-en-v1.5",
        *,
        precision: Precision | None = None,
        device: str | None = None,
        providers: Sequence[ProviderArgument] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        kernels: bool | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        batch_tokens: int | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> None:
        self._encoding = Encoding(
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            batch_tokens=batch_tokens,
            normalize=normalize,
            truncate_dim=truncate_dim,
            show_progress_bar=False,
            on_truncate=on_truncate,
        )
        self._source = ModelSource(
            model=model,
            precision=precision,
            device=device,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            kernels=kernels,
        )

    def __call__(self, input: Embeddable) -> Embeddings:  # noqa: A002  # the protocol's name
        """Embed documents: a float32 [dimension] each. Raises the errors of ``Embedder`` and ``encode_document``."""
        return list(self._encoding.documents(self._embedder(), _texts(input)))

    def embed_query(self, input: Embeddable) -> Embeddings:  # noqa: A002
        """Embed queries: a float32 [dimension] each. Raises the errors of ``Embedder`` and ``encode_query``."""
        return list(self._encoding.queries(self._embedder(), _texts(input)))

    @staticmethod
    def name() -> str:
        """The name by which Chroma stores this function."""
        return "embedge"

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, which Chroma stores with a collection."""
        return {
            **self._source.config(),
            "query_prompt": self._encoding.query_prompt,
            "document_prompt": self._encoding.document_prompt,
            "batch_tokens": self._encoding.batch_tokens,
            "normalize": self._encoding.normalize,
            "truncate_dim": self._encoding.truncate_dim,
            "on_truncate": self._encoding.on_truncate,
        }

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "EmbedgeEmbeddingFunction":
        """Return the function that a stored collection was made with."""
        return EmbedgeEmbeddingFunction(**config)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise InputValueError if a configuration has an unknown option."""
        known = EmbedgeEmbeddingFunction().get_config()
        if unknown := sorted(set(config) - set(known)):
            raise InputValueError(f"unknown options {', '.join(unknown)}; the known options are {', '.join(known)}")

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Raise InputValueError if an option changes that the collection's vectors depend on."""
        self.validate_config(new_config)
        for name in _FIXED:
            old, new = old_config.get(name), new_config.get(name)
            if name not in new_config or new == old:
                continue
            if name == "normalize" and {None, self._embedder().bundle.manifest.normalize} == {old, new}:
                continue  # None means the model's own way, so both are the same
            raise InputValueError(
                f"the collection's vectors were made with {name}={old!r}, found {name}={new!r}; "
                "make a new collection and add the documents to it"
            )

    def default_space(self) -> Space:
        """Return the space for new collections: the measure that the model was trained for.

        Chroma asks when a collection is created, not when it is opened. Only the bundle knows the measure, so this
        loads the model.

        Raises:
            InputValueError: Chroma lacks the measure, such as the Manhattan distance.
        """
        measure = self._embedder().similarity_fn_name
        if measure not in _SPACES:
            raise InputValueError(
                f"Chroma lacks the model's measure, the {measure} distance; choose a space for the collection: "
                'configuration={"hnsw": {"space": "cosine"}}'
            )
        return _SPACES[measure]

    def supported_spaces(self) -> list[Space]:
        """All three spaces; for vectors of length 1 they rank alike."""
        return ["cosine", "l2", "ip"]

    def _embedder(self) -> Embedder:
        return self._source.open_shared(Embedder)


def _texts(inputs: Embeddable) -> list[str]:
    """Chroma's type also allows images; for those the Embedder raises an error that names the first one."""
    return inputs  # type: ignore[return-value]
