"""The library's log on stderr, while a command runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from embedge.progress import tell


@contextmanager
def log_shown() -> Iterator[None]:
    """Show what the library logs, such as the steps of a first export, as lines on stderr while the block runs.

    Meanwhile nothing goes to the handlers of the root logger, which would show each line again.
    """
    import logging

    class StderrHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(self.format(record))

    logger, handler = logging.getLogger("embedge"), StderrHandler()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]
        logger.removeHandler(handler)
