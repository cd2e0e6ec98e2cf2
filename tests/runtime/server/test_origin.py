"""Hosts and origins: web pages that reach a local server by DNS rebinding or across origins, and those that may."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import runner
from embedge import Bundle
from embedge.command.main import cli
from embedge.server.origin import Origins
from running_server import Server, needs_server, serving

pytestmark = needs_server
ROUTES = [("POST", "/embed"), ("POST", "/v1/embeddings"), ("POST", "/api/embed"), ("GET", "/info"), ("GET", "/metrics")]
BODY = {"inputs": "a", "input": "a", "model": "tiny"}
PAGE = "https://app.example.com"


def ask(server: Server, method: str, path: str, **headers: str) -> int:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request(method, path, BODY if method == "POST" else None, names).status


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/"), ("GET", "/health")])
@pytest.mark.parametrize("host", ["evil.com", "evil.com:8080", "localhost.evil.com", "127.0.0.1.evil.com", "evil.com."])
def test_a_page_whose_name_was_rebound_gets_nothing(server: Server, method: str, path: str, host: str) -> None:
    """The browser takes the server for the page's own, so there is no other origin, but Host has the page's name."""
    for more in ({}, {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}):
        reply = server.request(method, path, BODY if method == "POST" else None, {"Host": host, **more})
        assert reply.status == 403
        assert b"--allowed-host" in reply.body


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:9", "127.1.2.3", "localhost", "LOCALHOST:8080", "localhost.", "tiny.localhost", "[::1]:80",
     "192.168.1.2:80", "[fe80::1%25eth0]", "host.docker.internal:8080", "host.containers.internal", ""],
)  # fmt: skip
def test_the_names_of_this_machine_and_addresses_pass(server: Server, host: str) -> None:
    assert ask(server, "POST", "/embed", Host=host) == 200


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "origin", [PAGE, "http://localhost:3000", "null", "http://127.0.0.1", "file://", "chrome-extension://abc", "évil"]
)
def test_pages_of_other_origins_get_nothing(server: Server, method: str, path: str, origin: str) -> None:
    for site in ("cross-site", "same-site"):
        body = BODY if method == "POST" else None
        reply = server.request(method, path, body, {"Origin": origin, "Sec-Fetch-Site": site})
        assert reply.status == 403
        assert b"--cors-origin" in reply.body
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_an_unknown_page_is_not_told_that_it_may_ask(server: Server) -> None:
    headers = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    reply = server.request("OPTIONS", "/embed", None, headers)
    assert (reply.status, "access-control-allow-origin" in reply.headers) == (403, False)


def test_the_servers_own_page_may_ask(server: Server) -> None:
    own = f"127.0.0.1:{server.port}"
    assert ask(server, "POST", "/embed", Origin=f"http://{own}") == 200  # a browser without Sec-Fetch-Site
    assert ask(server, "POST", "/embed", Origin=f"http://{own}", Sec_Fetch_Site="same-origin") == 200
    # A proxy for HTTPS may change Host, and keeps what the browser says about itself.
    assert ask(server, "POST", "/embed", Origin="https://proxy.example", Sec_Fetch_Site="same-origin") == 200


@pytest.fixture(scope="module")
def opened(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("opened")
    (folder / "keys").write_text("key\n")
    options = ["--allowed-host", "Embed.Example.com", "--cors-origin", PAGE, "--cors-origin", "null"]
    with serving([tiny_bundle.path, *options, "--api-key-file", folder / "keys"], folder / "log") as server:
        yield server


def test_further_hosts_are_options(opened: Server) -> None:
    key = "Bearer key"
    assert ask(opened, "POST", "/embed", Host="embed.example.COM:8080", Authorization=key) == 200
    assert ask(opened, "POST", "/embed", Host="other.example.com", Authorization=key) == 403


@pytest.mark.parametrize("origin", [PAGE, "null"])
def test_a_page_of_an_allowed_origin_may_ask_and_read(opened: Server, origin: str) -> None:
    question = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    question |= {"Access-Control-Request-Headers": "authorization,content-type"}
    reply = opened.request("OPTIONS", "/embed", None, question)  # a browser sends no key here
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == origin
    assert reply.headers["access-control-allow-headers"] == "authorization,content-type"
    assert reply.headers["access-control-allow-methods"] == "GET, POST"
    headers = {"Origin": origin, "Authorization": "Bearer key", "Sec-Fetch-Site": "cross-site"}
    for body, status in ((BODY, 200), ({"inputs": 3}, 422)):  # a page may read what is wrong, too
        reply = opened.request("POST", "/embed", body, headers)
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (status, origin)
        assert reply.headers["vary"] == "Origin"
        assert "x-truncated-texts" in reply.headers["access-control-expose-headers"]
    assert ask(opened, "POST", "/embed", Origin=origin) == 401
    assert ask(opened, "POST", "/embed", Origin="https://evil.com", Authorization="Bearer key") == 403


@pytest.mark.parametrize("options", [["--insecure-no-key"], ["--allowed-host", "*"]])
def test_any_name_may_be_allowed(tiny_bundle: Bundle, tmp_path: Path, options: list[str]) -> None:
    with serving([tiny_bundle.path, *options, "--cors-origin", "*"], tmp_path / "log") as server:
        assert ask(server, "POST", "/embed", Host="embed.example.com", Origin="https://any.example") == 200


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--allowed-host", "http://example.com", "--allowed-host takes a name such as example.com, found 'http://ex"),
        ("--allowed-host", "example.com:80", "--allowed-host takes a name"),
        ("--cors-origin", "example.com", "--cors-origin takes an origin such as https://example.com"),
        ("--cors-origin", "https://example.com/", "without a path, found 'https://example.com/'"),
    ],
)
def test_wrong_names_are_one_line(tiny_bundle: Bundle, option: str, value: str, message: str) -> None:
    done = runner().invoke(cli, ["serve", str(tiny_bundle.path), option, value])
    assert done.exit_code == 1
    assert message in done.stderr


def test_without_options_no_header_is_added() -> None:
    assert Origins(None, ()).headers_for([(b"origin", b"https://a.example")]) == []
    private = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"POST")]
    private.append((b"access-control-request-private-network", b"true"))
    answer = Origins(None, ["*"]).preflight(private)
    assert answer is not None
    assert answer["access-control-allow-private-network"] == "true"
    assert Origins(None, ()).preflight(private) is None
