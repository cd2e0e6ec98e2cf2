"""Chroma: ``EmbedgeEmbeddingFunction``, whose options a collection keeps and is reopened with.

    import chromadb
    from embedge.integrations.chroma import EmbedgeEmbeddingFunction

    client = chromadb.PersistentClient("./chroma")
    documents = client.create_collection("documents", embedding_function=EmbedgeEmbeddingFunction("bge-small-en-v1.5"))
    documents.add(ids=["0", "1"], documents=["Yeast makes dough rise.", "The bike has a flat tyre."])
    found = documents.query(query_texts=["how do I bake bread?"], n_results=1)

Importing this module registers the function, so that ``client.get_collection("documents")`` finds it by its name.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from os import PathLike
from typing import Any

from embedge import Embedder, OnTruncate, Precision
from embedge.bundle.manifest import Similarity
from embedge.errors import InputValueError
from embedge.integrations.encoding import Encoding
from embedge.integrations.extra import needs_extra
from embedge.integrations.source import Source

with needs_extra("chroma"):
    from chromadb.api.types import Embeddable, EmbeddingFunction, Embeddings, Space
    from chromadb.utils.embedding_functions import register_embedding_function

# How Chroma calls what a model compares vectors by.
_SPACES: Mapping[Similarity, Space] = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}
# What a collection's vectors depend on; the rest may change from one opening to the next.
_FIXED = ("model", "query_prompt", "document_prompt", "normalize", "truncate_dim")


@register_embedding_function
class EmbedgeEmbeddingFunction(EmbeddingFunction[Embeddable]):
    """Documents to vectors, and queries with the model's query prompt.

    The model is loaded when it is first needed, and functions of the same options share it: Chroma makes a function
    whenever a collection is opened, also where its texts are only read.

    Args:
        model: a recipe's name, a hub id, a bundle's path, or an ``Embedder``, of which the collection keeps the path.
        precision: of the graph, as in ``Embedder``, like the four that follow.
        providers: see ``Embedder``.
        threads: see ``Embedder``.
        cache_dir: see ``Embedder``.
        local_files_only: see ``Embedder``.
        query_prompt: text put in front of queries; None is the model's own, "" is none.
        document_prompt: text put in front of documents, likewise.
        batch_tokens: as in ``Embedder.encode``, like all that follow.
        normalize: see ``Embedder.encode``.
        truncate_dim: see ``Embedder.encode``.
        on_truncate: see ``Embedder.encode``.

    Raises:
        EmbedgeError: as ``Embedder`` does, by the first call.
    """

    def __init__(
        self,
        model: str | PathLike[str] | Embedder = "bge-small-en-v1.5",
        *,
        precision: Precision | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
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
        self._source = Source(
            model=model,
            precision=precision,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )

    def __call__(self, input: Embeddable) -> Embeddings:  # noqa: A002  # the protocol's name
        """Vectors of documents, float32 [dimension] each; raises as ``Embedder.encode_document``."""
        return list(self._encoding.documents(self._embedder(), _texts(input)))

    def embed_query(self, input: Embeddable) -> Embeddings:  # noqa: A002
        """Vectors of queries, float32 [dimension] each; raises as ``Embedder.encode_query``."""
        return list(self._encoding.queries(self._embedder(), _texts(input)))

    @staticmethod
    def name() -> str:
        """The name that a collection finds this function by."""
        return "embedge"

    def get_config(self) -> dict[str, Any]:
        """What a collection keeps: the constructor's arguments."""
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
        """The function that a collection was made with."""
        return EmbedgeEmbeddingFunction(**config)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raises InputValueError where the configuration is not one of this function's."""
        known = EmbedgeEmbeddingFunction().get_config()
        if unknown := sorted(set(config) - set(known)):
            raise InputValueError(f"embedge's functions know {', '.join(known)}, found {', '.join(unknown)}")

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Raises InputValueError where new vectors would not go with a collection's own."""
        self.validate_config(new_config)
        for name in _FIXED:
            old, new = old_config.get(name), new_config.get(name)
            if name not in new_config or new == old:
                continue
            if name == "normalize" and {None, self._embedder().bundle.manifest.normalize} == {old, new}:
                continue  # None is what the model does
            raise InputValueError(
                f"the collection's vectors are of {name}={old!r}, found {new!r}; "
                "make a new collection and add the documents to it"
            )

    def default_space(self) -> Space:
        """What the model's vectors are compared by.

        Loads the model, which alone knows it: when a collection is made, and not when one is opened.

        Raises:
            InputValueError: Chroma has no such space, as for the Manhattan distance.
        """
        measure = self._embedder().similarity_fn_name
        if measure not in _SPACES:
            raise InputValueError(
                f"the model compares by {measure} distance, and Chroma has none; choose a space for the collection: "
                'configuration={"hnsw": {"space": "cosine"}}'
            )
        return _SPACES[measure]

    def supported_spaces(self) -> list[Space]:
        """All three; of vectors of length 1 they give the same order."""
        return ["cosine", "l2", "ip"]

    def _embedder(self) -> Embedder:
        if self._source.is_open:
            return self._source.open(Embedder)
        return _open_shared(json.dumps(self._source.config()))


@lru_cache
def _open_shared(config: str) -> Embedder:
    return Source(**json.loads(config)).open(Embedder)


def _texts(found: Embeddable) -> list[str]:
    """Chroma's type for what is embedded has images in it, too; the Embedder tells which one is no text."""
    return found  # type: ignore[return-value]
