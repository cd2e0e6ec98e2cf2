"""Load a bundle for its first vector: imports, checksums, tokenizer and session, side by side where possible.

numpy, onnxruntime and tokenizers are imported here, and not when embedge is imported, so that a thread computes
checksums meanwhile.

The order of the rest follows from Python's global interpreter lock (GIL). ONNX Runtime opens a session without it,
except for a moment between parsing the graph and making its kernels. tokenizers holds it while it is imported and while
it reads its file. So this thread, which holds the GIL, starts to open the session first. The tokenizer's thread waits
twice: with its import until the session is being opened, and with reading its file until the graph is parsed. (Without
the two waits, session and tokenizer were loaded one after the other in one start of ten, or in all starts, depending on
how long the import takes. That costs 10 ms of 120.)
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.background import BackgroundTask, Semaphore
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import TOKENIZER, WEIGHTS_SUFFIX, Precision
from embedge.errors import EmbedgeError
from embedge.inference.providers import CPU, CPU_ONLY, CUDA, Provider

if TYPE_CHECKING:
    from embedge.inference.engine import Engine
    from embedge.inference.kernels import Kernels
    from embedge.inference.schedule import Schedule
    from embedge.inference.session import Session
    from embedge.inference.tokenise import Tokeniser


_SHORT_TEXTS = 512  # tokens; models with a higher limit save memory with buffers that are not reused


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Turn Python's cyclic garbage collector off, and on again afterwards unless it was off before.

    The imports make 35,000 objects, hardly any of them garbage. With the collector on, Python looks through them once
    for every 700 that are made. If it were only turned on again, it would look through all of them at once. Freezing
    and unfreezing makes them old objects instead, which it does not look at before a full collection. Together this
    saves 4 % of a cold start. A process that has frozen objects itself keeps them frozen. (Python 3.12
    starts with some, so there the start is not faster.)
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        gc.enable()


def load_engine(
    bundle: Bundle, *, precision: Precision, providers: tuple[Provider, ...], threads: int, kernels: bool | None = None
) -> "Engine":
    """Load a bundle's engine.

    Args:
        bundle: must hold the precision.
        precision: the precision of the graph.
        providers: ONNX Runtime execution providers, the preferred one first, each of them available.
        threads: the largest number of cores to use.
        kernels: run the fused graph with the kernel library: True always, False never, None if both are there.

    Raises:
        BundleCorruptError: the tokenizer or the graph is not the one that was exported.
        BundleError: the tokenizer or the graph cannot be used.
        ProviderError: the first provider did not start, leaves heavy nodes of the graph to the CPU, or computes other
            values than the CPU; or the kernel library is required and cannot be used.
        MissingExtraError: the kernel library is required and not installed.
        InputValueError: the kernel library is required and cannot run on the provider or in the precision.
    """
    is_fused = providers[0].name == CPU and bundle.fused_graph(precision) is not None
    if not (is_fused if kernels is None else kernels):
        return _load(bundle, precision, providers, threads, None)
    from embedge.inference.kernels import KernelsError, find_kernels, warn_plain_graph

    try:
        library = find_kernels(bundle, precision=precision, provider=providers[0].name, required=bool(kernels))
        return _load(bundle, precision, providers, threads, library)
    except KernelsError as error:
        if kernels:
            raise
        warn_plain_graph(error)
    return _load(bundle, precision, providers, threads, None)


@_without_garbage_collection()
def _load(
    bundle: Bundle, precision: Precision, providers: tuple[Provider, ...], threads: int, kernels: "Kernels | None"
) -> "Engine":
    """Load the fused graph if there are kernels to run it, else the plain one."""
    sessions = _GraphSessions(bundle, precision, _with_defaults(providers, precision), kernels)
    sessions.check_sizes()
    check = BackgroundTask(sessions.check)
    parallel = providers[0].name == CPU
    # Integer products do not depend on prepacking. The kernels need none, and share one session.
    session_per_core = parallel and precision == "int8" and kernels is None
    try:
        session, tokeniser = _open_side_by_side(
            bundle, sessions, threads=1 if parallel else threads, prepacked=not session_per_core
        )
    except EmbedgeError:
        check.result()  # a changed file explains all other errors
        raise
    check.result()
    if providers[0].name not in (CPU, CUDA):
        sessions.compare_with_cpu(session, threads=threads)
    from embedge.inference.engine import Engine
    from embedge.inference.workers import Workers

    workers = Workers(session, sessions, cores=threads, parallel=parallel, session_per_core=session_per_core)
    schedule = _cpu_schedule(kernels, threads) if parallel else _device_schedule(bundle.manifest.max_tokens)
    instruction_set = None if kernels is None else kernels.instruction_set()
    return Engine(bundle.manifest, tokeniser, workers, schedule, kernels=instruction_set)


def _open_side_by_side(
    bundle: Bundle, sessions: "_GraphSessions", *, threads: int, prepacked: bool
) -> tuple["Session", "Tokeniser"]:
    """Open the first session on this thread, and read the tokenizer on another one."""
    import embedge.inference.session  # noqa: F401  # numpy and onnxruntime, before the next thread wants the GIL

    is_opening, is_parsed = Semaphore(0), Semaphore(0)
    reading = BackgroundTask(lambda: _read_tokeniser(bundle, is_opening, is_parsed))
    is_opening.release()
    try:
        session = sessions.open_first(threads=threads, prepacked=prepacked, on_parsed=is_parsed.release)
    finally:
        is_parsed.release()
    return session, reading.result()


def _cpu_schedule(kernels: "Kernels | None", threads: int) -> "Schedule":
    """The schedule of a CPU: with the kernels, texts of any lengths share a batch."""
    if kernels is None:
        from embedge.inference.schedule import CpuSchedule

        return CpuSchedule()
    from embedge.inference.unpadded_schedule import UnpaddedSchedule  # imported here, because a plain graph needs none

    return UnpaddedSchedule(threads)


def _device_schedule(max_tokens: int) -> "Schedule":
    """The schedule of a GPU."""
    from embedge.inference.device.schedule import DeviceSchedule  # imported here, because a CPU does not need it

    return DeviceSchedule(max_tokens)


def _with_defaults(providers: tuple[Provider, ...], precision: Precision) -> tuple[Provider, ...]:
    """Return the providers with embedge's own options, which the CPU does not need."""
    if all(provider.name == CPU for provider in providers):
        return providers
    from embedge.inference.device.provider_options import with_defaults

    return with_defaults(providers, precision)


def _read_tokeniser(bundle: Bundle, is_opening: Semaphore, is_parsed: Semaphore) -> "Tokeniser":
    """Read the tokenizer. Both waits have a time limit, because an interrupt may keep either permit from coming."""
    is_opening.acquire(timeout=1)
    import embedge.inference.engine  # noqa: F401  # needed later
    from embedge.inference.tokenise import Tokeniser

    is_parsed.acquire(timeout=1)  # the tokenizer holds the GIL for as long as it reads
    manifest = bundle.manifest
    return Tokeniser(bundle.path / TOKENIZER, max_tokens=manifest.max_tokens, truncation_side=manifest.truncation_side)


def _files_of(bundle: Bundle, precision: Precision, graph: Path) -> tuple[str, ...]:
    """Return the names of the files that a session of a graph opens: the graph, and the weights, if they are apart."""
    weights = (name for name in bundle.graph_files(precision) if name.endswith(WEIGHTS_SUFFIX))
    return (graph.relative_to(bundle.path).as_posix(), *weights)


class _GraphSessions:
    """Opens sessions of one graph, as long as its files are the ones whose checksums were compared at first."""

    def __init__(
        self,
        bundle: Bundle,
        precision: Precision,
        providers: tuple[Provider, ...],
        kernels: "Kernels | None" = None,
    ) -> None:
        self._bundle = bundle
        self._precision = precision
        self._providers = providers
        self._kernels = kernels
        fused = bundle.fused_graph(precision) if kernels else None
        self._graph = fused or bundle.graph(precision)
        self._files = _files_of(bundle, precision, self._graph)
        self._identity = self._identify_files()

    def check_sizes(self) -> None:
        """Raise BundleCorruptError for a file that is missing or not regular: reading a pipe would never end."""
        self._bundle.check_sizes((TOKENIZER, *self._files))

    def check(self) -> None:
        """Raise BundleCorruptError if the graph or the tokenizer is not the one that was exported."""
        self._bundle.check((TOKENIZER, *self._files), only_damage=True)

    def open_first(self, *, threads: int, prepacked: bool, on_parsed: Callable[[], None] = lambda: None) -> "Session":
        """Open a session without comparing the files; see ``Session`` for the arguments and the errors."""
        from embedge.inference.session import Session

        record = self._bundle.manifest.precisions[self._precision]
        return Session(
            self._graph,
            threads=threads,
            providers=self._providers,
            outputs=self._bundle.manifest.outputs,
            # On a CPU, fp16 needs ONNX Runtime to fold the casts of its weights. Other providers need it to fuse nodes.
            run_as_is=self._providers[0].name == CPU and record.exporter == "native" and self._precision != "fp16",
            prepacked=prepacked,
            reuse_buffers=self._bundle.manifest.max_tokens <= _SHORT_TEXTS,
            pooling=self._bundle.manifest.pooling,
            kernels=self._kernels,
            check_files=self._check_unchanged,
            advice=self._advise,
            on_parsed=on_parsed,
        )

    def open(self, *, threads: int, prepacked: bool) -> "Session":
        """Open another session, later; raises BundleError also if the files are gone or have changed."""
        session = self.open_first(threads=threads, prepacked=prepacked)
        self._check_unchanged()
        return session

    def compare_with_cpu(self, session: "Session", *, threads: int) -> None:
        """Raise ProviderError if the session computes other values than one on the CPU."""
        from embedge.inference.device.provider_probe import compare_with_cpu  # the CPU does not need it

        manifest, graph = self._bundle.manifest, self._bundle.graph(self._precision)
        on_cpu = _GraphSessions(self._bundle, self._precision, CPU_ONLY).open(threads=threads, prepacked=False)
        name = self._providers[0].name
        compare_with_cpu(session, on_cpu, manifest.outputs, provider=name, graph=graph, max_tokens=manifest.max_tokens)

    def _advise(self, opened: bool) -> str:
        from embedge.inference.device.provider_advice import advise  # only errors need it

        return advise(self._bundle, self._precision, self._providers[0].name, opened=opened)

    def _check_unchanged(self) -> None:
        if self._identify_files() != self._identity:
            self._bundle.check(self._files, only_damage=True)  # another bundle may have replaced this one

    def _identify_files(self) -> list[tuple[int, ...]]:
        """Device, inode, size and time of change of each file, which a replaced file does not share.

        Empty if one of the files cannot be reached.
        """
        paths = [self._bundle.path / name for name in self._files]
        with suppress(OSError):
            return [(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in map(Path.stat, paths)]
        return []
