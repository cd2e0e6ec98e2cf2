"""The overloads of embedder.py and reranker.py: mypy checks them, and help() shows every keyword."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, assert_type

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import Embedder, Embedding, Embeddings, Reranker, SparseVector


def typed_calls(model: Embedder, reranker: Reranker, texts: list[str], more: Iterable[str]) -> None:
    """Calls for mypy, never run: what each returns, and that it refuses a keyword that there is not."""
    assert_type(model.encode_sparse("a"), SparseVector)
    assert_type(model.encode_sparse("a", prompt="b", prompt_name=None, batch_tokens=8), SparseVector)
    assert_type(model.encode_sparse(texts, show_progress_bar=True, on_truncate="ignore"), list[SparseVector])
    assert_type(model.encode_sparse(more), list[SparseVector])
    model.encode_sparse("a", truncate_dim=8)  # type: ignore[call-overload]
    model.encode_sparse("a", on_truncate="maybe")  # type: ignore[call-overload]
    assert_type(model.encode_multi_vector("a", on_truncate="error"), NDArray[np.float32])
    assert_type(model.encode_multi_vector(texts, prompt="b"), list[NDArray[np.float32]])
    assert_type(model.encode_multi_vector(more), list[NDArray[np.float32]])
    model.encode_multi_vector(texts, batch_tokens="8")  # type: ignore[call-overload]
    assert_type(model.encode_all("a", multi_vector=True, truncate_dim=8), Embedding)
    assert_type(model.encode_all(texts, dense=False, precision="int8"), Embeddings)
    assert_type(model.encode_all(more).dense, NDArray[Any] | None)
    model.encode_all(texts, batch_tokens="8")  # type: ignore[call-overload]
    assert_type(model.count_tokens("a"), int)
    assert_type(model.count_tokens(more), list[int])
    assert_type(reranker.score(("a", "b")), np.float32)
    assert_type(reranker.score(("a", "b"), normalize=True, batch_tokens=None), np.float32)
    assert_type(reranker.score([("a", "b"), ["c", "d"]], on_truncate="warn"), NDArray[np.float32])
    assert_type(reranker.score((text, "b") for text in more), NDArray[np.float32])
    reranker.score([("a", "b")], top_k=3)  # type: ignore[call-overload]


def typed_models(names: list[str], pairs: list[tuple[str, dict[str, str]]]) -> None:
    """Constructors for mypy, never run: providers are names, ONNX Runtime's pairs, or both."""
    Embedder("a", providers=[("CUDAExecutionProvider", {"device_id": 1, "use_tf32": True}), "CPUExecutionProvider"])
    Reranker("a", device="cuda", providers=(("CUDAExecutionProvider", {"gpu_mem_limit": "2147483648"}),))
    Embedder("a", providers=names)
    Reranker("a", providers=pairs)
    assert_type(Embedder("a").device, str)
    assert_type(Reranker("a").providers, tuple[str, ...])
    Embedder("a", device=1)  # type: ignore[arg-type]
    Reranker("a", providers=[("CUDAExecutionProvider", 1)])  # type: ignore[list-item]


OF_TEXTS = ["prompt", "prompt_name", "batch_tokens", "show_progress_bar", "on_truncate"]


@pytest.mark.parametrize(
    ("method", "keywords"),
    [
        (Embedder.encode_sparse, OF_TEXTS),
        (Embedder.encode_multi_vector, OF_TEXTS),
        (
            Embedder.encode_all,
            [
                *("dense", "sparse", "multi_vector", *OF_TEXTS[:3]),
                *("normalize", "truncate_dim", "precision", *OF_TEXTS[3:]),
            ],
        ),
        (Reranker.score, ["normalize", "batch_tokens", "show_progress_bar", "on_truncate"]),
    ],
)
def test_every_keyword_is_in_the_signature(method: Callable[..., Any], keywords: list[str]) -> None:
    parameters = inspect.signature(method).parameters.values()
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == keywords
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters)
