"""The library that is tested: the one that is installed, or the file that $EMBEDGE_KERNELS_LIBRARY names."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.kernels.cases import Case, OnEverySet, Program, Results, run


def _library() -> Path | None:
    named = os.environ.get("EMBEDGE_KERNELS_LIBRARY")
    if named:
        return Path(named).resolve(strict=True)
    if find_spec("embedge_kernels") is None:
        return None
    from embedge_kernels import library_path

    return library_path()


@pytest.fixture(scope="session")
def library() -> Path:
    """The path of the library; skips where embedge-kernels is not installed."""
    found = _library()
    if found is None:
        pytest.skip("needs embedge-kernels; `pip install ./kernels` builds it")
    return found


@pytest.fixture(scope="session")
def program(library: Path) -> Program:
    """This Python, which loads the library."""
    return Program(library=library)


@pytest.fixture(scope="session")
def instruction_sets(program: Program) -> Sequence[str]:
    """Those that this processor can run, best first."""
    return run([], program).instruction_sets


@pytest.fixture(scope="session")
def on_every_set(program: Program, instruction_sets: Sequence[str]) -> OnEverySet:
    """Runs cases on every instruction set; returns the results by its name."""

    def run_on_every_set(cases: Sequence[Case]) -> dict[str, Results]:
        return {name: run(cases, program, name) for name in instruction_sets}

    return run_on_every_set
