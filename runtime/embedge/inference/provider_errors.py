"""Why a session did not open on a provider other than the CPU: the provider, its memory, or the graph."""

from embedge.errors import ProviderError
from embedge.inference.providers import CUDA, Provider, device_of

# Parts of ONNX Runtime's messages when a device's memory runs out: of CUDA, and of ONNX Runtime's arena (bfc_arena.cc),
# the last one because of gpu_mem_limit.
_OUT_OF_MEMORY = ("out of memory", "Failed to allocate memory", "is smaller than requested bytes")
# Where the part of a message begins that says what happened. Names of functions and files stand before it.
_BEGINNINGS = (
    "CUDA failure ",
    "CUBLAS failure ",
    "CUDNN failure ",
    "Failed to allocate memory ",
    "Available memory of ",
    "Unknown provider option",
    "Failed to parse provider option",
)
_LIMIT = "gpu_mem_limit"
_ON_THE_CPU = "or remove device and providers to run on the CPU"


def provider_error(error: Exception, provider: Provider) -> ProviderError | None:
    """Return the error to raise for an exception of ONNX Runtime while a session opened; None if the graph is at fault.

    ONNX Runtime raises EPFail or a plain RuntimeError if the provider did not start. If the provider refuses the graph,
    the message has the path of the provider's source.
    """
    message = str(error)
    reason = _reason(message)
    if any(part in message for part in _OUT_OF_MEMORY):
        raised = f"raise {_LIMIT}, " if _LIMIT in provider.options else ""
        listed = " that `nvidia-smi` lists" if provider.name == CUDA else ""
        return ProviderError(
            f"the memory of {device_of((provider,))} ran out while the model was loaded ({reason}); {raised}end other "
            f"programs{listed}, {_ON_THE_CPU}"
        )
    if type(error) is RuntimeError or type(error).__name__ == "EPFail":
        return ProviderError(f"{provider.name} did not start ({reason}); check its options, {_ON_THE_CPU}")
    if "/core/providers/" in message.replace("\\", "/").replace("/core/providers/cpu/", ""):
        return ProviderError(f"{provider.name} cannot run the graph ({reason}); use another provider, {_ON_THE_CPU}")
    return None


def _reason(message: str) -> str:
    """Return the part of a message that says what happened.

    >>> _reason("/a/cuda_call.cc:129 bool f() CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; file=/a ; line=1")
    'CUDA failure 2: out of memory'
    >>> _reason("[ONNXRuntimeError] : 1 : FAIL : no such thing")
    '[ONNXRuntimeError] : 1 : FAIL : no such thing'
    """
    lines = message.strip().splitlines() or ["no reason given"]
    # OpenVINO's message names the operators that it lacks in its third line.
    line = next((line for line in lines if "does not support" in line), lines[0])
    starts = [start for beginning in _BEGINNINGS if (start := line.find(beginning)) >= 0]
    return line[min(starts, default=0) :].partition(" ; ")[0].rstrip(" .")
