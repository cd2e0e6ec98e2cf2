"""log.py: the library's log on stderr."""

import logging

import pytest

from embedge.command.log import log_shown
from embedge.progress import log_step


def test_a_line_is_shown_once_where_the_process_has_configured_logging(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """``caplog`` has a handler at the root logger, as ``logging.basicConfig`` has."""
    with log_shown():
        log_step("a step")
    assert capsys.readouterr().err == "a step\n"
    assert not caplog.records


def test_the_logger_is_afterwards_as_before(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("embedge")
    before = logger.level, logger.propagate, list(logger.handlers)
    with log_shown():
        pass
    assert (logger.level, logger.propagate, list(logger.handlers)) == before
    with caplog.at_level(logging.INFO, logger="embedge"):
        log_step("a step")
    assert caplog.messages == ["a step"]
