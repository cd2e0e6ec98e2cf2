"""Finds the kernel library of the package ``embedge-kernels``, and says why it cannot be used.

The library has embedge's own operators. A bundle's fused graph is made of them and gives nearly the same vectors as the
plain graph, in less time. Nothing needs the library: without it, the plain graph runs.

Only bundles that have a fused graph import this module, and only on a CPU.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import Precision
from embedge.errors import BundleError, InputValueError, MissingExtraError, ProviderError, warn
from embedge.inference.providers import CPU

if TYPE_CHECKING:
    from embedge.inference.onnxruntime_import import ort

VARIABLE = "EMBEDGE_KERNELS"  # in the environment: off leaves the kernels out, on or nothing uses them
VARIABLE_OF_SET = "EMBEDGE_KERNELS_ISA"  # read by the library: forces an instruction set
PACKAGE = "embedge-kernels"
INSTALL = "pip install 'embedge[fast]'"
_UPDATE = f"pip install -U {PACKAGE}"


class KernelsError(ProviderError):
    """The kernel library is installed and cannot be used. The arguments are the reason, and what to do."""

    def __init__(self, reason: str, remedy: str = f"run `{_UPDATE}`") -> None:
        super().__init__(reason, remedy)

    def __str__(self) -> str:
        return f"{self.args[0]}; {self.args[1]}, or pass kernels=False"


class Kernels:  # no dataclass, which takes 0.5 ms to make, even where the package is missing
    """The kernel library.

    Attributes:
        library: the file that ONNX Runtime loads.
        version: the version of the package.
    """

    __slots__ = ("library", "version")

    def __init__(self, *, library: Path, version: str) -> None:
        self.library = library
        self.version = version

    def register(self, options: "ort.SessionOptions") -> None:
        """Let a session know the operators. ONNX Runtime raises errors of several types if it cannot load the file."""
        options.register_custom_ops_library(str(self.library))

    def instruction_set(self) -> str:
        """Return the instruction set that the kernels use, such as ``amx``; EMBEDGE_KERNELS_ISA can force one.

        Raises:
            KernelsError: the file cannot be loaded or lacks the function, or the variable names a set that is not
                there.
        """
        if name := self._ask("embedge_kernels_instruction_set"):
            return name
        found, known = os.environ.get(VARIABLE_OF_SET), ", ".join(self.instruction_sets())
        raise self.unusable(f"{VARIABLE_OF_SET} must be one of {known}, found {found!r}")

    def instruction_sets(self) -> tuple[str, ...]:
        """Return those of the library's instruction sets that this CPU can run, the fastest first.

        Raises:
            KernelsError: the file cannot be loaded, or lacks the function.
        """
        return tuple(self._ask("embedge_kernels_instruction_sets").split(","))

    def unusable(self, reason: str) -> KernelsError:
        """Return the error for a library that cannot be loaded, or that cannot run a fused graph."""
        if "not in range [min=" in reason:  # ONNX Runtime: a node has fewer or more inputs than the operator takes
            return KernelsError(
                f"{PACKAGE} {self.version} has other operators than the bundle's fused graph",
                remedy=f"run `{_UPDATE}`, and `embedge export` with --force if the bundle is the older one",
            )
        return KernelsError(f"{PACKAGE} {self.version} cannot be used ({reason})")

    def _ask(self, function: str) -> str:
        """Call a function of the library that returns a name, or names."""
        import ctypes  # numpy has imported it

        try:
            call = getattr(ctypes.CDLL(str(self.library)), function)
        except (OSError, AttributeError) as error:
            raise self.unusable(str(error)) from error
        call.restype = ctypes.c_char_p
        return (call() or b"").decode()


def find_kernels(bundle: Bundle, *, precision: Precision, provider: str, required: bool) -> Kernels | None:
    """Return the kernel library; None if it is not installed, or if the environment variable leaves it out.

    Args:
        bundle: the bundle that is loaded. It has a fused graph, unless ``required``.
        precision: the precision of the graph.
        provider: the ONNX Runtime execution provider that runs the graph.
        required: whether it is an error if the kernels cannot be used.

    Raises:
        InputValueError: the variable has an unknown value. If ``required``: it leaves the kernels out, or the precision
            or the provider is one that the kernels do not run.
        BundleError: ``required``, and the bundle has no fused graph.
        MissingExtraError: ``required``, and the library is not installed.
        KernelsError: the library is installed and cannot be used.
    """
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "on", "off"):
        raise InputValueError(f"{VARIABLE} must be on or off, found {value!r}; correct it or unset it")
    if required:
        _check_usable(bundle, precision, provider, value)
    kernels = None if value == "off" else installed_kernels()
    if kernels is None and required:
        raise MissingExtraError(f"{PACKAGE} is not installed; run `{INSTALL}`")
    return kernels


def _check_usable(bundle: Bundle, precision: Precision, provider: str, value: str) -> None:
    """Raise an error if the kernels are required where they cannot run."""
    if value == "off":
        raise InputValueError(f"kernels=True does not agree with {VARIABLE}=off; unset {VARIABLE} or pass kernels=None")
    if provider != CPU:
        raise InputValueError(f"the kernels run on the CPU, found {provider}; pass device='cpu' or kernels=None")
    if precision != "int8":
        raise InputValueError(f"the kernels run int8, found {precision}; pass precision='int8' or kernels=None")
    if bundle.fused_graph(precision) is None:
        from embedge.bundle.remedy import export_command  # only errors need it

        command = export_command(bundle.manifest, precision, output=bundle.path)
        raise BundleError(
            f"{bundle.path} has no fused graph for the kernels; run `{command} --force`, or pass kernels=None"
        )


def installed_kernels() -> Kernels | None:
    """Return the installed library, which is not loaded yet; None if there is none.

    Raises:
        KernelsError: the package is broken.
    """
    # Not importlib.util.find_spec: where the package is missing, which is what costs every start, the failing import
    # takes 0.1 ms, and importing importlib.util 0.3 ms.
    try:
        import embedge_kernels
    except ModuleNotFoundError as error:
        if error.name == "embedge_kernels":
            return None
        raise _broken(error) from error
    except Exception as error:  # whatever the package raises
        raise _broken(error) from error
    try:
        return Kernels(library=Path(embedge_kernels.library_path()), version=str(embedge_kernels.__version__))
    except Exception as error:  # a folder of that name has neither, and its files may be gone
        raise _broken(error) from error


def _broken(error: Exception) -> KernelsError:
    return KernelsError(f"{PACKAGE} cannot be used ({type(error).__name__}: {error})")


def warn_plain_graph(error: KernelsError) -> None:
    """Warn that the plain graph runs, because the library cannot be used."""
    warn(f"{error.args[0]}, so the slower plain graph runs; {error.args[1]}, or set {VARIABLE}=off", RuntimeWarning)
