"""What a first vector waits for, brought in side by side: imports, hashes, the tokenizer, the session.

numpy, onnxruntime and tokenizers are imported in here and not where the other modules begin, so that the files are
hashed meanwhile. ONNX Runtime opens a session without the interpreter lock, and tokenizers is imported and reads its
file under it: so the one is begun by the thread that has the lock, and the other waits until then.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from embedge.bundle import Bundle
from embedge.errors import EmbedgeError
from embedge.manifest import TOKENIZER, Precision
from embedge.providers import CPU
from embedge.task import Task

if TYPE_CHECKING:
    from embedge.engine import Engine
    from embedge.tokenise import Tokeniser

# OpenBLAS's threads, one for each further core, spin for so long before they sleep: 2 ** this cycles, a millisecond or
# two. Its own 2 ** 28 are 100 ms, in which they are in the way of all that is loaded here.
_OPENBLAS_WAIT = "OPENBLAS_THREAD_TIMEOUT", "22"


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
    files = bundle.graph_files(precision)
    paths = [bundle.path / name for name in files]
    identity = _identify(paths)
    check = Task(lambda: bundle.check((TOKENIZER, *files), only_damage=True))
    _import_numpy()
    from embedge.session import Session
    from embedge.workers import Workers

    def open_session(threads: int, packed: bool) -> Session:
        return Session(
            bundle.graph(precision),
            threads=threads,
            providers=providers,
            outputs=bundle.manifest.outputs,
            # On a CPU, fp16 needs ONNX Runtime to fold the casts of its weights.
            finished=bundle.manifest.precisions[precision].exporter == "native" and precision != "fp16",
            packed=packed,
            check_files=check_again,
        )

    def check_again() -> None:
        if _identify(paths) != identity:
            bundle.check(files, only_damage=True)  # another bundle may have taken its place

    def open_again(threads: int, packed: bool) -> Session:
        session = open_session(threads, packed)
        check_again()
        return session

    about_to_open = Event()

    def read_tokeniser() -> "Tokeniser":
        about_to_open.wait(timeout=1)  # an interrupt may come between
        import embedge.engine  # noqa: F401  # wanted later, and gives the session the time to begin
        from embedge.tokenise import Tokeniser

        return Tokeniser(bundle.path / TOKENIZER, max_tokens=bundle.manifest.max_tokens)

    reading = Task(read_tokeniser)
    spread = providers[0] == CPU
    try:
        about_to_open.set()
        workers = Workers(open_session, open_again, cores=threads, spread=spread, apart=spread and precision == "int8")
        tokeniser = reading.result()
    except EmbedgeError:
        check.result()  # a changed file explains whatever the others say
        raise
    check.result()
    from embedge.engine import Engine

    return Engine(bundle.manifest, tokeniser, workers)


def _identify(paths: Sequence[Path]) -> list[tuple[int, ...]]:
    """What tells that files are still the ones whose hash was checked. Empty where one cannot be reached."""
    with suppress(OSError):
        return [(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in map(Path.stat, paths)]
    return []


def _import_numpy() -> None:
    """numpy, with an OpenBLAS that soon sleeps; unless it is imported already, or the variable is the user's.

    OpenBLAS reads it when it is loaded. As numpy does then with another one, ``os.environ`` is left as it is, and the C
    library's copy is restored.
    """
    name, cycles = _OPENBLAS_WAIT
    if "numpy" in sys.modules or name in os.environ:
        return
    os.putenv(name, cycles)
    try:
        import numpy  # noqa: F401
    finally:
        os.unsetenv(name)
