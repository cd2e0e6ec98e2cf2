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

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
        PrecisionNotFoundError,
        ProviderError,
        QualityError,
        TruncationWarning,
    )
    from embedge.inference.late_interaction import max_similarity
    from embedge.inference.options import OnTruncate, OutputPrecision
    from embedge.inference.sparse import SparseVector
    from embedge.reranker import Reranker
    from embedge.version import __version__ as __version__

_HOME = {
    "Bundle": "embedge.bundle.directory",
    "BundleCorruptError": "embedge.errors",
    "BundleError": "embedge.errors",
    "BundleNotFoundError": "embedge.errors",
    "CheckpointError": "embedge.errors",
    "Embedder": "embedge.embedder",
    "EmbedgeError": "embedge.errors",
    "HubError": "embedge.errors",
    "Manifest": "embedge.bundle.manifest",
    "MissingExtraError": "embedge.errors",
    "OnTruncate": "embedge.inference.options",
    "OutputPrecision": "embedge.inference.options",
    "Precision": "embedge.bundle.manifest",
    "PrecisionNotFoundError": "embedge.errors",
    "ProviderError": "embedge.errors",
    "QualityError": "embedge.errors",
    "Reranker": "embedge.reranker",
    "SparseVector": "embedge.inference.sparse",
    "InputTypeError": "embedge.errors",
    "InputValueError": "embedge.errors",
    "TruncationWarning": "embedge.errors",
    "__version__": "embedge.version",
    "max_similarity": "embedge.inference.late_interaction",
}

__all__ = [
    "Bundle",
    "BundleCorruptError",
    "BundleError",
    "BundleNotFoundError",
    "CheckpointError",
    "Embedder",
    "EmbedgeError",
    "HubError",
    "InputTypeError",
    "InputValueError",
    "Manifest",
    "MissingExtraError",
    "OnTruncate",
    "OutputPrecision",
    "Precision",
    "PrecisionNotFoundError",
    "ProviderError",
    "QualityError",
    "Reranker",
    "SparseVector",
    "TruncationWarning",
    "max_similarity",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'embedge' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
