"""What is shown while something takes long: progress bars on stderr, and lines in the log."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, TextIO

from embedge.background import Permits
from embedge.errors import escape

_MANY = 64  # texts; fewer are done before a progress bar could be read
_PATIENCE = 1.0  # seconds before the bar appears


@contextmanager
def progress(
    total: int | None, show: bool | None, *, unit: Literal["text", "B"] = "text"
) -> Iterator[Callable[[int], object]]:
    """A progress bar over ``total`` texts or bytes, None where unknown; yields what advances it, on any thread.

    With ``show`` None it appears when stderr is a terminal and the work is long. Without a stderr there is none, as in
    a desktop app; and one that cannot be written to does not end the work.
    """
    wanted = show or (show is None and (total is None or total >= _MANY) and is_terminal(sys.stderr))
    if not wanted or sys.stderr is None:
        yield lambda count: None
        return
    from tqdm import tqdm

    file = _Forgiving(sys.stderr)
    with tqdm(total=total, unit=unit, unit_scale=unit == "B", delay=0 if show else _PATIENCE, file=file) as bar:
        lock = Permits(1)

        def advance(count: int) -> None:
            with lock:
                bar.update(count)

        yield advance


class _Forgiving:
    """A stream that tqdm writes to, without the errors of one that is closed, full or broken."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None)  # tqdm draws with what it can show

    def fileno(self) -> int:
        """Of the stream, by which tqdm asks for its width."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write what can be."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be."""
        with suppress(OSError, ValueError, AttributeError):
            self._stream.flush()


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at a stream: not if it is None, as in a desktop app, is closed, or cannot tell."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError, OSError):  # a caller's own object; a closed file
        return False


def tell(line: str) -> None:
    """A line on stderr for who watches a command; where it cannot be written it is lost, and the work goes on.

    Only a command may call it: what a failed write leaves in the buffer of ``sys.stderr`` is thrown away with that.
    """
    if sys.stderr is None:
        return
    try:
        print(escape(line), file=sys.stderr, flush=True)
    except (OSError, ValueError):  # a full disk, a reader that is gone, a closed stream
        sys.stderr = None  # else it is written again at the exit, which then fails


def log_step(line: str) -> None:
    """A line to the logger ``embedge``, at level INFO; the `embedge` command shows it on stderr."""
    import logging  # 3 ms that a cold start does without

    logging.getLogger("embedge").info("%s", escape(line))
