"""The page of ``GET /``: one file, and a policy that lets it load nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
_HEADERS = {
    "content-security-policy": f"{_POLICY}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


@cache
def _page() -> str:
    return files("embedge.server").joinpath("page.html").read_text(encoding="utf-8")


async def page_response(request: Request) -> Response:
    """Return the page."""
    return Response(_page(), headers=_HEADERS, media_type="text/html; charset=utf-8")
