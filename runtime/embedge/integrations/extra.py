"""The error for a framework that is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from embedge.errors import MissingExtraError


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Run imports; if a package is missing, raise MissingExtraError with the pip command that installs ``extra``."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed; run `pip install 'embedge[{extra}]'`") from error
