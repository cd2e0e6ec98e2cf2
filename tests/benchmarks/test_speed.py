"""The speed benchmarks: arithmetic, processes, and a small run of each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import cold_start, latency, roofline, scaling, throughput
from benchmarks.measure.comparison import BuiltPeer, Comparison
from benchmarks.peers.base import Kit
from benchmarks.peers.padded import PaddedEncoder, pad
from benchmarks.peers.process import PeerFailedError, PeerProcess
from benchmarks.peers.table import OWN, SPEED_PEERS, Peer, choose
from benchmarks.peers.workbench import open_workbench

MakeCheckpoint = Callable[..., Path]


def test_names_are_unique_and_every_adapter_is_there() -> None:
    names = [peer.name for peer in SPEED_PEERS]
    assert len(set(names)) == len(names)
    folder = Path(throughput.__file__).parent / "peers"
    assert all((folder / f"{peer.module}.py").is_file() for peer in SPEED_PEERS)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(8, 64), st.integers(1, 3))
def test_tuned_batches_hold_every_text_once_and_keep_to_the_budget(
    counts: list[int], budget: int, workers: int
) -> None:
    class Words:
        """A tokenizer that returns as many tokens as the number in the text."""

        def encode_batch(self, texts: list[str]) -> list[Any]:
            return [type("Encoding", (), {"ids": [int(text)] * int(text)}) for text in texts]

    sizes: list[int] = []

    def run(ids: Any, mask: Any) -> Any:
        sizes.append(ids.size if len(ids) > 1 else 0)
        return np.stack([ids, ids * 0 + 1], axis=-1)

    encoder = PaddedEncoder(size=0, tokenizer=Words(), pooling="cls", run=run, workers=workers, budget=budget)
    vectors = encoder.encode([str(count) for count in counts])
    np.testing.assert_allclose(vectors[:, 0] / vectors[:, 1], counts, rtol=1e-6)
    assert max(sizes) <= budget


def test_padding_is_masked() -> None:
    ids, mask = pad([[1, 2, 3], [4]])
    assert ids[mask == 0].tolist() == [0, 0]


@pytest.fixture
def checkpoint(make_checkpoint: MakeCheckpoint) -> str:
    return str(make_checkpoint(pooling="mean"))


def test_a_process_gives_the_vectors_that_the_encoder_gives_here(checkpoint: str, tmp_path: Path) -> None:
    texts = ["the cat sat", "a dog ran far away", "bake bread"]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    with open_workbench(checkpoint, like=None, threads=2) as bench:
        for peer in choose([OWN, "stock-int8-channel-tuned"], SPEED_PEERS):
            peer.build(bench)
            kit = bench.kit(peer.variant)
            with PeerProcess(peer, kit) as process:
                assert process.size == peer.load(kit).size > 0
                assert process.ask("encode", texts=str(tmp_path / "texts.json"))["seconds"] > 0
                assert len(process.ask("latency", text="the cat", count=3)["milliseconds"]) == 3
                assert process.ask("memory")["peak"] > 10_000_000
                process.ask("vectors", texts=str(tmp_path / "texts.json"), to=str(tmp_path / "out.npy"))
            np.testing.assert_allclose(np.load(tmp_path / "out.npy"), peer.load(kit).encode(texts), atol=1e-6)


def test_a_process_that_ends_says_why(checkpoint: str) -> None:
    with open_workbench(checkpoint, like=None, threads=1) as bench:
        peer = Peer(module="stock", variant="int8-channel", about="never built")
        with pytest.raises(PeerFailedError, match=r"stock-int8-channel ended with 1: .*(No such file|NO_SUCHFILE)"):
            PeerProcess(peer, bench.kit(peer.variant))


def run(command: click.Command, *arguments: str) -> Any:
    return CliRunner().invoke(command, [*arguments, "--peers", "stock-int8-channel-tuned"])


@pytest.mark.parametrize(
    ("command", "arguments", "kinds"),
    [
        (throughput.main, ("--rounds", "1", "--short", "2", "--long", "2"), ["short", "long"]),
        (cold_start.main, ("--rounds", "1"), ["cold start"]),
    ],
)
def test_end_to_end_in_small(
    small_data: Path, checkpoint: str, command: click.Command, arguments: tuple[str, ...], kinds: list[str]
) -> None:
    out = small_data / "out.json"
    done = run(command, *arguments, "-m", checkpoint, "--json", str(out))
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    assert list(result["figures"]) == kinds
    for figures in result["figures"].values():
        assert {OWN, "stock-int8-channel-tuned"} <= set(figures["values"])
        assert figures["times_better"][OWN] == 1
        assert all(value > 0 for values in figures["values"].values() for value in values)


def test_documents_are_cut_to_what_the_model_reads(small_data: Path, checkpoint: str) -> None:
    """Some peers fail on longer texts, and embedge does so with on_truncate="error"."""
    corpus = small_data / "in/data/cranfield/corpus.jsonl"
    first = json.dumps({"_id": "d0", "title": "", "text": "the cat " * 99})
    corpus.write_text("\n".join([first, *corpus.read_text().splitlines()[1:]]))
    arguments = ["-m", checkpoint, "--rounds", "1", "--texts", "long", "--long", "2"]
    done = run(throughput.main, *arguments, "--json", str(small_data / "out.json"))
    assert done.exit_code == 0, done.output
    assert json.loads((small_data / "out.json").read_text())["left_out"] == {}


def test_embedge_itself_may_not_be_left_out(small_data: Path) -> None:
    def fail(built: BuiltPeer) -> dict[str, float]:
        raise PeerFailedError("it ended")

    peer, kit = choose([OWN], SPEED_PEERS)[0], Kit(variant="", folder=small_data, pooling="", dimension=1, threads=1)
    comparison = Comparison("", {}, 1, [BuiltPeer(peer, kit)], {}, small_data)
    with pytest.raises(click.ClickException, match="it ended"):
        comparison.run_rounds(1, fail)


def test_growth_end_to_end_in_small(small_data: Path, checkpoint: str) -> None:
    out = small_data / "out.json"
    small = "--rounds 1 --most 100 --stream 20 --documents 9 --threads 1".split()
    done = CliRunner().invoke(scaling.main, ["-m", checkpoint, *small, "--json", str(out)])
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    assert list(result["by_count"]) == ["100"]
    assert len(result["resident"]) == 10
    assert result["peak"] > 10_000_000


def test_the_multiply_adds_of_bge_base_are_those_of_its_weights() -> None:
    """Published: bge-base's encoder has 85 M parameters, of which 84.9 M are weights of linear layers."""
    config = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    assert roofline.multiply_adds(config, 1) == 12 * (4 * 768**2 + 2 * 768 * 3072) == 84_934_656


@pytest.mark.parametrize("command", [throughput.main, latency.main, cold_start.main, roofline.main])
def test_a_peer_that_is_not_there_is_an_error_in_one_line(command: click.Command) -> None:
    done = CliRunner().invoke(command, ["--peers", "nobody"])
    assert done.exit_code == 1
    assert "no row is called 'nobody'" in done.output
