"""Cases: graphs with inputs, which a process of its own runs on one instruction set."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tests.kernels.run_cases import LIBRARY_FAILED, open_session

if TYPE_CHECKING:  # it imports onnx, which no case needs
    from tests.kernels.graphs import Graph

Array = NDArray[Any]
OnEverySet = Callable[[Sequence["Case"]], dict[str, "Results"]]

_RUNNER = Path(__file__).with_name("run_cases.py")


class RegistrationError(Exception):
    """ONNX Runtime did not register the library; the message is the library's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A graph, what it is fed, and on how many threads it runs."""

    graph: "Graph"
    inputs: Mapping[str, Array]
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What runs cases: a Python, perhaps on an emulator, and the library that it loads."""

    library: Path
    python: Sequence[str] = (sys.executable,)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """An array or the text of an error for each case, and the instruction sets: in use, and those that can run."""

    outputs: list[Array | str]
    instruction_set: str
    instruction_sets: list[str]


def write_cases(cases: Sequence[Case], folder: Path) -> None:
    """Write cases for run_cases.py; each graph once."""
    models: dict[int, str] = {}
    table = []
    for number, case in enumerate(cases):
        if id(case.graph) not in models:
            models[id(case.graph)] = f"model_{len(models)}.onnx"
            (folder / models[id(case.graph)]).write_bytes(case.graph.model())
        np.savez(folder / f"inputs_{number}.npz", **case.inputs)  # type: ignore[arg-type]
        row = {"name": str(number), "model": models[id(case.graph)], "inputs": f"inputs_{number}.npz"}
        table.append(row | {"threads": case.threads})
    (folder / "cases.json").write_text(json.dumps(table))


def run(cases: Sequence[Case], program: Program, instruction_set: str | None = None) -> Results:
    """Run cases in a process of its own, on the set of that name or on the library's choice.

    Raises:
        RegistrationError: the library refuses, for example a set that the processor cannot run.
        subprocess.CalledProcessError: the process failed; a sanitiser's report is on stderr.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EMBEDGE_KERNELS")}
    environment |= program.environment
    if instruction_set is not None:
        environment["EMBEDGE_KERNELS_ISA"] = instruction_set
    with tempfile.TemporaryDirectory() as given, tempfile.TemporaryDirectory() as got:
        write_cases(cases, Path(given))
        command = [*program.python, str(_RUNNER), str(program.library), given, got]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == LIBRARY_FAILED:
            raise RegistrationError(done.stderr.strip())
        if done.returncode:
            sys.stderr.write(done.stderr)
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        outputs = [_read(Path(got), number) for number in range(len(cases))]
    used, able = done.stdout.splitlines()[:2]
    return Results(outputs=outputs, instruction_set=used, instruction_sets=able.split(","))


def run_here(case: Case, library: Path) -> Array:
    """Run one case in this process, on the set that the library chose; raise what ONNX Runtime raises."""
    output: Array = open_session(str(library), case.graph.model(), case.threads).run(None, dict(case.inputs))[0]
    return output


def same_bits(first: Array | str, second: Array | str) -> bool:
    """Whether two results are the same to the last bit. Any NaN is like another: processors disagree on its sign."""
    if isinstance(first, str) or isinstance(second, str):
        return isinstance(first, str) and isinstance(second, str) and first == second
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    missing = np.isnan(first)
    if not np.array_equal(missing, np.isnan(second)):
        return False
    return bool(np.array_equal(first[~missing].view(np.uint32), second[~missing].view(np.uint32)))


def _read(folder: Path, number: int) -> Array | str:
    error = folder / f"{number}.txt"
    if error.exists():
        return error.read_text()
    found: Array = np.load(folder / f"{number}.npy")
    return found
