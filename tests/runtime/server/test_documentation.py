"""docs/serve.md names every route, status and metric of the server, and docs/stability.md promises what it lists."""

import re
from pathlib import Path

import pytest

from embedge.server.metrics import Metrics
from embedge.server.request_error import SHARED
from running_server import needs_server

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "serve.md").read_text(encoding="utf-8")


@needs_server
def test_every_route_is_in_the_table() -> None:
    from embedge.server.app import ROUTES

    rows = [line.split("|")[1] for line in PAGE.splitlines() if re.match(r"\| `(GET|POST) ", line)]
    listed = {word for row in rows for word in re.findall(r"/[\w/]*", row)}
    assert listed == {"/", *(route.path for route in ROUTES)}


def test_every_status_is_in_the_table() -> None:
    listed = {
        int(one) for row in re.findall(r"^\| ((?:\d{3}(?:, )?)+) \|", PAGE, re.MULTILINE) for one in row.split(",")
    }
    assert set(map(int, SHARED.values())) <= listed


def test_every_metric_is_named() -> None:
    metrics = Metrics(lambda: (0, 0), 0)
    names = set(re.findall(r"^# TYPE (\w+)", metrics.text(), re.MULTILINE))
    assert names <= set(re.findall(r"`(\w+)`", PAGE))


@pytest.mark.parametrize("section", ["clients", "statuses", "truncation", "metrics"])
def test_the_stability_page_promises_the_tables(section: str) -> None:
    assert f"serve.md#{section}" in (DOCS / "stability.md").read_text(encoding="utf-8")
