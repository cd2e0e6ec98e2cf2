"""The memory that embedding takes: bge-small's shape in int8 fits a board with 512 MB, with room for the rest."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from embedge import Bundle

_PROGRAM = Path(__file__).parents[1] / "emulated" / "memory.py"
_MB = 1_000_000
# The limit on private writable memory, touched or not (RLIMIT_DATA, Linux 4.7 and later), and on each step's resident
# memory. Measured with two cores: 207 MB, and 77, 107, 164 and 167 MB.
_DATA = 280 * _MB
_RESIDENT = {"load": 95, "one query": 130, "1,000 short texts": 205, "32 texts of 512 tokens": 210}
# RLIMIT_DATA is set in the process itself, not by preexec_fn, which is not safe when threads run.
_LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]),) * 2)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def bge_small(data: Path, export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of bge-small's shape with seeded weights. Memory does not depend on their values.

    Calibrated with as few texts as an export accepts, to be fast.
    """
    from benchmarks.data.seeded import write_seeded
    from embedge_export.int8.calibration_texts import MIN_TEXTS

    folder = tmp_path_factory.mktemp("bge-small")
    checkpoint = write_seeded("small", data / "bge-small-en-v1.5", folder / "checkpoint")
    texts = folder / "texts.txt"
    texts.write_text("".join(f"text number {number}\n" for number in range(MIN_TEXTS)), encoding="utf-8")
    return export(checkpoint, folder / "bundle", like="bge-small-en-v1.5", verify=False, calibration=texts).path


def _run(limit: int, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _LIMITED, str(limit), str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_bge_small_fits_a_board_of_512_mb(bge_small: Path) -> None:
    done = _run(_DATA, _PROGRAM, str(bge_small), "2")
    assert done.returncode == 0, done.stderr
    steps = {step.pop("step"): step for step in map(json.loads, done.stdout.splitlines())}
    assert {name: steps[name]["resident"] <= most * _MB for name, most in _RESIDENT.items()} == dict.fromkeys(
        _RESIDENT, True
    ), steps
    assert max(step["peak"] for step in steps.values()) <= max(_RESIDENT.values()) * _MB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_limit_on_memory_is_in_force(tmp_path: Path) -> None:
    """Else the test above would hold nothing. It loads no numpy, whose OpenBLAS 1.26 would try for ever."""
    program = tmp_path / "program.py"
    program.write_text("import sys; bytearray(int(sys.argv[1]))")
    assert _run(_DATA, program, str(_DATA // 2)).returncode == 0
    assert "MemoryError" in _run(_DATA, program, str(2 * _DATA)).stderr
