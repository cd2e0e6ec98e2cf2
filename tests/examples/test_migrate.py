"""examples/migrate.md: every line on the right runs, and gives what the line on its left gives."""

import json
import re
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder
from embedge_export import export
from seeded_roberta import write_roberta

MIGRATE = Path(__file__).parents[2] / "examples" / "migrate.md"
INSTRUCTION = "Represent this sentence for searching relevant passages: "
MINILM, BGE = "sentence-transformers/all-MiniLM-L6-v2", "BAAI/bge-small-en-v1.5"
RERANKER, M3 = "BAAI/bge-reranker-base", "BAAI/bge-m3"
NO_RESULTS = {"model", "reranker", "m3", "sentences", "documents", "queries", "passages", "pairs", "every"}
pytestmark = pytest.mark.filterwarnings("ignore")  # the other libraries warn of much
Models = Mapping[str, tuple[str, str]]


def rows(section: str) -> list[tuple[str, str]]:
    """Their line and ours, of each row of a section's table."""
    parts = re.split(r"^## ", MIGRATE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (body,) = [part for part in parts if part.startswith(section + "\n")]
    return re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", body, flags=re.MULTILINE)


def names(line: str) -> set[str]:
    """What a line gives a name to."""
    return set(re.findall(r"(?:^|; )(\w+) = ", line)) - NO_RESULTS


def compare(section: str, library: str, models: Models) -> dict[str, Any]:
    """Runs both sides of a table, row by row, and compares what a row names on both; returns what ours named.

    Args:
        section: the heading above the table.
        library: theirs; where it is not installed, only our side runs.
        models: what takes the place of a quoted name, in their lines and in ours.
    """
    left: dict[str, Any] = {}
    right: dict[str, Any] = {}
    compared: set[str] = set()
    for their_line, our_line in rows(section):
        for name, (theirs, ours) in models.items():
            their_line, our_line = their_line.replace(f'"{name}"', theirs), our_line.replace(f'"{name}"', ours)
        exec(our_line, right)
        if find_spec(library):
            exec(their_line, left)
            for name in names(their_line) & names(our_line):
                # The relative part is for scores, which are no unit vectors: float32 sums of dozens.
                np.testing.assert_allclose(right[name], left[name], rtol=1e-6, atol=1e-5, err_msg=our_line)
                compared.add(name)
    assert len(compared) >= 6 or not find_spec(library)
    return right


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("migrate")


@pytest.fixture(scope="module")
def minilm(minilm_checkpoint: Path, folder: Path) -> Bundle:
    """all-MiniLM-L6-v2 in fp32 alone, so that it is what a name opens."""
    return export(minilm_checkpoint, folder / "minilm-bundle", precisions=("fp32",), verify=False)


@pytest.fixture(scope="module")
def bge(minilm_checkpoint: Path, folder: Path) -> tuple[Path, Path]:
    """MiniLM's weights under BGE's pooling; and a bundle of it with BGE's instruction, which comes from its recipe."""
    checkpoint = folder / "bge"
    shutil.copytree(minilm_checkpoint, checkpoint)
    modes = {"word_embedding_dimension": 384, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (checkpoint / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    bundle = export(checkpoint, folder / "bge-bundle", like="bge-small-en-v1.5", precisions=("fp32",), verify=False)
    return checkpoint, bundle.path


@pytest.fixture(scope="module")
def reranker(folder: Path) -> tuple[Path, Path]:
    """A small seeded one, and its bundle."""
    checkpoint = write_roberta(folder / "reranker", rerank=True)
    return checkpoint, export(checkpoint, folder / "reranker-bundle", precisions=("fp32",), verify=False).path


@pytest.fixture(scope="module")
def m3(folder: Path) -> tuple[Path, Path]:
    """A small seeded model with a sparse and a multi-vector head, and its bundle."""
    checkpoint = write_roberta(folder / "m3", rerank=False)
    return checkpoint, export(checkpoint, folder / "m3-bundle", precisions=("fp32",), verify=False).path


def quoted(paths: tuple[Path, Path]) -> tuple[str, str]:
    return repr(str(paths[0])), repr(str(paths[1]))


def test_sentence_transformers(minilm: Bundle, minilm_checkpoint: Path, reranker: tuple[Path, Path]) -> None:
    models = {MINILM: quoted((minilm_checkpoint, minilm.path)), RERANKER: quoted(reranker)}
    compare("sentence-transformers", "sentence_transformers", models)


def test_fastembed(minilm: Bundle, reranker: tuple[Path, Path]) -> None:
    """The test registers two more models, because fastembed knows models only by name."""
    if find_spec("fastembed"):
        from fastembed import TextEmbedding
        from fastembed.common.model_description import ModelSource, PoolingType
        from fastembed.rerank.cross_encoder import TextCrossEncoder

        source, file = ModelSource(hf="embedge/local"), "onnx/model.onnx"
        TextEmbedding.add_custom_model(
            "embedge/minilm", pooling=PoolingType.MEAN, normalization=True, sources=source, dim=384, model_file=file
        )
        TextCrossEncoder.add_custom_model("embedge/reranker", sources=source, model_file=file)

    models = {
        name: (f"{custom!r}, specific_model_path={str(path)!r}", repr(str(path)))
        for name, custom, path in (
            (MINILM, "embedge/minilm", minilm.path),
            (RERANKER, "embedge/reranker", reranker[1]),
        )
    }
    compare("fastembed", "fastembed", models)


def test_flag_embedding(bge: tuple[Path, Path], reranker: tuple[Path, Path], m3: tuple[Path, Path]) -> None:
    """Its instruction is put in front of queries and of nothing else, whether or not the library is here to ask."""
    named = compare("FlagEmbedding", "FlagEmbedding", {BGE: quoted(bge), RERANKER: quoted(reranker), M3: quoted(m3)})
    plain = Embedder(bge[1])
    np.testing.assert_array_equal(named["q"], plain.encode([INSTRUCTION + query for query in named["queries"]]))
    np.testing.assert_array_equal(named["other"], plain.encode(["find: " + query for query in named["queries"]]))
    np.testing.assert_array_equal(named["p"], plain.encode(named["passages"]))
    np.testing.assert_array_equal(named["embeddings"], named["p"])
