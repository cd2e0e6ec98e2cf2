"""embedge: BGE text embeddings at the edge.

    from embedge import Embedder, Reranker

    model = Embedder("bge-small-en-v1.5")
    q = model.encode_query(["how do I bake bread?"])   # float32 [1, 384]
    d = model.encode_document(documents)               # float32 [n, 384]
    model.similarity(q, d)                             # float32 [1, n]

    reranker = Reranker("bge-reranker-base")
    reranker.rank("how do I bake bread?", documents, top_k=10)   # [(index, score)], best first

Where to start reading: ``embedder`` and ``reranker`` hold the public classes. Both derive from ``model.Model``, which
loads a bundle. ``hub.resolve`` turns a model's name into its bundle. ``inference.engine`` turns texts into vectors:
``tokenise`` makes token ids, ``plan`` makes batches, ``workers`` and ``session`` run them, and ``pool`` turns the
output into vectors. ``bundle`` knows the files of a bundle, ``command`` is the command line, and ``integrations`` are
adapters for other frameworks.

The names below are imported on first use, so that ``import embedge`` is fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedge.async_embedder import AsyncEmbedder
    from embedge.async_reranker import AsyncReranker
    from embedge.bundle.directory import Bundle
    from embedge.bundle.manifest import Manifest, Precision
    from embedge.embedder import Embedder
    from embedge.errors import (
        BundleCorruptError,
        BundleError,
        BundleNotFoundError,
        CheckpointError,
        EmbedgeError,
        HubError,
        InputTypeError,
        InputValueError,
        MissingExtraError,
        OverloadedError,
        PrecisionNotFoundError,
        ProviderError,
        QualityError,
        TruncationWarning,
    )
    from embedge.inference.embeddings import Embedding, Embeddings
    from embedge.inference.hybrid_score import HybridScore, hybrid_score
    from embedge.inference.late_interaction import max_similarity
    from embedge.inference.options import OnTruncate, OutputPrecision
    from embedge.inference.sparse import SparseVector
    from embedge.reranker import Reranker
    from embedge.tokenizer import Tokenizer
    from embedge.version import __version__ as __version__

__all__ = [
    "AsyncEmbedder",
    "AsyncReranker",
    "Bundle",
    "BundleCorruptError",
    "BundleError",
    "BundleNotFoundError",
    "CheckpointError",
    "Embedder",
    "Embedding",
    "Embeddings",
    "EmbedgeError",
    "HubError",
    "HybridScore",
    "InputTypeError",
    "InputValueError",
    "Manifest",
    "MissingExtraError",
    "OnTruncate",
    "OutputPrecision",
    "OverloadedError",
    "Precision",
    "PrecisionNotFoundError",
    "ProviderError",
    "QualityError",
    "Reranker",
    "SparseVector",
    "Tokenizer",
    "TruncationWarning",
    "hybrid_score",
    "max_similarity",
]


def __getattr__(name: str) -> Any:
    # Each import is written out, and not made from a table of names, because Nuitka follows only what is written out.
    match name:
        case "Bundle":
            from embedge.bundle.directory import Bundle

            return Bundle
        case "Manifest" | "Precision":
            from embedge.bundle import manifest

            return getattr(manifest, name)
        case "Embedder":
            from embedge.embedder import Embedder

            return Embedder
        case "AsyncEmbedder":
            from embedge.async_embedder import AsyncEmbedder

            return AsyncEmbedder
        case "AsyncReranker":
            from embedge.async_reranker import AsyncReranker

            return AsyncReranker
        case "Reranker":
            from embedge.reranker import Reranker

            return Reranker
        case "Tokenizer":
            from embedge.tokenizer import Tokenizer

            return Tokenizer
        case "OnTruncate" | "OutputPrecision":
            from embedge.inference import options

            return getattr(options, name)
        case "Embedding" | "Embeddings":
            from embedge.inference import embeddings

            return getattr(embeddings, name)
        case "HybridScore" | "hybrid_score":
            from embedge.inference import hybrid_score

            return getattr(hybrid_score, name)
        case "SparseVector":
            from embedge.inference.sparse import SparseVector

            return SparseVector
        case "max_similarity":
            from embedge.inference.late_interaction import max_similarity

            return max_similarity
        case "__version__":
            from embedge.version import __version__

            return __version__
        case _ if name in __all__:
            from embedge import errors

            return getattr(errors, name)
    raise AttributeError(f"module 'embedge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
