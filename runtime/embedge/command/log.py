"""The library's log on stderr, while a command runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from embedge.progress import tell


@contextmanager
def log_shown() -> Iterator[None]:
    """Show what the library logs, such as the steps of a first export, as lines on stderr while the block runs."""
    import logging

    class StderrHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(self.format(record))

    logger, handler = logging.getLogger("embedge"), StderrHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
