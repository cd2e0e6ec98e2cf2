"""A hub on the loopback that has a bundle."""

from collections.abc import Iterator

import pytest

import loopback_hub
from embedge import Bundle
from hub_commands import NAME
from loopback_hub import Hub


@pytest.fixture
def hub(tiny_bundle: Bundle) -> Iterator[Hub]:
    """A hub that has the tiny bundle, int8 and fp32, and a file that is not the bundle's."""
    with loopback_hub.running() as hub:
        hub.add(NAME, tiny_bundle.path).files["README.md"] = b"# tiny"
        yield hub
