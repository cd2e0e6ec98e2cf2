"""ARM's instruction sets compute the bits of scalar code, and those are the bits of this processor. QEMU emulates ARM.

kernels/tests/compare_sets.cpp makes the comparison, without ONNX Runtime.
"""

import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "kernels"
COMPILER = "aarch64-linux-gnu-g++"
RANDOM_LAYERS = "4"

# The instruction sets of each processor, best first.
PROCESSORS = {
    "cortex-a53": ["neon", "scalar"],
    "cortex-a76": ["neon_dotprod", "neon", "scalar"],
    "neoverse-n1": ["neon_dotprod", "neon", "scalar"],
    "max": ["neon_i8mm", "neon_dotprod", "neon", "scalar"],
}


def _build(folder: Path, *options: str) -> Path:
    configure = ["cmake", "-S", str(KERNELS), "-B", str(folder), "-DEMBEDGE_KERNELS_COMPARE=ON", *options]
    for command in (configure, ["cmake", "--build", str(folder), "--target", "compare_sets", "--parallel", "2"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "compare_sets"


def _compare(*command: str) -> tuple[list[str], list[str]]:
    """Return the instruction sets that agree, best first, and a line with a digest for each operator."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    first, *digests = done.stdout.splitlines()
    assert len(digests) == 4
    return first.removeprefix("instruction sets: ").split(), digests


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program for this processor."""
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake")
    return _build(tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program for ARM, linked statically."""
    for tool in ("cmake", COMPILER, "qemu-aarch64"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    target = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_CXX_COMPILER={COMPILER}"]
    return _build(tmp_path_factory.mktemp("arm"), *target, "-DCMAKE_EXE_LINKER_FLAGS=-static")


@pytest.fixture(scope="module")
def digests(here: Path) -> list[str]:
    """Return the digests of this processor; all of its instruction sets agree."""
    sets, found = _compare(str(here), RANDOM_LAYERS)
    assert sets[-1] == "scalar"
    assert len(sets) > 1 or platform.machine() not in {"x86_64", "aarch64", "arm64"}
    return found


@pytest.mark.parametrize(("cpu", "sets"), PROCESSORS.items())
def test_arm_computes_the_bits_of_this_processor(cpu: str, sets: Sequence[str], arm: Path, digests: list[str]) -> None:
    found, digests_of_arm = _compare("qemu-aarch64", "-cpu", cpu, str(arm), RANDOM_LAYERS)
    assert found == sets
    assert digests_of_arm == digests


def test_digests_change_with_the_arguments(here: Path, digests: list[str]) -> None:
    _, others = _compare(str(here), RANDOM_LAYERS, "18")
    assert not set(others) & set(digests)
