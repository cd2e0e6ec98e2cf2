"""An ARM board: size by `embedge ship`, memory on an emulated board, and time only as far as it can be counted."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.measure.place import CannotRunError, Place, size_of
from benchmarks.measure.python_places import ship

_SCRIPT = Path(__file__).parents[2] / "tests" / "emulated" / "board.py"
_LAST = "one query"  # the step of memory.py after which the first vector is there
_CANNOT = 77  # board.py's exit code where it cannot emulate
_TOKENS = 10  # of a query
# int8 products in a cycle, and Hz. Source: Arm's Software Optimization Guides of the cores; docs/boards.md.
_CORES = {"Cortex-A72 at 1.8 GHz": (8, 1.8e9), "Cortex-A76 at 2.4 GHz": (32, 2.4e9)}


def board(bundle: Path, work: Path) -> Place:
    """What a board needs, and its memory up to the first vector. An emulator's time says nothing of a board's."""
    size = size_of(ship(bundle, work / "app", "folder", "linux-aarch64").path)
    notes = ["time cannot be measured under emulation", counted(bundle)]
    memory = None
    try:
        memory = _emulated_memory(bundle)
        notes.append("memory of an emulated Cortex-A76 with four cores and 512 MB")
    except CannotRunError as error:
        notes.append(f"memory not measured: {error}")
    return Place(sizes={"without the system's Python": size}, memory=memory, notes=tuple(notes))


def counted(bundle: Path) -> str:
    """The least time of a query on one core, if it did nothing but the products of the layers.

    A layer multiplies each token's values with four matrices of hidden x hidden, and two of hidden x intermediate.
    """
    config = json.loads((bundle / "config.json").read_text(encoding="utf-8"))
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    products = _TOKENS * config["num_hidden_layers"] * (4 * hidden**2 + 2 * hidden * intermediate)
    times = (f"{1000 * products / (rate * hertz):.1f} ms on a {name}" for name, (rate, hertz) in _CORES.items())
    return f"counted: a query of {_TOKENS} tokens takes a loaded model at least {' or '.join(times)}"


def _emulated_memory(bundle: Path) -> float:
    """The peak resident bytes up to the first vector, on the board that tests/emulated boots."""
    with subprocess.Popen(
        [sys.executable, str(_SCRIPT), str(bundle)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        try:
            peak = peak_of(process.stdout)
            if peak is not None:
                return peak
            told = (process.stderr.read().strip().splitlines() or ["nothing on stderr"])[-1]
        finally:
            process.send_signal(signal.SIGINT)  # board.py then ends its emulator
            process.communicate()
    raise CannotRunError(
        told if process.returncode == _CANNOT else f"the board did not get to its first vector: {told}"
    )


def peak_of(lines: Iterable[str]) -> float | None:
    """The peak of the lines that memory.py prints up to the first vector; None if they end before.

    VmHWM, the peak, lags behind RSS by some pages, so the largest of both counts.
    """
    largest = 0.0
    for line in lines:
        if line.startswith('{"step"'):
            step = json.loads(line)
            largest = max(largest, float(step["peak"]), float(step["resident"]))
            if step["step"] == _LAST:
                return largest
    return None
