"""Compare the fused kernels' results on emulated processors with those of this one, to the last bit.

python tests/emulated/kernels.py --help
"""

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from debian import CannotEmulateError
from embedge.bundle.cache_paths import cache_home
from machines import CPUS, Cpu, python_on
from tests.kernels.cases import Array, Case, Program, run, same_bits
from tests.kernels.standard_cases import standard_cases

_KERNELS = Path(__file__).resolve().parents[2] / "kernels"
_CANNOT = 77  # as in run.py
_CHOICES = {name: cpu for name, cpu in CPUS.items() if name != "cortex-a72"} | {
    # All that QEMU knows but SME, whose registers Python of Debian 12 does not expect.
    "armv8-max": Cpu(
        architecture="aarch64", model="max,sme=off", about="i8mm", cpuinfo=CPUS["neoverse-n1"].cpuinfo
    ),
}  # fmt: skip


def build(architecture: str, folder: Path) -> Path:
    """Return the path of the library, compiled for an architecture.

    Raises:
        CannotEmulateError: there is no compiler for it here.
    """
    compiler = "c++" if architecture == platform.machine() else f"{architecture}-linux-gnu-g++"
    for tool in ("cmake", "ninja", compiler):
        if shutil.which(tool) is None:
            raise CannotEmulateError(
                f"{tool} is not installed; `apt-get install cmake ninja-build g++-aarch64-linux-gnu`"
            )
    target = [
        "-DCMAKE_SYSTEM_NAME=Linux",
        f"-DCMAKE_SYSTEM_PROCESSOR={architecture}",
        f"-DCMAKE_CXX_COMPILER={compiler}",
    ]
    command = ["cmake", "-S", str(_KERNELS), "-B", str(folder), "-G", "Ninja", *target]
    for step in (command, ["ninja", "-C", str(folder)]):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(step)}\n{done.stdout}{done.stderr}")
    return folder / "libembedge_kernels.so"


def compare(
    cpu: Cpu, library: Path, cases: Sequence[Case], expected: Sequence[Array | str], done: set[tuple[str, str]]
) -> list[str]:
    """Run cases on the instruction sets of an emulated processor; return a line for each set.

    Its best set is always run. Another one runs the same code on QEMU for each processor that has it, so it is run
    once for an architecture: ``done`` has the architectures and sets that were run, and is added to.

    Raises:
        CannotEmulateError: there is no emulator to be had here.
    """
    lines = []
    with python_on(cpu, cache_home() / "emulated") as (python, environment):
        program = Program(library=library, python=python, environment=environment)
        sets = run([], program).instruction_sets
        for name in [sets[0], *(name for name in sets[1:] if (cpu.architecture, name) not in done)]:
            done.add((cpu.architecture, name))
            start = time.perf_counter()
            found = run(cases, program, name).outputs
            equal = sum(same_bits(*pair) for pair in zip(found, expected, strict=True))
            seconds = time.perf_counter() - start
            lines.append(
                f"{name:<14} {equal:>4}/{len(cases)} {seconds:8.0f}" + ("" if equal == len(cases) else "   DIFFERENT")
            )
    return lines


def main() -> int:
    """Print a row for each processor and instruction set; 1 if any differs, 77 if none can be emulated here."""
    options = _options()
    cases = standard_cases(large=options.large)
    made, rows, done = dict[str, Path](), [], set[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as folder:
        try:
            made[platform.machine()] = build(platform.machine(), Path(folder, platform.machine()))
        except CannotEmulateError as error:
            print(f"not emulated: {error}", file=sys.stderr)
            return _CANNOT
        here = run(cases, Program(library=made[platform.machine()]))
        errors = [output for output in here.outputs if isinstance(output, str)]
        if errors:
            raise SystemExit(errors[0])
        print(f"{len(cases)} cases, to the last bit as {here.instruction_set} of this processor", flush=True)
        print(f"{'processor':<12} {'instructions':<14} {'equal':>7} {'seconds':>8}", flush=True)
        for name in options.cpu or _CHOICES:
            cpu = _CHOICES[name]
            try:
                if cpu.architecture not in made:
                    made[cpu.architecture] = build(cpu.architecture, Path(folder, cpu.architecture))
                found = compare(cpu, made[cpu.architecture], cases, here.outputs, done)
            except CannotEmulateError as error:
                print(f"{name:<12} not emulated: {error}", flush=True)
                continue
            rows += found
            print(*(f"{name:<12} {line}" for line in found), sep="\n", flush=True)
    if not rows:
        return _CANNOT
    return 1 if any("DIFFERENT" in row for row in rows) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare the fused kernels on emulated processors with those of this one, bit by bit. The exit "
        f"code is 0 if all agree, 1 if one differs, and {_CANNOT} if no processor can be emulated here.",
        epilog="Processors: " + "; ".join(f"{name} ({cpu.about})" for name, cpu in _CHOICES.items()),
    )
    parser.add_argument(
        "--cpu",
        action="append",
        choices=_CHOICES,
        help="processor to emulate; you can repeat it (default: all)",
    )
    parser.add_argument("--large", action="store_true", help="also layers of the recipes' shapes (slow)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
