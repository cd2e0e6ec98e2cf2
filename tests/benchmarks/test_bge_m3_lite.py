"""The files for bge-m3-lite: its vocabulary is that of the tokenizer, and only bge-m3's shape is taken."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("onnx", reason="the benchmarks read checkpoints with the exporter")
from benchmarks import throughput
from benchmarks.data.datasets import read_collection, read_pairs
from benchmarks.data.seeded_m3 import train_tokenizer
from benchmarks.peers.bge_m3_lite import build
from benchmarks.peers.sentence_piece import write_sentence_piece
from benchmarks.peers.table import OWN, SPEED_PEERS, Peer, choose
from benchmarks.peers.workbench import open_workbench
from embedge.errors import CheckpointError


def test_the_library_has_the_ids_of_the_tokenizer(data: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("bge_m3_lite.tokenizer", reason="bge-m3-lite is not installed")
    texts = [*read_pairs(data).sentences[:500], *read_collection(data).documents[:40]]
    tokenizer = train_tokenizer(texts)
    write_sentence_piece(tokenizer, tmp_path / "sentencepiece.bpe.model")
    found = library.XLMRobertaTokenizer.from_file(tmp_path / "sentencepiece.bpe.model")
    same = [found.encode(text, max_length=8192) == tokenizer.encode(text).ids for text in texts]
    assert sum(same) > 0.99 * len(same)  # two ways to split a word may have the same score


def test_another_shape_is_refused(tiny_checkpoint: Path) -> None:
    with (
        open_workbench(str(tiny_checkpoint), like=None, threads=1) as bench,
        pytest.raises(CheckpointError, match="bge-m3-lite has only bge-m3's shape"),
    ):
        build(bench, "int8")


def test_a_library_of_another_shape_is_left_out_and_said_to_be(
    small_data: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Peer, "missing", lambda peer: ())
    assert choose(["bge-m3-lite-int8"], SPEED_PEERS)
    out = small_data / "out.json"
    arguments = ["-m", str(tiny_checkpoint), "--rounds", "1", "--texts", "short", "--short", "2", "--long", "2"]
    done = CliRunner().invoke(throughput.main, [*arguments, "--peers", "bge-m3-lite-int8", "--json", str(out)])
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    assert list(result["figures"]["short"]["values"]) == [OWN]
    assert "only bge-m3's shape" in result["left_out"]["bge-m3-lite-int8"]
