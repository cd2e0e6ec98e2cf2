"""Which instruction set the library takes, and how one is forced."""

from collections.abc import Sequence

import pytest

from tests.kernels.cases import Program, RegistrationError, run

KNOWN = ["amx", "avx512_vnni", "avx_vnni", "avx2", "neon_i8mm", "neon_dotprod", "neon", "scalar"]


def test_the_best_set_is_taken(program: Program) -> None:
    found = run([], program)
    assert found.instruction_set == found.instruction_sets[0]


def test_sets_are_listed_best_first_and_scalar_is_always_there(instruction_sets: Sequence[str]) -> None:
    assert instruction_sets == [name for name in KNOWN if name in instruction_sets]
    assert instruction_sets[-1] == "scalar"


def test_a_set_can_be_forced(program: Program, instruction_sets: Sequence[str]) -> None:
    for name in instruction_sets:
        assert run([], program, name).instruction_set == name


def test_a_set_that_the_processor_cannot_run_is_an_error(program: Program, instruction_sets: Sequence[str]) -> None:
    for name in set(KNOWN) - set(instruction_sets):
        with pytest.raises(RegistrationError, match=name):
            run([], program, name)


@pytest.mark.parametrize("name", ["AVX2", "sse9", "avx2,scalar", " scalar", "avx"])
def test_an_unknown_set_is_an_error(name: str, program: Program) -> None:
    with pytest.raises(RegistrationError) as caught:
        run([], program, name)
    assert f"EMBEDGE_KERNELS_ISA is {name}" in str(caught.value)


def test_an_empty_name_forces_nothing(program: Program, instruction_sets: Sequence[str]) -> None:
    assert run([], program, "").instruction_set == instruction_sets[0]
