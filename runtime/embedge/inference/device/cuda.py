"""What CUDA needs before a session: a driver, a card, and CUDA's libraries. What is missing is an error of one line.

Without these, ONNX Runtime prints red lines to stderr and opens the session on the CPU. So they are looked for before.
The provider's own library is not loaded for that: it must not be loaded before ONNX Runtime has set up what it calls.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from embedge.errors import ProviderError
from embedge.inference.device.onnxruntime_packages import install_cuda
from embedge.inference.onnxruntime_import import ort
from embedge.inference.providers import CUDA, ON_CPU, Provider

# Its versions from 1.27 on are built for CUDA 13, those before for CUDA 12.
_BEFORE_CUDA_13 = "<1.27"
_DRIVER_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NOT_INITIALIZED, _NO_DEVICE = 3, 100  # of the driver's CUresult


def prepare_cuda(provider: Provider) -> None:
    """Load CUDA's libraries, also those that pip installed, for the sessions of this process.

    Raises:
        ProviderError: there is no driver or none for this CUDA, no such card, or a library is missing.
    """
    driver = _load_driver()
    _check_version(driver)
    _check_card(driver, provider.options.get("device_id", "0"))
    missing = _missing_libraries(_preload())
    if missing:
        raise ProviderError(
            f"{CUDA} cannot start, the CUDA libraries {', '.join(missing)} are missing; run {install_cuda()}"
        )


def _load_driver() -> Any:
    try:
        return ctypes.CDLL(_DRIVER_LIBRARY)
    except OSError as error:
        raise ProviderError(
            f"{CUDA} cannot start, there is no NVIDIA driver here ({error}); install the driver, in a container pass "
            f"`docker run --gpus all`, or {ON_CPU}"
        ) from error


def _check_version(driver: Any) -> None:
    """Raise ProviderError if the driver is too old for the CUDA that this onnxruntime is built with."""
    supported, built = ctypes.c_int(), str(getattr(ort, "cuda_version", "")).partition(".")[0]
    driver.cuDriverGetVersion(ctypes.byref(supported))
    major, minor = supported.value // 1000, supported.value % 1000 // 10
    if built.isdecimal() and major < int(built):
        remedy = f", or run {install_cuda(_BEFORE_CUDA_13)}" if major == 12 else ""
        raise ProviderError(
            f"{CUDA} cannot start, the NVIDIA driver is too old: it supports CUDA {major}.{minor}, and onnxruntime "
            f"{ort.__version__} is built with CUDA {ort.cuda_version}; update the driver{remedy}"
        )


def _check_card(driver: Any, card: str) -> None:
    status, cards = driver.cuInit(0), ctypes.c_int()
    if status == _NOT_INITIALIZED:
        raise in_forked_child()
    driver.cuDeviceGetCount(ctypes.byref(cards))
    if status or not cards.value:
        raise ProviderError(
            f"{CUDA} cannot start, {_no_card(driver, status or _NO_DEVICE)}{_visible()}; run `nvidia-smi` to see the "
            f"cards, or {ON_CPU}"
        )
    if card.isdecimal() and int(card) >= cards.value:
        have = "only card 0" if cards.value == 1 else f"cards 0 to {cards.value - 1}"
        raise ProviderError(
            f"{CUDA} cannot start, there is no card {card}, found {have}{_visible()}; "
            "run `nvidia-smi` to see the cards, and pass device='cuda' for the first one"
        )


def _no_card(driver: Any, status: int) -> str:
    name = ctypes.c_char_p()
    driver.cuGetErrorName(status, ctypes.byref(name))
    code = name.value.decode() if name.value else f"error {status}"
    return f"the NVIDIA driver {'finds no card' if status == _NO_DEVICE else 'does not start'} ({code})"


def _visible() -> str:
    """The environment variable that hides cards, if it is set."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f" with CUDA_VISIBLE_DEVICES={visible!r}"


def in_forked_child() -> ProviderError:
    """Return the error for a forked child, which cannot use CUDA if its parent has used it."""
    return ProviderError(
        f"{CUDA} cannot run in a forked child of a process that has used it; start children with "
        "multiprocessing.get_context('spawn'), or load the model in the child alone"
    )


def _preload() -> list[str]:
    """Load CUDA's libraries from pip's packages or the system, and return the lines that ONNX Runtime prints.

    It prints them to stdout, where JSON lines go. ``contextlib.redirect_stdout`` would take what other threads print,
    too; so this calls a copy of the function whose ``print`` is another one.
    """
    preload = getattr(ort, "preload_dlls", None)
    if not isinstance(preload, FunctionType):
        return []
    lines: list[str] = []

    def note(*values: object) -> None:
        lines.extend(" ".join(map(str, values)).splitlines())

    names = {**preload.__globals__, "print": note}
    quiet: Callable[[], None] = FunctionType(
        preload.__code__, names, argdefs=preload.__defaults__, closure=preload.__closure__
    )
    quiet()
    return lines


def _missing_libraries(lines: list[str]) -> list[str]:
    """Return the names of the libraries that the provider needs and ``_preload`` could not load.

    What pip's packages lack, or cannot load, is looked for in the system by its bare name, and only that counts. ONNX
    Runtime also tries libraries that the provider can do without, such as NVRTC.
    """
    start = "Failed to load "
    failed = [line.removeprefix(start).partition(":")[0] for line in lines if line.startswith(start)]
    return [name for name in failed if not {"/", "\\"} & set(name) and _is_required(name)]


def _is_required(library: str) -> bool:
    """Whether the provider's library names this one in the list of those that it is linked with.

    A linker writes that list near the start of an ELF file (.dynstr), so the first MiB is read; a name further on is
    for ``dlopen``. If the list is elsewhere, nothing is missing here; the session then fails to start, which is an
    error, too.
    """
    windows = sys.platform == "win32"
    name = "onnxruntime_providers_cuda.dll" if windows else "libonnxruntime_providers_cuda.so"
    try:
        with (Path(ort.__file__).parent / "capi" / name).open("rb") as file:
            return library.encode() + b"\0" in file.read(-1 if windows else 1 << 20)
    except OSError:
        return False
