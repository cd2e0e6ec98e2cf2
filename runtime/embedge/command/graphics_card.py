"""The NVIDIA cards of this machine, as nvidia-smi reports them. Of embedge, only `embedge info` imports this module."""

import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass

from embedge.inference.device.onnxruntime_packages import install_cuda

# A card that sleeps (without NVIDIA's persistence daemon) takes a second or two to wake; a driver that hangs never
# answers.
TIME_LIMIT = 10.0  # seconds
_FIELDS = "index,name,memory.total,memory.free,driver_version"
# The oldest driver for a major version of CUDA, Linux and Windows alike, by NVIDIA's table of minor version
# compatibility: https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
_OLDEST_DRIVER = {12: 525, 13: 580}


@dataclass(frozen=True, slots=True)
class Card:
    """One card.

    Attributes:
        index: its number, in the order of the PCI bus.
        name: such as ``NVIDIA H200``.
        memory: its memory in MiB; None where it has none of its own, as on boards that share the system's.
        free: how much of it no process uses, in MiB.
        driver: the driver's version, such as ``580.65.06``.
    """

    index: str
    name: str
    memory: int | None
    free: int | None
    driver: str

    def __str__(self) -> str:
        parts = (
            self.name,
            f"{self.memory:,} MiB" if self.memory is not None else "memory unknown",
            f"{self.free:,} MiB free" if self.free is not None else "",
            f"driver {self.driver}",
        )
        return ", ".join(filter(None, parts))


def find_cards() -> tuple[tuple[Card, ...], str]:
    """Return the NVIDIA cards, and a note: why there is none, or what else nvidia-smi printed; else ""."""
    program = shutil.which("nvidia-smi")
    if program is None:
        hint = "" if sys.platform == "darwin" else "; in a container, start it with `docker run --gpus all`"
        return (), f"none: nvidia-smi, which comes with NVIDIA's driver, is not on the PATH{hint}"
    try:
        code, output = _run([program, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"])
    except subprocess.TimeoutExpired:
        return (), f"unknown: nvidia-smi did not answer for {TIME_LIMIT:g} s; the driver hangs, restart the machine"
    except OSError as error:
        return (), f"unknown: {program} cannot be run ({error.strerror or error}); install NVIDIA's driver again"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    cards = tuple(card for line in lines if (card := _read(line)))
    other = next((line[:200] for line in lines if not _read(line)), "")
    if code:
        return cards, f"nvidia-smi failed with exit code {code}: {other or 'it printed nothing'}"
    if not cards and not other:
        return (), "none: nvidia-smi lists no card"
    return cards, f"nvidia-smi printed: {other}" if other else ""


def too_old(driver: str, cuda: str) -> str | None:
    """Return what to do if a driver is too old for the CUDA that onnxruntime was built for, such as ``13.0``."""
    major, number = cuda.partition(".")[0], driver.partition(".")[0]
    oldest = _OLDEST_DRIVER.get(int(major)) if major.isdecimal() else None
    if oldest is None or not number.isdecimal() or int(number) >= oldest:
        return None
    with_12 = f", or run {install_cuda('<1.27')}, which has CUDA 12" if int(number) >= _OLDEST_DRIVER[12] else ""
    return f"CUDA {major} needs driver {oldest} or later, found {driver}; update the driver{with_12}"


def _run(command: list[str]) -> tuple[int, str]:
    """Return the exit code and what the command printed. Raise TimeoutExpired after ``TIME_LIMIT``."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output, _ = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        if process.stdout:
            process.stdout.close()
        # subprocess.run would wait without a limit, and a process that hangs in the driver does not die.
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        raise
    return process.returncode, output.decode(errors="replace")


def _read(line: str) -> Card | None:
    """Return the card of one line, ``0, NVIDIA H200, 143771, 143235, 580.65.06``; None for any other text."""
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != len(_FIELDS.split(",")) or not fields[0].isdecimal():
        return None
    index, name, memory, free, driver = fields
    return Card(index, name, _mebibytes(memory), _mebibytes(free), driver)


def _mebibytes(field: str) -> int | None:
    """Return a number; None for ``[N/A]`` and other words in brackets."""
    with suppress(ValueError):
        return int(field)
    return None
