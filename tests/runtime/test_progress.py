"""progress.py: what is shown, and that a stderr which cannot show it does not end the work."""

import io
import sys
from typing import Any

import pytest

from embedge import Embedder
from embedge.progress import is_terminal, progress

TEXTS = ["the cat", "a dog sat on a stone"] * 50


class Mute:
    """A stream as some desktop apps put one there: it can be written to, and no more."""

    def write(self, text: str) -> int:
        return len(text)


class Broken(io.StringIO):
    """As on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def isatty(self) -> bool:
        return True


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, Mute(), closed(), Broken()], ids=["none", "mute", "closed", "broken"])
@pytest.mark.parametrize("show", [None, True])
def test_a_stderr_that_shows_nothing_ends_no_work(
    tiny: Embedder, monkeypatch: pytest.MonkeyPatch, stream: Any, show: bool | None
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert tiny.encode(TEXTS, show_progress_bar=show).shape == (100, 32)


def test_a_bar_is_shown_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress(3, True) as advance:
        advance(3)
    assert "3/3" in stream.getvalue()


def test_a_terminal_is_what_says_so() -> None:
    assert is_terminal(Broken())
    assert not any(is_terminal(stream) for stream in (None, Mute(), closed(), io.StringIO()))  # type: ignore[arg-type]
