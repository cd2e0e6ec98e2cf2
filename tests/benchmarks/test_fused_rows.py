"""The rows of embedge's fused kernels, and of OpenVINO in its own precision: chosen, forced, and said if left out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import cold_start, instruction_sets, operators, throughput
from benchmarks.measure import kernels
from benchmarks.peers import table
from benchmarks.peers.process import PeerProcess, child_environment
from benchmarks.peers.table import FORCE, OWN, SPEED_PEERS, choose, fused_peer
from benchmarks.peers.workbench import open_workbench

MakeCheckpoint = Callable[..., Path]
SMALL = ("--rounds", "1", "--short", "2", "--long", "2", "--texts", "short", "--peers", OWN)


@pytest.fixture
def checkpoint(make_checkpoint: MakeCheckpoint) -> str:
    """The kernels need sides that are multiples of 64, and heads of 32 or 64."""
    config = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}
    return str(make_checkpoint(pooling="mean", config=config))


def run(*arguments: str) -> Any:
    return CliRunner().invoke(throughput.main, [*SMALL, *arguments])


def test_a_forced_row_sets_the_variable_in_its_processes_only() -> None:
    assert child_environment(fused_peer("avx512_vnni"))[FORCE] == "avx512_vnni"
    assert FORCE not in child_environment(fused_peer())
    (plain,) = choose([OWN], SPEED_PEERS)
    assert child_environment(plain)["EMBEDGE_KERNELS"] == "off"


def test_a_forced_row_is_said_to_be_left_out_where_the_kernels_are_not_installed(
    small_data: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "KERNELS", "no_such_kernels")
    out = small_data / "out.json"
    done = run("-m", checkpoint, "--instruction-set", "avx2", "--json", str(out))
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    assert list(result["figures"]["short"]["values"]) == [OWN]
    assert result["left_out"] == {
        "embedge-int8-fused-avx2": "not installed: no_such_kernels; `pip install ./kernels` installs it"
    }


@pytest.mark.parametrize("command", [throughput.main, cold_start.main])
def test_a_baseline_that_is_not_installed_is_an_error_in_one_line(
    small_data: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    monkeypatch.setattr(table, "KERNELS", "no_such_kernels")
    name = "embedge-int8-fused-neon"
    chosen = ["--instruction-set", "neon", "--baseline", name, "--peers", OWN]
    done = CliRunner().invoke(command, ["-m", checkpoint, "--rounds", "1", *chosen])
    assert done.exit_code == 1
    assert f"{name}: not installed: no_such_kernels; `pip install ./kernels`" in done.output


def test_all_figures_are_compared_with_the_baseline(small_data: Path, checkpoint: str) -> None:
    """The reference is embedge-fp32 here, which needs no kernels."""
    out = small_data / "out.json"
    done = run("-m", checkpoint, "--baseline", "embedge-fp32", "--json", str(out))
    assert done.exit_code == 0, done.output
    better = json.loads(out.read_text())["figures"]["short"]["times_better"]
    assert better["embedge-fp32"] == 1
    assert set(better) == {OWN, "embedge-fp32"}


def test_each_instruction_set_gives_the_same_vectors_in_a_process_of_its_own(checkpoint: str, tmp_path: Path) -> None:
    pytest.importorskip("embedge_kernels", reason="embedge-kernels is not installed")
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps(["the cat sat", "a dog ran far away", "bake bread"]))
    vectors = {}
    with open_workbench(checkpoint, like=None, threads=2) as bench:
        for peer in (fused_peer(), *map(fused_peer, kernels.instruction_sets()), choose([OWN], SPEED_PEERS)[0]):
            peer.build(bench)
            with PeerProcess(peer, bench.kit(peer.variant)) as process:
                process.ask("vectors", texts=str(texts), to=str(tmp_path / "out.npy"))
            vectors[peer.name] = np.load(tmp_path / "out.npy")
    plain = vectors.pop(OWN)
    first = vectors["embedge-int8-fused"]
    assert len(vectors) > 1
    assert all(np.array_equal(first, found) for found in vectors.values())
    assert not np.array_equal(first, plain)  # else the plain graph ran twice
    assert (first * plain).sum(axis=1).mean() > 0.999


def test_an_unknown_instruction_set_ends_the_process(checkpoint: str) -> None:
    pytest.importorskip("embedge_kernels", reason="embedge-kernels is not installed")
    from benchmarks.peers.process import PeerFailedError

    peer = fused_peer("nonsense")
    with open_workbench(checkpoint, like=None, threads=1) as bench:
        peer.build(bench)
        with pytest.raises(PeerFailedError, match="nonsense"):
            PeerProcess(peer, bench.kit(peer.variant))


@pytest.mark.parametrize("variant", ["int8", "int8-auto", "int8-tuned", "int8-auto-tuned"])
def test_openvino_computes_in_float32_or_as_it_chooses(variant: str, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    from benchmarks.peers.base import Kit
    from benchmarks.peers.openvino import load

    ids = openvino.opset15.parameter([-1, -1], np.int64, "input_ids")
    wide = openvino.opset15.unsqueeze(openvino.opset15.convert(ids, "f32"), np.int64(2))
    wide.output(0).set_names({"last_hidden_state"})
    openvino.save_model(openvino.Model([wide], [ids]), str(tmp_path / "openvino-int8.xml"), compress_to_fp16=False)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}')
    encoder: Any = load(Kit(variant=variant, folder=tmp_path, pooling="cls", dimension=1, threads=1))
    found = encoder.run._graph.get_property("INFERENCE_PRECISION_HINT")
    chosen = openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    assert found == (chosen if "auto" in variant else openvino.Type.f32)


def test_the_profile_says_that_there_are_no_kernels(
    small_data: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "KERNELS", "no_such_kernels")
    out = small_data / "out.json"
    done = CliRunner().invoke(operators.main, ["-m", checkpoint, "--runs", "1", "--json", str(out)])
    assert done.exit_code == 0, done.output
    assert kernels.MISSING in done.output
    result = json.loads(out.read_text())
    assert result["fused"] is None
    assert all("MatMulIntegerToFloat" in times for times in result["milliseconds"].values())
    done = CliRunner().invoke(instruction_sets.main, ["-m", checkpoint])
    assert done.exit_code == 1
    assert kernels.MISSING in done.output


def test_the_profile_of_the_fused_graph_has_its_operators(small_data: Path, checkpoint: str) -> None:
    pytest.importorskip("embedge_kernels", reason="embedge-kernels is not installed")
    out = small_data / "out.json"
    done = CliRunner().invoke(operators.main, ["-m", checkpoint, "--runs", "1", "--json", str(out)])
    assert done.exit_code == 0, done.output
    fused = json.loads(out.read_text())["fused"]
    assert all({"EmbedLayerNorm", "EncoderLayer"} <= set(times) for times in fused.values())


def test_instruction_sets_end_to_end_in_small(small_data: Path, checkpoint: str) -> None:
    pytest.importorskip("embedge_kernels", reason="embedge-kernels is not installed")
    out = small_data / "out.json"
    done = CliRunner().invoke(instruction_sets.main, ["-m", checkpoint, "--rounds", "2", "--json", str(out)])
    assert done.exit_code == 0, done.output
    timings = json.loads(out.read_text())["timings"]
    assert tuple(timings) == kernels.instruction_sets()
    assert len({timing["checksum"] for timing in timings.values()}) == 1
    for timing in timings.values():
        assert timing["gops"] > 0
        assert all(len(times) == 2 for graphs in timing["milliseconds"].values() for times in graphs.values())
    done = CliRunner().invoke(instruction_sets.main, ["-m", checkpoint, "--only", "neon", "--only", "avx2"])
    assert ("neon: " in done.output) != ("avx2: " in done.output.replace("avx2: running", ""))  # one of two cannot run


def test_outputs_that_differ_are_said() -> None:
    def timing(checksum: int) -> instruction_sets.Timing:
        return instruction_sets.Timing(milliseconds={}, gops=1.0, checksum=checksum)

    same = {"avx2": timing(5), "scalar": timing(5)}
    assert instruction_sets._compare_outputs(same) == "the outputs of avx2, scalar are bitwise equal"
    assert instruction_sets._compare_outputs(same | {"neon": timing(6)}) == "the outputs differ: avx2, scalar | neon"
