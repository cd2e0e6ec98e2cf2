"""Other libraries load a bundle as a repository: sentence-transformers and fastembed give the same vectors.

They pad their batches, which changes attention's float32 sums in the last bits. In the fp32 graph, the vectors then
differ by far less than 1e-3. In the int8 graph, a value near a rounding boundary can get the next code. So the int8
test allows 1e-3 without padding, and compares cosines with padding.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import Bundle, Embedder
from embedge_export.verify.passages import passages

TEXTS = [passage.text for passage in passages()[:12]] + ["hello world", "short"]
GRAPHS = [("fp32", "onnx/model.onnx"), ("int8", "onnx/model_int8.onnx")]


@pytest.fixture(params=["minilm", "tiny"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    """One bundle with mean pooling and real weights, and one with CLS pooling."""
    found: Bundle = request.getfixturevalue(f"{request.param}_bundle")
    return found


def compare(own: Embedder, alone: NDArray[np.float32], padded: NDArray[np.float32]) -> None:
    """Check a peer's vectors, of single texts and of one padded batch, against embedge's."""
    expected = own.encode(TEXTS, on_truncate="ignore")
    np.testing.assert_allclose(alone, expected, atol=1e-3)
    if own.precision == "fp32":
        np.testing.assert_allclose(padded, expected, atol=1e-3)
    assert (padded * expected).sum(axis=1).min() > 0.998


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("precision", "file"), GRAPHS)
def test_sentence_transformers_loads_the_bundle(bundle: Bundle, precision: Any, file: str) -> None:
    library = pytest.importorskip("sentence_transformers")
    peer = library.SentenceTransformer(
        str(bundle.path), backend="onnx", model_kwargs={"file_name": file, "provider": "CPUExecutionProvider"}
    )
    own = Embedder(bundle.path, precision=precision)
    compare(own, peer.encode(TEXTS, batch_size=1), peer.encode(TEXTS))
    assert {name: text for name, text in peer.prompts.items() if text} == dict(own.prompts)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("precision", "file"), GRAPHS)
def test_fastembed_loads_the_bundle(bundle: Bundle, precision: Any, file: str) -> None:
    library = pytest.importorskip("fastembed")
    from fastembed.common.model_description import ModelSource, PoolingType

    manifest, name = bundle.manifest, f"embedge/{bundle.manifest.model}-{precision}"
    library.TextEmbedding.add_custom_model(
        model=name,
        pooling={"cls": PoolingType.CLS, "mean": PoolingType.MEAN}[manifest.pooling],
        normalization=True,
        sources=ModelSource(hf=name),
        dim=manifest.dimension,
        model_file=file,
    )
    peer = library.TextEmbedding(name, specific_model_path=str(bundle.path))
    own = Embedder(bundle.path, precision=precision)
    compare(own, np.array(list(peer.embed(TEXTS, batch_size=1))), np.array(list(peer.embed(TEXTS))))
