"""Devices, bundles and texts for the tests of a graphics card.

Most tests run on the CPU, too, so that the tests themselves are known to work before a card sees them. On a card they
skip, in one line, where CUDA does not start.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from embedge import Bundle
from seeded_roberta import write_roberta
from tiny import WORDS

CUDA = "CUDAExecutionProvider"
# A graph that every checkout has. It opens without embedge, whose own errors must fail tests, not skip them.
_GRAPH = Path(__file__).parents[1] / "tiny_bundle" / "onnx" / "model.onnx"
# Heads of 32 elements and 512 tokens, as real models have.
_SIZES = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "max_position_embeddings": 512}


@pytest.fixture(scope="session")
def card() -> None:
    """Skip the test where ONNX Runtime has no CUDA, or cannot start it."""
    import onnxruntime as ort

    if CUDA not in ort.get_available_providers():
        pytest.skip(f"needs {CUDA}, which onnxruntime {ort.__version__} does not have; install onnxruntime-gpu")
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(_GRAPH, options, providers=[CUDA], enable_fallback=False)
        reason = "" if CUDA in session.get_providers() else "ONNX Runtime falls back to the CPU"
    except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
        reason = str(error).strip().partition("\n")[0]
    if reason:
        pytest.skip(f"needs a card: {CUDA} does not start ({reason})")


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """The device of a test: the CPU, and then a card."""
    name: str = request.param
    if name == "cuda":
        request.getfixturevalue("card")
    return name


@pytest.fixture(scope="session", params=["cls", "mean", "lasttoken"])
def pooled_bundle(
    request: pytest.FixtureRequest,
    make_checkpoint: Callable[..., Path],
    export: Callable[..., Bundle],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """A seeded BERT in fp32 and fp16, with each kind of pooling."""
    checkpoint = make_checkpoint(f"seeded-{request.param}", pooling=request.param, config=_SIZES)
    folder = tmp_path_factory.mktemp("bundles") / request.param
    return export(checkpoint, folder, precisions=("fp32", "fp16"), verify=False)


@pytest.fixture(scope="session")
def seeded_bundle(
    make_checkpoint: Callable[..., Path], export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """A seeded BERT in all precisions, with CLS pooling."""
    folder = tmp_path_factory.mktemp("bundles") / "seeded"
    return export(make_checkpoint("seeded", config=_SIZES), folder, precisions=("int8", "fp32", "fp16"), verify=False)


@pytest.fixture(scope="session")
def minilm_halves(
    minilm_checkpoint: Path, export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """all-MiniLM-L6-v2 with its real weights, in fp32 and fp16."""
    folder = tmp_path_factory.mktemp("bundles") / "minilm"
    return export("all-MiniLM-L6-v2", folder, precisions=("fp32", "fp16"), verify=False)


@pytest.fixture(scope="session")
def m3_bundle(export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A seeded XLM-RoBERTa with a sparse and a multi-vector head, as bge-m3 has, in fp32 and fp16."""
    pytest.importorskip("torch", reason="needs torch, which writes the heads as bge-m3 has them")
    checkpoint = write_roberta(tmp_path_factory.mktemp("roberta") / "m3", rerank=False)
    folder = tmp_path_factory.mktemp("bundles") / "m3"
    return export(checkpoint, folder, precisions=("fp32", "fp16"), verify=False)


@pytest.fixture(scope="session")
def reranker_bundle(export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A seeded XLM-RoBERTa reranker in fp32 and fp16."""
    checkpoint = write_roberta(tmp_path_factory.mktemp("roberta") / "reranker", rerank=True)
    folder = tmp_path_factory.mktemp("bundles") / "reranker"
    return export(checkpoint, folder, precisions=("fp32", "fp16"), verify=False)


@pytest.fixture(scope="session")
def mixed() -> list[str]:
    """5,000 texts of 1 to 400 words in random order, most of them short. Each begins with other words."""
    draw = random.Random(0)
    words = [word for word in WORDS if word.isalpha()]
    starts = draw.sample(range(len(words) ** 3), 5000)
    texts = []
    for start in starts:
        first = [words[start // len(words) ** place % len(words)] for place in range(3)]
        rest = min(int(draw.expovariate(1 / 25)), 397) if draw.random() < 0.95 else draw.randint(200, 397)
        texts.append(" ".join(first + draw.choices(words, k=rest)))
    return texts
