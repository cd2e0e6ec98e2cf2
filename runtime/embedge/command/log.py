"""The library's log, for who types a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from embedge.progress import tell


@contextmanager
def log_shown() -> Iterator[None]:
    """What the library logs, such as the steps of a first export, as lines on stderr."""
    import logging

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(self.format(record))

    logger, handler = logging.getLogger("embedge"), Told()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
