"""A framework that is not installed: an error that names the pip command."""

from collections.abc import Iterator
from contextlib import contextmanager

from embedge.errors import MissingExtraError


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Around imports: raises MissingExtraError, with the command that brings ``extra``, where a package is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed; `pip install 'embedge[{extra}]'` brings it") from error
