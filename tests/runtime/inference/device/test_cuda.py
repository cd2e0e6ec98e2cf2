"""cuda.py: whatever CUDA lacks is an error of one line, before ONNX Runtime prints lines of its own.

The last tests run the real onnxruntime-gpu in a process of its own, with a driver that a C compiler makes here.
"""

import ctypes
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from embedge import Bundle, Embedder, ProviderError, Reranker
from embedge.bundle.manifest import HIDDEN
from embedge.inference.device import cuda
from embedge.inference.providers import CPU, CPU_ONLY, CUDA, Provider
from embedge.inference.session import Session
from embedge.inference.token_batch import TokenBatch


def driver(*, version: int = 13000, status: int = 0, cards: int = 2) -> Any:
    """A stand-in for NVIDIA's driver library, with the functions that are called."""

    def put(pointer: Any, value: Any) -> int:
        pointer._obj.value = value
        return 0

    return SimpleNamespace(
        cuDriverGetVersion=lambda pointer: put(pointer, version),
        cuInit=lambda _: status,
        cuDeviceGetCount=lambda pointer: put(pointer, 0 if status else cards),
        cuGetErrorName=lambda code, pointer: put(pointer, b"CUDA_ERROR_NO_DEVICE" if code == 100 else None),
    )


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Prepare CUDA 13 on a machine with this driver."""

    def prepare(driver: Any, *, card: str | None = None, printed: str = "") -> None:
        def preload_dlls(cuda: bool = True) -> None:
            print(printed)

        monkeypatch.setattr(cuda, "_load_driver", lambda: driver)
        monkeypatch.setattr(onnxruntime, "cuda_version", "13.0", raising=False)
        monkeypatch.setattr(onnxruntime, "preload_dlls", preload_dlls, raising=False)
        cuda.prepare_cuda(Provider(CUDA, {} if card is None else {"device_id": card}))

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return prepare


@pytest.mark.parametrize("card", [None, "0", "1", "no number"])
def test_cuda_that_lacks_nothing_is_no_error(on: Any, card: str | None) -> None:
    """ONNX Runtime itself refuses what is no number."""
    on(driver(), card=card)


@pytest.mark.parametrize("kind", [Embedder, Reranker])
def test_no_driver_is_an_error_before_a_bundle_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, kind: type[Embedder] | type[Reranker]
) -> None:
    """Which would be downloaded, or exported, for nothing: there is no such bundle."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(cuda, "_DRIVER_LIBRARY", "libnosuch.so.1")
    with pytest.raises(ProviderError, match=r"no NVIDIA driver here \(.*libnosuch.*; install the driver"):
        kind("someone/nosuch", device="cuda")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (12080, r'CUDA 12\.8, and onnxruntime .* is built with CUDA 13\.0; update the driver, or run `.*<1\.27"`'),
        (11040, r"CUDA 11\.4, and onnxruntime .* is built with CUDA 13\.0; update the driver"),
    ],
)
def test_an_old_driver_is_an_error(on: Any, version: int, message: str) -> None:
    with pytest.raises(ProviderError, match=rf"driver is too old: it supports {message}$"):
        on(driver(version=version))


def test_a_newer_driver_is_not_too_old(on: Any) -> None:
    on(driver(version=14010))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (driver(status=100), r"the NVIDIA driver finds no card \(CUDA_ERROR_NO_DEVICE\); run `nvidia-smi`"),
        (driver(cards=0), r"the NVIDIA driver finds no card \(CUDA_ERROR_NO_DEVICE\); run `nvidia-smi`"),
        (driver(status=999), r"the NVIDIA driver does not start \(error 999\); run `nvidia-smi`"),
        (driver(status=3), r"a forked child .* start children with multiprocessing\.get_context\('spawn'\)"),
    ],
)
def test_a_driver_without_a_card_is_an_error(on: Any, found: Any, message: str) -> None:
    with pytest.raises(ProviderError, match=message):
        on(found)


def test_a_hidden_card_is_an_error_that_names_what_hides_it(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ProviderError, match=r"\(CUDA_ERROR_NO_DEVICE\) with CUDA_VISIBLE_DEVICES=''; run"):
        on(driver(status=100))


@pytest.mark.parametrize(("cards", "found"), [(1, "only card 0"), (2, "cards 0 to 1"), (8, "cards 0 to 7")])
def test_a_card_that_is_not_there_is_an_error(on: Any, cards: int, found: str) -> None:
    with pytest.raises(ProviderError, match=f"there is no card {cards}, found {found}; .*device='cuda'"):
        on(driver(cards=cards), card=str(cards))


PRINTED = """Failed to load /site-packages/nvidia/cu13/lib/libcublas.so.13: file too short
Failed to load libcublas.so.13: libcublas.so.13: cannot open shared object file: No such file or directory
Failed to load libnvrtc.so.13: libnvrtc.so.13: cannot open shared object file: No such file or directory
Please follow https://onnxruntime.ai/docs/install/#cuda-and-cudnn to install CUDA."""


def test_a_library_that_cuda_needs_is_named_once(
    on: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not one that the provider is not linked with; and stdout, where JSON lines go, stays clean."""
    monkeypatch.setattr(cuda, "_is_required", lambda name: name.startswith("libcublas"))
    with pytest.raises(ProviderError) as caught:
        on(driver(), printed=PRINTED)
    said = str(caught.value).replace("uv pip", "pip")  # as what made this environment
    assert 'the CUDA libraries libcublas.so.13 are missing; run `pip install "onnxruntime-gpu[' in said
    assert capsys.readouterr() == ("", "")


def test_a_library_that_cuda_can_do_without_is_no_error(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_is_required", lambda name: False)
    on(driver(), printed=PRINTED)


_FORKED: list[Session] = []  # inherited by the child


def _run_inherited() -> None:
    _FORKED[0].run(TokenBatch(range(1), np.array([[2, 5, 3]])), HIDDEN)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_of_a_process_that_uses_cuda_gets_an_error(tiny_bundle: Bundle) -> None:
    """At each run, and not a crash. The session itself is on the CPU: there may be no card here."""
    outputs = tiny_bundle.manifest.outputs
    session = Session(tiny_bundle.graph("fp32"), threads=1, providers=CPU_ONLY, outputs=outputs, run_as_is=True)
    session._providers = (Provider(CUDA), *CPU_ONLY)
    _FORKED[:] = [session]
    _run_inherited()  # the parent goes on
    with multiprocessing.get_context("fork").Pool(1) as pool:
        for _ in range(2):
            with pytest.raises(ProviderError, match=r"cannot run in a forked child .*get_context\('spawn'\)"):
                pool.apply_async(_run_inherited).get(timeout=20)
    _run_inherited()


needs_gpu_package = pytest.mark.skipif(
    CUDA not in onnxruntime.get_available_providers() or sys.platform != "linux",
    reason="needs onnxruntime-gpu on Linux",
)


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


FAKE_DRIVER = """
#include <stdlib.h>
static int from(const char *name, int other) { const char *value = getenv(name); return value ? atoi(value) : other; }
int cuInit(unsigned flags) { return from("FAKE_STATUS", 0); }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDriverGetVersion(int *version) { *version = from("FAKE_VERSION", 99000); return 0; }
int cuGetErrorName(int code, const char **name) { *name = "CUDA_ERROR_NO_DEVICE"; return 0; }
int cuTensorMapEncodeTiled(void) { return 801; }
"""


@pytest.fixture(scope="module")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libcuda.so.1 that has no card behind it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler, cc")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "cuda.c").write_text(FAKE_DRIVER)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", "libcuda.so.1", "cuda.c"], cwd=folder, check=True)
    return folder


OPEN = """
import sys
from embedge import Embedder, EmbedgeError
try: Embedder(sys.argv[1], precision="fp32", providers=[("CUDAExecutionProvider", {"device_id": int(sys.argv[2])})])
except EmbedgeError as error: print(type(error).__name__, error, sep=": ", file=sys.stderr)
"""


def open_with(bundle: Bundle, *, card: int = 0, **environment: str) -> tuple[str, str]:
    """What a process prints to stdout and stderr that opens a bundle with the real onnxruntime-gpu."""
    variables = {**os.environ, **environment}
    variables.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-c", OPEN, str(bundle.path), str(card)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout, done.stderr


@needs_gpu_package
@pytest.mark.skipif(has_driver(), reason="needs a machine without an NVIDIA driver")
def test_without_a_driver_there_is_one_line(tiny_bundle: Bundle) -> None:
    stdout, stderr = open_with(tiny_bundle, LD_LIBRARY_PATH="")
    assert stdout == ""
    assert stderr.count("\n") == 1
    assert "there is no NVIDIA driver here (libcuda.so.1: cannot open shared object file" in stderr


@needs_gpu_package
@pytest.mark.parametrize(
    ("card", "environment", "message"),
    [
        (0, {"FAKE_STATUS": "100"}, "the NVIDIA driver finds no card (CUDA_ERROR_NO_DEVICE)"),
        (0, {"FAKE_VERSION": "11040"}, "the NVIDIA driver is too old: it supports CUDA 11.4"),
        (7, {}, "there is no card 7, found only card 0"),
    ],
)
def test_a_driver_that_does_not_do_is_one_line(
    tiny_bundle: Bundle, fake_driver: Path, card: int, environment: dict[str, str], message: str
) -> None:
    stdout, stderr = open_with(tiny_bundle, card=card, LD_LIBRARY_PATH=str(fake_driver), **environment)
    assert stdout == ""
    assert stderr.count("\n") == 1
    assert message in stderr


@needs_gpu_package
def test_libraries_that_are_missing_are_one_line(tiny_bundle: Bundle, fake_driver: Path) -> None:
    """Or, where they are there, ONNX Runtime finds out that the driver is none: still an error, and no CPU."""
    stdout, stderr = open_with(tiny_bundle, LD_LIBRARY_PATH=str(fake_driver))
    assert stdout == ""
    last = stderr.splitlines()[-1]
    if "are missing" in last:
        assert stderr.count("\n") == 1
        assert "libcublas" in last
        assert 'install "onnxruntime-gpu[cuda,cudnn]"`' in last
    else:
        assert f"ProviderError: {CUDA} did not start (CUDA failure" in last


@pytest.mark.cuda
@needs_gpu_package
@pytest.mark.skipif(not has_driver(), reason="needs an NVIDIA card")
def test_a_card_is_used_without_a_word(tiny_bundle: Bundle) -> None:
    assert open_with(tiny_bundle) == ("", "")
