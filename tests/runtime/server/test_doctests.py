"""The doctests of the server's modules that import no extra; pytest leaves the package out, because others do."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["large_json", "metrics", "numbers", "origin", "request_error"])
def test_the_examples_are_right(name: str) -> None:
    done = doctest.testmod(import_module(f"embedge.server.{name}"))
    assert done.attempted > 0
    assert done.failed == 0
