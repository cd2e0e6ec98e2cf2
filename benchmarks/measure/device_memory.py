"""The device of a benchmark, and the memory in use there: of a card by nvidia-smi, of a machine by /proc/meminfo."""

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from embedge.command.graphics_card import Card, find_cards

_MEBIBYTE = 2**20
_PAUSE = 0.05  # seconds between two samples


class DeviceMemoryError(Exception):
    """nvidia-smi is not there, fails, or does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where all peers of a result ran.

    Attributes:
        name: the name of the card, or ``CPU``.
        driver: the version of the card's driver; None on a CPU.
        memory: bytes of the card's memory; None on a CPU.
        measured: how memory is measured, or why it is not.
    """

    name: str
    driver: str | None
    memory: int | None
    measured: str


def read_device(device: str) -> Device:
    """Describe the device ``cpu``, ``cuda`` or ``cuda:N``."""
    if device == "cpu":
        used = "/proc/meminfo: the growth of what the whole machine uses"
        return Device(name="CPU", driver=None, memory=None, measured=used)
    try:
        card = _card(device)
        used_memory(device)
    except DeviceMemoryError as error:
        return Device(name="unknown card", driver=None, memory=None, measured=f"not measured: {error}")
    used = "nvidia-smi: the growth of the card's memory that is not free since before the process started"
    memory = None if card.memory is None else card.memory * _MEBIBYTE
    return Device(name=card.name, driver=card.driver, memory=memory, measured=used)


def used_memory(device: str) -> int:
    """The bytes in use on a device, by all processes and, on a card, by its driver.

    Raises:
        DeviceMemoryError: nvidia-smi is not there, fails, or does not tell.
    """
    if device == "cpu":
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = {key: int(value.split()[0]) for key, _, value in (line.partition(":") for line in lines)}
        return (kilobytes["MemTotal"] - kilobytes["MemAvailable"]) * 1024
    card = _card(device)
    if card.memory is None or card.free is None:  # a slice of a card (MIG) has "[N/A]"
        raise DeviceMemoryError(f"nvidia-smi does not tell the memory of {card.name}")
    return (card.memory - card.free) * _MEBIBYTE


def _card(device: str) -> Card:
    """The card of ``cuda`` or ``cuda:N``; raises DeviceMemoryError if there is none."""
    number = device.partition(":")[2] or "0"
    cards, note = find_cards()
    for card in cards:
        if card.index == number:
            return card
    raise DeviceMemoryError(note or f"nvidia-smi lists no card {number}")


class MemoryGrowth:
    """The growth of the memory in use on a device, since this object was made: make it before the process starts.

    As a context manager, it samples the growth in a thread. Do not measure times meanwhile, because nvidia-smi may hold
    up the card's driver.

    Attributes:
        peak: the largest growth that was seen, in bytes; None if the device does not tell.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._before: int | None = None
        with suppress(DeviceMemoryError):
            self._before = used_memory(device)
        self.peak: int | None = None if self._before is None else 0

    def now(self) -> int | None:
        """The growth in bytes at this moment; None if the device does not tell."""
        if self._before is None:
            return None
        growth = used_memory(self._device) - self._before
        with self._lock:
            self.peak = max(self.peak or 0, growth)
        return growth

    def __enter__(self) -> Self:
        if self._before is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._before is not None:
            self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(_PAUSE):
            with suppress(DeviceMemoryError):
                self.now()
