"""Progress bars and lines on stderr, and steps in the log."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, TextIO

from embedge.background import Semaphore
from embedge.errors import MissingExtraError, escape

_MANY_TEXTS = 64  # fewer are done before anybody could read a progress bar
_DELAY = 1.0  # seconds before the bar appears


@contextmanager
def progress(
    total: int | None, show: bool | None, *, unit: Literal["text", "B", "layer"] = "text"
) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on stderr, and yield the function that advances it, which any thread may call.

    If stderr is closed, full or missing (as in a desktop app), the work goes on without the bar.

    Args:
        total: how many texts, bytes or layers there are; None if unknown.
        show: whether to show the bar; None shows it if stderr is a terminal and the total is unknown or at least 64
            texts or bytes.
        unit: what is counted.

    Raises:
        MissingExtraError: ``show`` is True, and tqdm is not installed. If nobody asked, the work goes on without a bar.
    """
    is_long = unit == "layer" or total is None or total >= _MANY_TEXTS
    wanted = show or (show is None and is_long and is_terminal(sys.stderr))
    if not wanted or sys.stderr is None:
        yield lambda count: None
        return
    try:
        from tqdm import tqdm
    except ModuleNotFoundError as error:  # as in a trimmed deployment
        if show:
            raise MissingExtraError(
                "tqdm, which draws the progress bar, is not installed; run `pip install tqdm`, "
                "or leave show_progress_bar out"
            ) from error
        yield lambda count: None
        return

    file = _QuietStream(sys.stderr)
    with tqdm(total=total, unit=unit, unit_scale=unit == "B", delay=0 if show else _DELAY, file=file) as bar:
        lock = Semaphore(1)

        def advance(count: int) -> None:
            with lock:
                bar.update(count)

        yield advance


class _QuietStream:
    """A stream for tqdm that writes to another stream, and ignores the errors if that is closed, full or broken."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None)  # tqdm chooses its characters by it

    def fileno(self) -> int:
        """The stream's file descriptor, by which tqdm finds the terminal's width."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write the text, if the stream takes it."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if it can be flushed."""
        with suppress(OSError, ValueError, AttributeError):
            self._stream.flush()


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal; False for None, as in a desktop app, and for a stream that is closed."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError, OSError):  # an object without isatty; a closed file
        return False


def tell(line: str) -> None:
    """Print a line to stderr; if that fails, the line is lost and the work goes on.

    Only commands may call it, because it sets ``sys.stderr`` to None after a failed write.
    """
    if sys.stderr is None:
        return
    try:
        print(escape(line), file=sys.stderr, flush=True)
    except (OSError, ValueError):  # a full disk, a broken pipe, a closed stream
        sys.stderr = None  # else Python flushes its buffer at exit, fails again, and exits with an error


def log_step(line: str) -> None:
    """Log a line to the logger ``embedge`` at level INFO; the command `embedge` shows it on stderr."""
    import logging  # imported here, because it takes 3 ms of a cold start

    logging.getLogger("embedge").info("%s", escape(line))
