"""The library's log, for who types a command."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def log_shown() -> Iterator[None]:
    """What the library logs, such as the steps of a first export, as lines on stderr."""
    import logging

    logger, handler = logging.getLogger("embedge"), logging.StreamHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
