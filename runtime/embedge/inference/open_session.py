"""Open an ONNX Runtime session: its options and its providers, and whose fault it is if it does not open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.errors import BundleError, ProviderError
from embedge.inference.forks import keep_in_children
from embedge.inference.onnxruntime_import import ort
from embedge.inference.providers import CPU, ON_CPU, Provider

if TYPE_CHECKING:
    from embedge.inference.device.provider_advice import Advice
    from embedge.inference.kernels import Kernels

# To install another one of the packages that share ONNX Runtime's files would take its providers away.
_PACKAGE = getattr(ort, "package_name", "onnxruntime")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFactory:
    """Opens sessions of one graph. See ``Session`` for the attributes."""

    graph: Path
    threads: int
    providers: tuple[Provider, ...]
    run_as_is: bool
    prepacked: bool
    reuse_buffers: bool
    kernels: Kernels | None
    advice: Advice

    def open(self, on_parsed: Callable[[], None]) -> ort.InferenceSession:
        """Open a session.

        Args:
            on_parsed: called once ONNX Runtime has parsed the graph.

        Raises:
            ProviderError: the first provider did not start, or it leaves heavy nodes of the graph to the CPU; or the
                kernel library does not load, or cannot run the graph.
            BundleError: ONNX Runtime cannot load the graph.
        """
        providers = _prepare(self.providers)
        try:
            session = ort.InferenceSession(
                str(self.graph),
                self._options(),
                providers=providers,
                disabled_optimizers=_NoDisabledOptimizers(on_parsed),
                # The fallback would try other providers after an error, and print a note about it to stdout.
                enable_fallback=False,
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise self._not_opened(error) from error
        keep_in_children(session)
        self._check_provider(session)
        return session

    def _options(self) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        # Threads spin while a run has work for them, but not after it: other sessions and processes want the cores.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # Memory patterns keep a plan for each shape that was ever run. They gain nothing here, and fragment memory.
        options.enable_mem_pattern = False
        options.enable_mem_reuse = self.reuse_buffers
        if not self.prepacked:
            options.add_session_config_entry("session.disable_prepacking", "1")
        if self.kernels is not None:
            self.kernels.register(options)
        if self.providers[0].name != CPU:
            from embedge.inference.device.node_assignment import RECORD_ASSIGNMENT  # the CPU does not need it

            options.add_session_config_entry(RECORD_ASSIGNMENT, "1")
        options.log_severity_level = 4  # fatal only: every error is raised, too
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_DISABLE_ALL if self.run_as_is else level.ORT_ENABLE_ALL
        return options

    def _not_opened(self, error: Exception) -> ProviderError | BundleError:
        other = next((provider for provider in self.providers if provider.name != CPU), None)
        if ort.__file__ is None:  # the folder is there, and its modules are not
            from embedge.inference.device.onnxruntime_packages import files_are_gone  # only this error needs it

            return ProviderError(files_are_gone())
        if self.kernels is not None:
            return self.kernels.unusable(first_line(error))
        if other is None:
            return BundleError(
                f"ONNX Runtime {ort.__version__} cannot load {self.graph} ({first_line(error)}); "
                f"free memory if it ran out, else run `pip install -U {_PACKAGE}` or export the bundle again"
            )
        from embedge.inference.device.provider_errors import cannot_open, not_started  # the CPU does not need it

        return not_started(error, other) or cannot_open(
            error, graph=self.graph, provider=other.name, advice=self.advice
        )

    def _check_provider(self, session: ort.InferenceSession) -> None:
        """Raise ProviderError if ONNX Runtime fell back to the CPU, for the whole graph or for a part that counts."""
        started, first = session.get_providers()[0], self.providers[0].name
        if started != first:
            raise ProviderError(
                f"{first} did not start, ONNX Runtime fell back to {started}; call onnxruntime."
                f"set_default_logger_severity(0) to log the reason, or {ON_CPU}"
            )
        if first != CPU:
            from embedge.inference.device.node_assignment import check_assignment  # the CPU does not need it

            check_assignment(session, graph=self.graph, provider=first, advice=self.advice)


def _prepare(providers: tuple[Provider, ...]) -> list[tuple[str, dict[str, str]]]:
    """Return the providers as ONNX Runtime takes them, after what they need has been found and loaded."""
    if all(provider.name == CPU for provider in providers):
        return [provider.argument for provider in providers]
    from embedge.inference.device.prepare import prepare_providers
    from embedge.inference.device.provider_options import for_session

    prepare_providers(providers)
    return list(map(for_session, providers))


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its type if it has no message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class _NoDisabledOptimizers(list[str]):
    """An empty list of optimisers to disable. ONNX Runtime iterates over it once it has parsed the graph."""

    def __init__(self, on_parsed: Callable[[], None]) -> None:
        super().__init__()
        self._on_parsed = on_parsed

    def __iter__(self) -> Iterator[str]:
        self._on_parsed()
        return super().__iter__()
