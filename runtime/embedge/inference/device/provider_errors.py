"""Why a provider other than the CPU's did not start, or did not open a graph: the errors, and their reasons."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.errors import ProviderError
from embedge.inference.providers import CUDA, ON_CPU, Provider, device_of

if TYPE_CHECKING:
    from embedge.inference.device.provider_advice import Advice

# What ONNX Runtime's errors say if memory ran out: its arena, its arena at the limit gpu_mem_limit, CUDA and C++.
_OUT_OF_MEMORY = ("Failed to allocate memory", "is smaller than requested bytes", "out of memory", "bad_alloc")
# Where the part of a message begins that says what happened. Names of functions and files stand before and after it.
_BEGINNINGS = (
    "CUDA failure ",
    "CUBLAS failure ",
    "CUDNN failure ",
    "Failed to allocate memory ",
    "Available memory of ",
    "Unknown provider option",
    "Failed to parse provider option",
    "Please install TensorRT libraries",
    "Invalid OpenVINO EP option",
)
_LIMIT = "gpu_mem_limit"


def not_started(error: Exception, provider: Provider) -> ProviderError | None:
    """Return the error for an exception of ONNX Runtime while a session opened; None if the provider has started.

    ONNX Runtime raises EPFail or a plain RuntimeError if a provider does not start, and other types if it refuses the
    graph.
    """
    if is_out_of_memory(error):
        raised = f"raise {_LIMIT}, " if _LIMIT in provider.options else ""
        listed = " that `nvidia-smi` lists" if provider.name == CUDA else ""
        return ProviderError(
            f"the memory of {device_of((provider,))} ran out while the model was loaded ({_reason(error)}); "
            f"{raised}end other programs{listed}, or {ON_CPU}"
        )
    if type(error) is RuntimeError or type(error).__name__ == "EPFail":
        return ProviderError(f"{provider.name} did not start ({_reason(error)}); check its options, or {ON_CPU}")
    return None


def cannot_open(error: Exception, *, graph: Path, provider: str, advice: "Advice") -> ProviderError:
    """Return the error for a session that a provider other than the CPU's does not open.

    Args:
        error: ONNX Runtime's.
        graph: the ONNX file, for the message.
        provider: the name of the preferred provider.
        advice: gives the end of the message.
    """
    return ProviderError(f"{provider} cannot open {graph} ({reason_of(error)}); {advice(False)}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of ONNX Runtime says that the memory of the device or of the process ran out."""
    return any(words in str(error) for words in _OUT_OF_MEMORY)


def reason_of(error: Exception) -> str:
    r"""Return the part of ONNX Runtime's message that says why, in one line; its C++ names say where.

    The reason is the end of the last line. ONNX Runtime writes a failed check as "PLACE CONDITION was false. REASON".

    >>> reason_of(RuntimeError("/a/b.cc:65 f(int) status == Success was false. Failed to get a WebGPU adapter\n"))
    'Failed to get a WebGPU adapter'
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r".*( was false\. | Status Message: |\[ONNXRuntimeError\] : \d+ : \w+ : )", "", lines[-1])


def _reason(error: Exception) -> str:
    """Return the part of a message that says what happened.

    >>> _reason(RuntimeError("/a/call.cc:129 bool f() CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; file=/a"))
    'CUDA failure 2: out of memory'
    """
    message = str(error)
    starts = [start for beginning in _BEGINNINGS if (start := message.find(beginning)) >= 0]
    if not starts:
        return reason_of(error)
    return message[min(starts) :].splitlines()[0].partition(" ; ")[0].rstrip(" .")
