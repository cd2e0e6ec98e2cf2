"""What is told while something takes long: progress bars on stderr, for those who look at it, and lines."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

Report = Callable[[str], object]  # is told a line as a step ends
_MANY = 64  # texts; fewer are done before a progress bar could be read
_PATIENCE = 1.0  # seconds before the bar appears


@contextmanager
def progress(
    total: int | None, show: bool | None, *, unit: Literal["text", "B"] = "text"
) -> Iterator[Callable[[int], object]]:
    """A progress bar over ``total`` texts or bytes, None where unknown; yields what advances it, on any thread.

    With ``show`` None it appears when stderr is a terminal and the work is long.
    """
    if show or (show is None and (total is None or total >= _MANY) and is_terminal(sys.stderr)):
        from tqdm import tqdm

        with tqdm(total=total, unit=unit, unit_scale=unit == "B", delay=0 if show else _PATIENCE) as bar:
            lock = threading.Lock()

            def advance(count: int) -> None:
                with lock:
                    bar.update(count)

            yield advance
    else:
        yield lambda count: None


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at a stream. A closed one is None, and so are those of a desktop app."""
    return stream is not None and stream.isatty()


def tell(line: str) -> None:
    """A line on stderr for who watches a command; where it cannot be written it is lost, and the work goes on.

    Only a command may call it: what a failed write leaves in the buffer of ``sys.stderr`` is thrown away with that.
    """
    if sys.stderr is None:
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):  # a full disk, a reader that is gone, a closed stream
        sys.stderr = None  # else it is written again at the exit, which then fails
