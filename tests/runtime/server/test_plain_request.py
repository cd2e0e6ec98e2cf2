"""plain_request.py, and the part of connection.py that answers without h11: it must not differ from h11."""

import asyncio
import re
import socket
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from running_server import needs_server, run_here, until_closed

h11 = pytest.importorskip("h11", reason="needs h11: pip install 'embedge[server]'")
pytestmark = needs_server

BODY = b'{"input": "the cat"}'
# What clients send, but for their versions.
HEADS = {
    "openai": [
        b"Accept-Encoding: gzip, deflate",
        b"Connection: keep-alive",
        b"Accept: application/json",
        b"Content-Type: application/json",
        b"User-Agent: OpenAI/Python 2.0.0",
        b"X-Stainless-Raw-Response: true",
        b"Authorization: Bearer sk-1",
        b"x-stainless-read-timeout: 600",
    ],
    "curl": [b"User-Agent: curl/8.5.0", b"Accept: */*", b"Content-Type: application/json"],
    "requests": [
        b"User-Agent: python-requests/2.32",
        b"Accept-Encoding: gzip",
        b"Accept: */*",
        b"Connection: keep-alive",
    ],
    "go": [b"User-Agent: Go-http-client/1.1", b"Accept-Encoding: gzip"],
    "node": [
        b"connection: keep-alive",
        b"accept: */*",
        b"accept-language: *",
        b"sec-fetch-mode: cors",
        b"user-agent: node",
    ],
}


def request(*headers: bytes, target: bytes = b"/v1/embeddings?a=b", body: bytes = BODY) -> bytes:
    lines = [b"POST %s HTTP/1.1" % target, b"Host: localhost:8080", *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body])


def read_by_h11(data: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]:
    """Read one request, which must be whole, ask for nothing but an answer, and leave the connection open."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    head = connection.next_event()
    assert isinstance(head, h11.Request)
    assert head.http_version == b"1.1"
    assert not connection.they_are_waiting_for_100_continue
    body = b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        body += event.data
    assert list(event.headers) == []
    assert connection.trailing_data == (b"", False)
    connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
    connection.send(h11.EndOfMessage())
    connection.start_next_cycle()  # raises if the connection must close
    return head.method, head.target, list(head.headers), body


def check(data: bytes) -> bool:
    """Compare with h11 what is taken as plain; return whether it is."""
    from embedge.server.plain_request import parse_plain

    plain = parse_plain(data)
    if plain is not None:
        assert read_by_h11(data) == (b"POST", plain.target, plain.headers, plain.body)
    return plain is not None


@pytest.mark.parametrize("client", HEADS)
def test_requests_of_clients_are_plain(client: str) -> None:
    assert check(request(*HEADS[client]))
    assert check(request(*HEADS[client], body=b""))
    assert check(request(*HEADS[client], body=bytes(range(256)) * 1000))


NOT_PLAIN = {
    "another method": request().replace(b"POST", b"PUT", 1),
    "http 1.0": request().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no host": request().replace(b"Host", b"Toast"),
    "no length": request().replace(b"Content-Length", b"Content-Extent"),
    "two lengths": request(b"Content-Length: 20"),
    "two hosts": request(b"host: other"),
    "a length with a sign": request().replace(b"Length: ", b"Length: +"),
    "a length with a zero": request().replace(b"Length: ", b"Length: 0"),
    "a body to come": request()[:-1],
    "a second request": request() + request(),
    "a head to come": request()[:50],
    "chunks": request(b"Transfer-Encoding: chunked"),
    "100-continue": request(b"Expect: 100-continue"),
    "an upgrade": request(b"Connection: Upgrade", b"Upgrade: h2c"),
    "a close": request(b"Connection: close"),
    "a folded line": request(b"A: b", b" c"),
    "a blank before a colon": request(b"A : b"),
    "a bare line feed": request().replace(b"\r\n", b"\n", 1),
    "a control character": request(b"A: b\x00c"),
    "a carriage return in a value": request(b"A: b\rc"),
    "a whole URL": request(target=b"http://localhost/"),
    "a large head": request(*[b"A%d: %s" % (number, b"a" * 1000) for number in range(20)]),
}


@pytest.mark.parametrize("data", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_all_else_is_left_to_h11(data: bytes) -> None:
    assert not check(data)


PIECES = [
    *(
        b"POST ",
        b"/",
        b"a",
        b" HTTP/1.1",
        b"\r\n",
        b"\r",
        b"\n",
        b"{}",
        b":",
        b" ",
        b"\t",
        b"\x00",
        b",",
        b"keep-alive",
    ),
    *(b"Host: a\r\n", b"Content-Length: 2\r\n", b"Content-Length: 02\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Connection: close\r\n", b"X: \xff\r\n"),
]


@given(st.data())
def test_what_is_taken_is_what_h11_reads(data: st.DataObject) -> None:
    """Requests with some pieces put in, taken out or changed."""
    found = request(*HEADS[data.draw(st.sampled_from(sorted(HEADS)))], body=b"{}")
    for _ in range(data.draw(st.integers(0, 3))):
        first = data.draw(st.integers(0, len(found)))
        end = first + data.draw(st.sampled_from([0, 0, 1, 2, 9]))
        found = found[:first] + data.draw(st.sampled_from(PIECES) | st.binary(max_size=3)) + found[end:]
    check(found)


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_requests_of_pieces(pieces: list[bytes]) -> None:
    check(b"POST / HTTP/1.1\r\nHost: a\r\n" + b"".join(pieces) + b"\r\n{}")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer what the request was; the path says how."""
    from starlette.responses import JSONResponse

    from embedge.server.plain_request import WHOLE_BODY

    body, is_more = b"", True
    while is_more:
        message = await receive()
        body, is_more = body + message["body"], message["more_body"]
    if scope["path"] == "/wrong":
        raise ValueError("a fault of the application")
    if scope["path"] == "/slow":
        await asyncio.sleep(0.2)
    is_plain = WHOLE_BODY in (scope.get("extensions") or {})
    content = {name: repr(value) for name, value in scope.items() if name not in ("asgi", "client", "extensions")}
    status = {"/missing": 404, "/busy": 429}.get(scope["path"], 200)
    headers = {"x-plain": str(is_plain), "connection": "close" if scope["path"] == "/last" else "keep-alive"}
    await JSONResponse(content | {"body": body.decode("latin-1")}, status, headers)(scope, receive, send)


def read_answer(connection: socket.socket) -> bytes:
    with connection.makefile("rb", buffering=0) as file:  # nothing of the next answer
        head = b"".join(iter(file.readline, b"\r\n"))
    size = int(head.partition(b"content-length: ")[2].split()[0])
    return head + b"\r\n" + connection.recv(size, socket.MSG_WAITALL)


@pytest.mark.parametrize("path", ["/a%20b?c=%20d", "/missing", "/busy", "/last"])
def test_answers_and_scopes_are_those_of_h11(path: str) -> None:
    """The same request, whole and in two pieces; h11 reads the second."""
    answers: list[bytes] = []

    def client(address: tuple[str, int]) -> None:
        for pause in (0.0, 0.2):
            data = request(b"X-Name: a  b", target=path.encode())
            with socket.create_connection(address, timeout=20) as connection:
                connection.sendall(data if not pause else data[:20])
                if pause:
                    time.sleep(pause)
                    connection.sendall(data[20:])
                answers.append(read_answer(connection))
                if path == "/last":
                    assert until_closed(connection) == b""

    run_here(client, app=echo)
    plain, other = (re.sub(rb"date: [^\r]+", b"date:", answer) for answer in answers)
    assert b"x-plain: True" in plain
    assert plain.replace(b"x-plain: True", b"x-plain: False").splitlines() == other.splitlines()


def test_a_body_has_the_same_limits() -> None:
    """A body of 10 bytes may pass, and of two of them one; h11 reads every second request."""
    from starlette.requests import Request
    from starlette.responses import Response

    from embedge.server.body import BodyReader
    from embedge.server.limits import Limits
    from embedge.server.request_error import RequestError
    from embedge.server.timers import Timers

    bodies = BodyReader(Limits(body_bytes=10, all_body_bytes=15), Timers())
    answers: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await bodies.read(Request(scope, receive))
        except RequestError as error:
            await Response(error.message)(scope, receive, send)
            return
        await asyncio.sleep(0.3)
        bodies.forget(len(body))
        await Response("passed")(scope, receive, send)

    def client(address: tuple[str, int]) -> None:
        for field in (b"X: y", b"X:\ty"):
            with (
                socket.create_connection(address, timeout=20) as first,
                socket.create_connection(address, timeout=20) as second,
            ):
                for size in (11, 10):
                    first.sendall(request(field, body=b"a" * size))
                    if size == 10:
                        time.sleep(0.1)
                        second.sendall(request(field, body=b"a" * size))
                        answers.append(read_answer(second).rpartition(b"\n")[2])
                    answers.append(read_answer(first).rpartition(b"\n")[2])

    run_here(client, app=app)
    assert answers[:3] == answers[3:]
    assert answers[0].startswith(b"the body has 11 bytes, and at most 10 are allowed")
    assert answers[1].startswith(b"the bodies of all requests together have more than 15 bytes")
    assert answers[2] == b"passed"
    assert bodies._held == 0


def test_a_fault_of_the_application_ends_the_connection() -> None:
    """It would be one of ours, because ``Gate`` answers all errors."""
    seen: list[bytes] = []

    def client(address: tuple[str, int]) -> None:
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(request(target=b"/wrong"))
            seen.append(until_closed(connection))

    run_here(client, app=echo)
    assert seen[0].startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert seen[0].endswith(b"\r\n\r\nInternal Server Error")


def test_requests_that_come_too_early_are_answered_in_order() -> None:
    """The first is plain and takes long; the next ones wait, whether h11 reads them or not."""
    bodies: list[bytes] = []

    def client(address: tuple[str, int]) -> None:
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(request(target=b"/slow", body=b"1"))
            for number, piece in enumerate((request(body=b"2"), request(body=b"3")[:9], request(body=b"3")[9:])):
                time.sleep(0.02 * number)
                connection.sendall(piece)
            for _ in range(3):
                bodies.append(read_answer(connection))
            connection.sendall(request(body=b"4"))
            bodies.append(read_answer(connection))

    run_here(client, app=echo)
    assert [re.search(rb'"body":"(.)"', body)[1] for body in bodies] == [b"1", b"2", b"3", b"4"]  # type: ignore[index]


def test_a_head_after_a_plain_request_has_its_limit() -> None:
    seen: list[object] = []

    def client(address: tuple[str, int]) -> None:
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(request())
            seen.append(read_answer(connection)[:12])
            connection.sendall(request()[:20])
            begin = time.monotonic()
            seen.append(until_closed(connection))
            seen.append(time.monotonic() - begin)

    run_here(client, receive_seconds=0.2)
    assert seen[:2] == [b"HTTP/1.1 200", b""]
    assert isinstance(seen[2], float)
    assert seen[2] < 10, "it would be kept for 75 s"


def test_a_connection_without_requests_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedge.server.process._KEEP_ALIVE", 0.2)
    seen: list[bytes] = []

    def client(address: tuple[str, int]) -> None:
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(request())
            seen.extend([read_answer(connection)[:12], until_closed(connection)])

    run_here(client)
    assert seen == [b"HTTP/1.1 200", b""]


class Clock:
    """An event loop whose time stands still, with one timer."""

    def __init__(self) -> None:
        self.now, self.set, self.timer = 100.0, 0, None

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Any) -> "Clock":
        self.when_, self.call, self.set = when, call, self.set + 1
        return self

    def when(self) -> float:
        return self.when_

    def cancel(self) -> None:
        self.call = None

    def end(self) -> None:
        self.now = self.when_
        self.call()


def test_one_timer_serves_many_deadlines() -> None:
    from embedge.server.connection import Connection

    ended: list[float] = []
    connection: Any = Connection.__new__(Connection)
    connection.loop = clock = Clock()
    connection.timeout_keep_alive_handler = lambda: ended.append(clock.now)
    for _ in range(50):
        connection._limit(75)
        clock.now += 1
    assert clock.set == 1
    clock.end()
    assert (ended, clock.set, clock.when()) == ([], 2, 149 + 75)  # the last request came at 149
    connection._limit(5)  # an earlier deadline
    assert (clock.set, clock.when()) == (3, clock.now + 5)
    clock.end()
    assert ended == [clock.now]
