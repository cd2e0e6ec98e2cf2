"""Which hosts and which web pages a request may come by: against DNS rebinding, and for CORS.

A server without a key on the loopback interface trusts the programs of this machine; a web page is none of them. There
are two ways for a page to reach it. By *DNS rebinding*, the page's own host gets the address 127.0.0.1: the browser
takes the server for the page's own, but the header ``Host`` has the page's name. And a page may send a request to
``http://localhost:8080``: then the header ``Origin`` has the page's name. Programs send the host that they were given,
and no ``Origin``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from embedge.errors import InputValueError, short
from embedge.server.request_error import RequestError

Headers = Sequence[tuple[bytes, bytes]]

# Nobody can register these names, so no page can have them: "localhost" (RFC 6761), and "internal" (reserved by ICANN
# in 2024), in which Docker and Podman have names for the host of a container.
_OWN_DOMAINS = ("localhost", "internal")
_EXPOSED = b"x-truncated-texts, retry-after"
_PREFLIGHT_SECONDS = b"600"  # for which a browser may remember the answer


class Origins:
    """Tells which requests may pass by their headers.

    Args:
        hosts: further names of the server that requests may use; ``None`` or ``*`` allows every name.
        origins: web origins whose pages may use the server; ``*`` allows every page.
    """

    def __init__(self, hosts: Collection[str] | None, origins: Collection[str]) -> None:
        self._hosts = None if hosts is None or "*" in hosts else frozenset(host.lower().rstrip(".") for host in hosts)
        self._origins = frozenset(origin.lower().encode() for origin in origins)
        self._may_name = lru_cache(maxsize=64)(self._check_host)

    def refuse(self, headers: Headers) -> RequestError | None:
        """Return why a request may not pass; None if it may."""
        host = origin = site = b""
        for name, value in headers:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                site = value
        if self._hosts is not None and not self._may_name(host):
            found = short(host_name(host.decode("latin-1")))  # without the port, as --allowed-host takes it
            return RequestError(
                f"this server has no host {found}; if it should, start it with --allowed-host and this name",
                "forbidden",
            )
        if origin and not self._may_ask(origin.lower(), host.lower(), site):
            return RequestError(
                f"pages of {_shown(origin)} may not use this server; if they may, start it with --cors-origin and "
                "this origin",
                "forbidden",
            )
        return None

    def headers_for(self, request: Headers) -> list[tuple[bytes, bytes]]:
        """Return what to add to an answer, so that a page of an allowed origin may read it."""
        if not self._origins:
            return []
        origin = next((value for name, value in request if name == b"origin"), b"")
        if not self._is_listed(origin.lower()):
            return [(b"vary", b"Origin")]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        ]

    def preflight(self, request: Headers) -> dict[str, str] | None:
        """Return the headers that answer a browser's question before a request; None if it is no such question."""
        asked = dict(request)
        if b"access-control-request-method" not in asked or not self._is_listed(asked.get(b"origin", b"").lower()):
            return None
        headers = {
            "access-control-allow-methods": "GET, POST",
            "access-control-allow-headers": asked.get(b"access-control-request-headers", b"*").decode("latin-1"),
            "access-control-max-age": _PREFLIGHT_SECONDS.decode(),
        }
        if asked.get(b"access-control-request-private-network") == b"true":
            headers["access-control-allow-private-network"] = "true"
        return headers

    def _check_host(self, host: bytes) -> bool:
        """Whether a request may have this header ``Host``; a request without one comes from no browser."""
        assert self._hosts is not None
        name = host_name(host.decode("latin-1")).rstrip(".")
        if not name or name in self._hosts or name.rpartition(".")[2] in _OWN_DOMAINS:
            return True
        try:
            ip_address(name.partition("%")[0])
        except ValueError:
            return False
        return True  # a page whose host is an address comes from that address: there is no name to rebind

    def _may_ask(self, origin: bytes, host: bytes, site: bytes) -> bool:
        # A proxy may change Host, and the browser's own word stays; pages cannot set this header.
        is_own = site == b"same-origin" or origin.partition(b"://")[2] == host
        return is_own or self._is_listed(origin)

    def _is_listed(self, origin: bytes) -> bool:
        return bool(origin) and (origin in self._origins or b"*" in self._origins)


def host_name(host: str) -> str:
    """Return the name or the address of a header ``Host``, in lower case.

    >>> host_name("Example.com:8080"), host_name("[::1]:80"), host_name("localhost")
    ('example.com', '::1', 'localhost')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()


def check_hosts(hosts: Iterable[str]) -> list[str]:
    """Return host names as passed; raise InputValueError for what is none."""
    names = list(hosts)
    for name in names:
        if name != "*" and (not name or host_name(name) != name.lower() or set(name) & set("/@ ")):
            raise InputValueError(f"--allowed-host takes a name such as example.com, found {short(name)}")
    return names


def check_origins(origins: Iterable[str]) -> list[str]:
    """Return web origins as passed; raise InputValueError for what is none."""
    checked = list(origins)
    for origin in checked:
        parts = urlsplit(origin)
        if origin not in ("*", "null") and origin != f"{parts.scheme}://{parts.netloc}":
            raise InputValueError(
                f"--cors-origin takes an origin such as https://example.com, without a path, found {short(origin)}"
            )
    return checked


def _shown(header: bytes) -> str:
    return short(header.decode("latin-1"))
