"""memory.py: the memory that is left, and whether a model fits."""

from dataclasses import replace
from pathlib import Path

import pytest

from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import read_checkpoint
from embedge_export.verify.memory import available_memory, fits, needed_memory


def folders(folder: Path, *, available_kb: int | None, limit: str | None) -> tuple[Path, Path]:
    proc, group = folder / "proc", folder / "group"
    proc.mkdir()
    group.mkdir()
    if available_kb is not None:
        (proc / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:    {available_kb} kB\n")
    if limit is not None:
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text("1000\n")
    return proc, group


@pytest.mark.parametrize(
    ("available_kb", "limit", "expected"),
    [
        (10, None, 10_240),
        (10, "max", 10_240),
        (10, "5000", 4_000),
        (10, "500000", 10_240),
        (10, "900", 1),
        (None, "5000", 4_000),
        (None, None, None),
    ],
)
def test_the_tightest_limit_holds(tmp_path: Path, available_kb: int | None, limit: str | None, expected: int) -> None:
    assert available_memory(*folders(tmp_path, available_kb=available_kb, limit=limit)) == expected


def test_a_checkpoint_in_half_precision_takes_twice_its_size(tiny_checkpoint: Path) -> None:
    checkpoint = read_checkpoint(fetch(str(tiny_checkpoint), cache=tiny_checkpoint, local_files_only=True))
    stored = sum(path.stat().st_size for path in checkpoint.weights)
    needed = needed_memory(checkpoint)
    assert needed - stored == 1_000_000_000
    half = replace(checkpoint, config={**checkpoint.config, "torch_dtype": "float16"})
    assert needed_memory(half) - needed == stored
    assert fits(checkpoint, available=needed)
    assert not fits(checkpoint, available=needed - 1)
    assert fits(checkpoint, available=None)
