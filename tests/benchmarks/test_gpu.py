"""The GPU benchmark, on the CPU: the whole program in small, its planner, and memory by a stand-in for nvidia-smi."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import gpu
from benchmarks.measure.device_memory import DeviceMemoryError, MemoryGrowth, read_device, used_memory
from benchmarks.measure.gpu_sweep import BUDGETS, MULTIPLES, plan_padded
from benchmarks.measure.metrics import cosines
from benchmarks.peers.table import GPU_PEERS, choose
from benchmarks.peers.workbench import open_workbench

SetMemory = Callable[[str], None]


@pytest.fixture
def checkpoint(make_checkpoint: Callable[..., Path]) -> str:
    return str(make_checkpoint(pooling="mean"))


def test_the_whole_program_on_a_cpu(small_data: Path, checkpoint: str) -> None:
    pytest.importorskip("sentence_transformers")
    out = small_data / "out.json"
    small = "--device cpu --rounds 2 --short 5 --long 4 --mixed 20 --threads 1".split()
    done = CliRunner().invoke(gpu.main, ["-m", checkpoint, *small, "--json", str(out)])
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    names = {peer.name for peer in GPU_PEERS}
    assert list(result["figures"]) == ["short", "long", "query"]
    for figures in result["figures"].values():
        assert set(figures["values"]) == names
        assert figures["times_better"][gpu.OWN] == 1
        assert {len(values) for name, values in figures["values"].items() if name != gpu.OWN} == {2}
        assert all(value > 0 for values in figures["values"].values() for value in values)
    for name, start in result["starts"].items():
        assert start["load_seconds"] > 0
        assert start["first_ms"] > 0
        is_own = name.startswith("embedge")
        assert all(batch is None if is_own else batch in (32, 128, 512) for batch in start["batch"].values())
    assert result["mixed"]["texts"] == 20
    assert len(result["mixed"]["memory"]) == 10
    assert result["device"]["name"] == "CPU"
    assert result["left_out"] == {}
    assert "tiny on CPU" in done.output
    assert "memory along 20 mixed texts" in done.output
    memory = result["mixed"]["memory"]
    assert f"growth over the second half, MB: {(memory[9] - memory[4]) / 1e6:.0f}" in done.output


def test_sentence_transformers_computes_in_the_type_of_its_row(checkpoint: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("sentence_transformers")
    texts, vectors = ["the cat sat", "a dog ran far away", "bake bread"], {}
    with open_workbench(checkpoint, like=None, threads=1) as bench:
        for peer in choose(["embedge-fp32", "sentence-transformers-*"], GPU_PEERS):
            peer.build(bench)
            encoder: Any = peer.load(bench.kit(peer.variant))
            vectors[peer.variant] = encoder.encode(texts, 2)
            if peer.module == "sentence_transformers":
                assert {one.dtype for one in encoder.model.parameters()} == {getattr(torch, peer.variant)}
    fp32 = vectors.pop("fp32")
    for found, least in ((vectors["float16"], 0.9999), (vectors["bfloat16"], 0.99)):
        assert found.dtype == np.float32
        assert least < cosines(found, fp32).min() < 1 - 1e-9


def test_the_sweep_on_a_cpu(small_data: Path, checkpoint: str) -> None:
    out = small_data / "out.json"
    small = "--device cpu --sweep --rounds 1 --short 5 --long 4 --threads 1".split()
    done = CliRunner().invoke(gpu.main, ["-m", checkpoint, *small, "--json", str(out)])
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    assert [budget["tokens"] for budget in result["budgets"]] == [None, *BUDGETS]
    assert len(result["paddings"]) == len(BUDGETS) * len(MULTIPLES)
    for row in (*result["budgets"], *result["paddings"]):
        assert all(rate > 0 for rates in row["texts_per_second"].values() for rate in rates)
    assert all(padded >= 1 for padding in result["paddings"] for padded in padding["padded"].values())
    assert "embedge, batch_tokens" in done.output


def test_a_trial_on_the_cpu_is_not_a_result() -> None:
    file = Path(gpu.__file__).parent / "results" / "gpu-bge-small.json"
    done = CliRunner().invoke(gpu.main, ["--device", "cpu", "--json", str(file)])
    assert done.exit_code == 2
    assert "no result" in done.output


def test_a_card_that_is_not_there_ends_the_program_in_one_line(small_data: Path, checkpoint: str) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    done = CliRunner().invoke(gpu.main, ["-m", checkpoint, "--short", "2", "--long", "2"])
    assert done.exit_code == 1
    last = done.output.strip().splitlines()[-1]
    assert last.startswith("Error: embedge-fp")
    assert "CUDA" in last or "cuda" in last


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(40, 200), st.sampled_from((1, 8, 32)))
def test_a_padded_plan_has_every_text_once_within_the_budget(counts: list[int], tokens: int, multiple: int) -> None:
    ids = [[number] * count for number, count in enumerate(counts, 1)]
    batches = plan_padded(ids, tokens, multiple)
    found = []
    for padded, mask in batches:
        assert padded.shape[1] % multiple == 0
        assert len(padded) == 1 or padded.size <= tokens
        assert padded.shape[1] - mask.sum(axis=1).max() < multiple
        assert (padded[mask == 0] == 0).all()
        found += [row[kept == 1].tolist() for row, kept in zip(padded, mask, strict=True)]
    assert sorted(found) == sorted(ids)


def test_mixed_texts_are_short_and_long_and_other_ones_in_each_part() -> None:
    texts = {"short": ["a cat"], "long": [" ".join(map(str, range(200)))]}
    first, second = (gpu.mixed_texts(texts, 1000, seed=seed) for seed in (0, 1))
    assert first != second
    assert first.count("a cat") == 500
    lengths = [len(text.split()) for text in first if text != "a cat"]
    assert (min(lengths), max(lengths)) == pytest.approx((1, 200), abs=10)
    assert np.mean(lengths) == pytest.approx(100, abs=10)
    assert first == gpu.mixed_texts(texts, 1000, seed=0)


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetMemory:
    """A program of that name first on the path; the returned function sets the memory that it says is free."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(
        f"""#!/bin/sh
case "$*" in
    --query-gpu=index,name,memory.total,memory.free,driver_version*) ;;
    *) exit 6 ;;
esac
echo "0, NVIDIA L4, 23034, 512, 570.86.15"
echo "1, NVIDIA H100 80GB HBM3, 81559, $(cat {folder}/free), 570.86.15"
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def set_memory(free: str) -> None:
        (folder / "new").write_text(free)
        (folder / "new").replace(folder / "free")

    set_memory("81059")
    return set_memory


def test_a_card_is_described_by_nvidia_smi(nvidia_smi: SetMemory) -> None:
    card = read_device("cuda:1")
    assert (card.name, card.driver, card.memory) == ("NVIDIA H100 80GB HBM3", "570.86.15", 81559 * 2**20)
    assert used_memory("cuda:1") == 500 * 2**20
    assert used_memory("cuda") == (23034 - 512) * 2**20
    with pytest.raises(DeviceMemoryError, match="nvidia-smi lists no card 2"):
        used_memory("cuda:2")


def test_growth_has_a_peak_that_nobody_asked_for(nvidia_smi: SetMemory) -> None:
    with MemoryGrowth("cuda:1") as memory:
        nvidia_smi("80659")
        end = time.monotonic() + 30
        while not memory.peak and time.monotonic() < end:
            time.sleep(0.01)
        nvidia_smi("80959")
        assert memory.now() == 100 * 2**20
    assert memory.peak == 400 * 2**20


def test_memory_that_is_not_told_is_not_measured(nvidia_smi: SetMemory) -> None:
    """A slice of a card (MIG) has no memory of its own."""
    nvidia_smi("[N/A]")
    assert (
        read_device("cuda:1").measured == "not measured: nvidia-smi does not tell the memory of NVIDIA H100 80GB HBM3"
    )
    with MemoryGrowth("cuda:1") as memory:
        assert memory.now() is None
    assert memory.peak is None


def test_without_nvidia_smi_memory_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_device("cuda").measured.startswith("not measured: none: nvidia-smi, which comes with ")
