"""What to do where an execution provider does not run a bundle's graph: the last part of errors about providers."""

from collections.abc import Callable

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import Precision
from embedge.bundle.remedy import export_command
from embedge.inference.providers import CUDA, ON_CPU

# Gives the last part of an error. The argument says whether the provider has opened the graph.
Advice = Callable[[bool], str]

# OpenVINO (onnxruntime-openvino 1.24.1) does not know MultiHeadAttention (com.microsoft), which is in each layer of the
# native exporter's graphs. It runs all of optimum's graphs in fp32 and fp16, except for those with FastGelu in fp32.
_OPENVINO = "OpenVINOExecutionProvider"


def advise(bundle: Bundle, precision: Precision, provider: str, *, opened: bool) -> str:
    """Return what to do if a provider does not run a graph.

    Args:
        bundle: the bundle.
        precision: the precision of its graph.
        provider: the provider's name.
        opened: whether the provider runs a part of the graph; if not, it may lack a library or a device.
    """
    manifest, path = bundle.manifest, bundle.path
    other: Precision = "fp16" if precision == "int8" else precision
    if provider == _OPENVINO and manifest.precisions[precision].exporter == "native":
        folder = path.with_name(f"{path.name}-optimum")
        return f"run `{export_command(manifest, other, output=folder, optimum=True)}`, then load {folder}"
    if precision != "int8" or not opened:
        # Since ONNX Runtime 1.25, CUDA runs all of the exporters' graphs in fp32 and fp16.
        update = "update onnxruntime-gpu to 1.25 or later, or " if provider == CUDA and opened else ""
        return f"{update}{ON_CPU}"
    for held in ("fp16", "fp32"):
        if held in manifest.precisions:
            return f'load it with precision="{held}"'
    return f'run `{export_command(manifest, other, output=path)}`, then load it with precision="{other}"'
