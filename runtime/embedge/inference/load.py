"""What a first vector waits for, brought in side by side: imports, checksums, the tokenizer, the session.

numpy, onnxruntime and tokenizers are imported in here and not where the other modules begin, so that checksums are
computed meanwhile. ONNX Runtime opens a session without the interpreter lock, but for a moment between parsing the
graph and making its kernels; tokenizers is imported and reads its file under it. So the one is begun by the thread that
has the lock, the other waits until then with its import, and for that moment before it reads. (Otherwise one start in
ten or all, by how long the import takes, had the two one after the other, which is 10 ms of 120.)
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.background import BackgroundTask, Semaphore
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import TOKENIZER, Precision
from embedge.errors import EmbedgeError
from embedge.inference.providers import CPU

if TYPE_CHECKING:
    from embedge.inference.engine import Engine
    from embedge.inference.session import Session
    from embedge.inference.tokenise import Tokeniser


def load_engine(bundle: Bundle, *, precision: Precision, providers: tuple[str, ...], threads: int) -> "Engine":
    """The engine of a bundle.

    Args:
        bundle: holds the precision.
        precision: of the graph.
        providers: ONNX Runtime execution providers, most wanted first, each of them available.
        threads: most cores to use.

    Raises:
        BundleCorruptError: tokenizer or graph is not what was exported.
        BundleError: one of them cannot be used.
        ProviderError: the first provider did not start.
    """
    graph = _Graph(bundle, precision, providers)
    graph.check_sizes()
    check = BackgroundTask(graph.check)
    import embedge.inference.session  # noqa: F401  # numpy and onnxruntime, before the next thread wants the interpreter lock

    spread = providers[0] == CPU
    apart = spread and precision == "int8"
    about_to_open, parsed = Semaphore(0), Semaphore(0)
    reading = BackgroundTask(lambda: _read_tokeniser(bundle, about_to_open, parsed))
    try:
        about_to_open.release()
        try:
            session = graph.open(1 if spread else threads, not apart, on_parsed=parsed.release)
        finally:
            parsed.release()
        tokeniser = reading.result()
    except EmbedgeError:
        check.result()  # a changed file explains whatever the others say
        raise
    check.result()
    from embedge.inference.engine import Engine
    from embedge.inference.workers import Workers

    workers = Workers(session, graph.open_again, cores=threads, spread=spread, apart=apart)
    return Engine(bundle.manifest, tokeniser, workers)


def _read_tokeniser(bundle: Bundle, about_to_open: Semaphore, parsed: Semaphore) -> "Tokeniser":
    """The tokeniser. Neither event is waited for in earnest: an interrupt may come before it."""
    about_to_open.acquire(timeout=1)
    import embedge.inference.engine  # noqa: F401  # wanted later
    from embedge.inference.tokenise import Tokeniser

    parsed.acquire(timeout=1)  # it has the interpreter lock for as long as it reads
    manifest = bundle.manifest
    return Tokeniser(bundle.path / TOKENIZER, max_tokens=manifest.max_tokens, truncation_side=manifest.truncation_side)


class _Graph:
    """Opens sessions of a graph, as long as its files are those whose checksums were compared first."""

    def __init__(self, bundle: Bundle, precision: Precision, providers: tuple[str, ...]) -> None:
        self._bundle = bundle
        self._precision = precision
        self._providers = providers
        self._files = bundle.graph_files(precision)
        self._identity = self._identify()

    def check_sizes(self) -> None:
        """Raises BundleCorruptError where one of them is not there, or is no file: reading a pipe would never end."""
        self._bundle.check_sizes((TOKENIZER, *self._files))

    def check(self) -> None:
        """Raises BundleCorruptError where the graph or the tokenizer is not what was exported."""
        self._bundle.check((TOKENIZER, *self._files), only_damage=True)

    def open(self, threads: int, packed: bool, *, on_parsed: Callable[[], None] = lambda: None) -> "Session":
        """A session; see ``Session`` for the arguments, and what is raised."""
        from embedge.inference.session import Session

        return Session(
            self._bundle.graph(self._precision),
            threads=threads,
            providers=self._providers,
            outputs=self._bundle.manifest.outputs,
            # On a CPU, fp16 needs ONNX Runtime to fold the casts of its weights.
            finished=self._bundle.manifest.precisions[self._precision].exporter == "native"
            and self._precision != "fp16",
            packed=packed,
            check_files=self._check_again,
            on_parsed=on_parsed,
        )

    def open_again(self, threads: int, packed: bool) -> "Session":
        """Another session, later; raises BundleError too where the files are gone or no longer the same."""
        session = self.open(threads, packed)
        self._check_again()
        return session

    def _check_again(self) -> None:
        if self._identify() != self._identity:
            self._bundle.check(self._files, only_damage=True)  # another bundle may have taken its place

    def _identify(self) -> list[tuple[int, ...]]:
        """What tells that files are still the ones whose checksum was compared. Empty where one cannot be reached."""
        paths = [self._bundle.path / name for name in self._files]
        with suppress(OSError):
            return [(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in map(Path.stat, paths)]
        return []
