"""The same calls give the same shapes, types and values in sentence-transformers and in embedge.

The reference is sentence-transformers 5, with torch, on all-MiniLM-L6-v2 as its trainers saved it. A test describes
each intended difference.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import Bundle, Embedder, InputValueError
from embedge_export.verify.passages import passages

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
TEXTS = [passage.text for passage in passages()[:12]] + ["hello world", "short", "", "東京 café 🚲"]
MANY = [f"{passage.title}: {passage.text}"[: 40 + 3 * k] for k, passage in enumerate(passages()) for _ in (0, 1)]
MANY = [text + " again" * (k % 2) for k, text in enumerate(MANY)]
ENCODES: dict[str, Callable[[Any], Any]] = {
    "a list": lambda model: model.encode(TEXTS),
    "a string": lambda model: model.encode("hello world"),
    "a list of one": lambda model: model.encode(["hello world"]),
    "a tuple": lambda model: model.encode(("hello world", "short")),
    "an array of strings": lambda model: model.encode(np.array(["hello world", "short"])),
    "everyday keywords": lambda model: model.encode(
        TEXTS,
        batch_size=3,
        show_progress_bar=False,
        convert_to_numpy=True,
        convert_to_tensor=False,
        normalize_embeddings=True,
        device="cpu",
    ),
    "normalize_embeddings=False": lambda model: model.encode(TEXTS, normalize_embeddings=False),
    "a prompt": lambda model: model.encode(TEXTS, prompt="query: "),
    "truncate_dim": lambda model: model.encode(TEXTS, truncate_dim=64, normalize_embeddings=True),
    "a query": lambda model: model.encode_query("hello world"),
    "queries": lambda model: model.encode_query(TEXTS, batch_size=4),
    "documents": lambda model: model.encode_document(TEXTS, convert_to_numpy=True),
    "precision=float32": lambda model: model.encode(TEXTS, precision="float32"),
}


@pytest.fixture(scope="module")
def theirs(minilm_checkpoint: Path) -> Any:
    library = pytest.importorskip("sentence_transformers")
    return library.SentenceTransformer(str(minilm_checkpoint), device="cpu")


@pytest.fixture(scope="module")
def ours(minilm_bundle: Bundle) -> Embedder:
    return Embedder(minilm_bundle.path, precision="fp32")


@pytest.fixture(scope="module")
def prompted(make_checkpoint: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Embedder]:
    """Both libraries on one bundle whose checkpoint has prompts."""
    library = pytest.importorskip("sentence_transformers")
    from embedge_export import export

    checkpoint = make_checkpoint("prompted", prompts={"query": "how do i ", "passage": "the "})
    path = export(checkpoint, tmp_path_factory.mktemp("bundles") / "b", precisions=("fp32",), verify=False).path
    return library.SentenceTransformer(str(path), backend="onnx"), Embedder(path)


@pytest.mark.parametrize("name", ENCODES)
def test_encode_returns_what_sentence_transformers_returns(theirs: Any, ours: Embedder, name: str) -> None:
    expected, found = ENCODES[name](theirs), ENCODES[name](ours)
    assert (type(found), found.dtype, found.shape) == (np.ndarray, expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize("texts", [MANY, MANY[:3], MANY[0]], ids=["many", "few", "one"])
def test_output_precisions_match_sentence_transformers(theirs: Any, ours: Embedder, precision: Any, texts: Any) -> None:
    """In both libraries, int8 takes its range from the texts of the call.

    A value on the boundary between two codes may get either. With few texts that is frequent, because the largest value
    of each dimension is a boundary.
    """
    expected, found = theirs.encode(texts, precision=precision), ours.encode(texts, precision=precision)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if "binary" in precision:
        flipped = np.unpackbits(found.view(np.uint8) ^ expected.view(np.uint8)).mean()
        assert flipped < 1e-3
    else:
        apart = np.abs(found.astype(int) - expected.astype(int))
        assert apart.max() <= 1
        assert apart.mean() < 0.05


def test_similarity_matches_sentence_transformers(theirs: Any, ours: Embedder) -> None:
    vectors = ours.encode(TEXTS)
    one, some = vectors[0], vectors[:5]
    for first, second in ((vectors, some), (one, some), (some * 3, vectors)):
        np.testing.assert_allclose(ours.similarity(first, second), theirs.similarity(first, second).numpy(), atol=1e-6)
    pairwise = theirs.similarity_pairwise(some * 3, vectors[5:10]).numpy()
    np.testing.assert_allclose(ours.similarity_pairwise(some * 3, vectors[5:10]), pairwise, atol=1e-6)
    assert ours.similarity_pairwise(some, vectors[5:10]).dtype == np.float32


def test_attributes_match_sentence_transformers(theirs: Any, ours: Embedder) -> None:
    assert ours.max_seq_length == theirs.max_seq_length == 256
    assert ours.get_sentence_embedding_dimension() == theirs.get_sentence_embedding_dimension() == 384
    assert ours.get_embedding_dimension() == ours.dimension
    assert dict(ours.prompts) == {name: text for name, text in theirs.prompts.items() if text}


def test_max_seq_length_cannot_be_set(ours: Embedder) -> None:
    """An assignment fails, because it would have no effect."""
    with pytest.raises(AttributeError, match="max_seq_length"):
        ours.max_seq_length = 128  # type: ignore[misc]


@pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
@pytest.mark.parametrize("options", [{}, {"prompt_name": "passage"}, {"prompt_name": "query"}, {"prompt": "the "}])
def test_prompts_are_chosen_as_in_sentence_transformers(
    prompted: tuple[Any, Embedder], method: str, options: dict[str, str]
) -> None:
    theirs, ours = prompted
    texts = ["the cat sat on the mat", "bread"]
    expected, found = (getattr(model, method)(texts, **options) for model in (theirs, ours))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_unknown_prompt_is_refused_by_both(prompted: tuple[Any, Embedder]) -> None:
    for model in prompted:
        with pytest.raises(ValueError, match="clustering"):
            model.encode("cat", prompt_name="clustering")


def norms(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1)
    return lengths


def test_truncated_vectors_are_normalized_unlike_in_sentence_transformers(theirs: Any, ours: Embedder) -> None:
    """This is the only default that differs. The cosines are the same."""
    expected, found = theirs.encode(TEXTS, truncate_dim=64), ours.encode(TEXTS, truncate_dim=64)
    assert norms(expected).max() < 0.9
    np.testing.assert_allclose(norms(found), 1, atol=1e-6)
    np.testing.assert_allclose(found * norms(expected)[:, None], expected, atol=1e-5)


def test_empty_input_keeps_the_dimension(theirs: Any, ours: Embedder) -> None:
    assert theirs.encode([]).shape == (0,)
    assert ours.encode([]).shape == (0, 384)


def test_batch_size_changes_no_vector(ours: Embedder) -> None:
    np.testing.assert_array_equal(ours.encode(TEXTS, batch_size=1), ours.encode(TEXTS))


@pytest.mark.parametrize(
    ("options", "instead"),
    [
        ({"convert_to_tensor": True}, r"torch\.from_numpy\(vectors\)"),
        ({"convert_to_numpy": False}, r"torch\.from_numpy\(vectors\)"),
        ({"device": "cuda"}, r"device='cuda'.*Embedder\(model, device='cuda'\)"),
        ({"device": ["cpu", "cpu"]}, "choose the device when you load the model"),
        ({"normalize_embeddings": True, "normalize": False}, "contradicts"),
        ({"normalize_embeddings": False, "truncate_dim": 8}, "pass normalize=False"),
        ({"batch_size": 0}, "batch_size must be at least 1, found 0"),
    ],
)
def test_an_unsupported_option_says_what_to_write_instead(
    tiny: Embedder, options: dict[str, Any], instead: str
) -> None:
    with pytest.raises(InputValueError, match=instead):
        tiny.encode(["the cat"], **options)


def test_a_device_may_be_named_when_loading(tiny_bundle: Bundle) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    assert Embedder(tiny_bundle.path, device="cpu").dimension == 32
    assert Embedder(tiny_bundle.path, device=torch.device("cpu")).device == "cpu"
    with pytest.raises(InputValueError, match="there is no device 'mps'"):
        Embedder(tiny_bundle.path, device="mps")
