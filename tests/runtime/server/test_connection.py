"""connection.py: HTTP as it is on the wire, from clients that are unusual, slow or broken."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from running_server import Server, needs_server, run_here, until_closed

pytestmark = needs_server
BODY = b'{"inputs": "the cat"}'
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(*headers: bytes, body: bytes = BODY) -> bytes:
    """A request for a vector."""
    lines = [b"POST /embed HTTP/1.1", b"Host: localhost", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        yield connection


def answers(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """The statuses and the bodies of so many answers."""
    found = []
    with connection.makefile("rb") as file:
        for _ in range(count):
            status = int(file.readline().split()[1])
            size = 0
            while (line := file.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            found.append((status, file.read(size)))
    return found


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_an_offer_of_http2_is_declined(server: Server, pause: float) -> None:
    """Java's HttpClient makes it with its first request; it is answered by HTTP/1.1, and so is the next one."""
    offer = post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
    with connected(server) as connection:
        connection.sendall(offer[: -len(BODY)])
        time.sleep(pause)
        connection.sendall(offer[-len(BODY) :])
        first = answers(connection, 1)
        connection.sendall(post())
        assert [*first, *answers(connection, 1)] == [first[0]] * 2
    assert first[0][0] == 200


def test_an_offer_of_http2_may_end_the_connection(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(post(b"Connection: Upgrade, close", b"Upgrade: h2c"))
        assert until_closed(connection).startswith(b"HTTP/1.1 200")


def test_offers_in_one_packet_are_all_declined(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(post(b"Connection: Upgrade", b"Upgrade: h2c") * 300)
        found = answers(connection, 300)
    assert found == [found[0]] * 300
    assert found[0][0] == 200


def test_requests_in_one_packet_are_answered_in_order(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(post() + GET + post() + GET[:20])
        found = answers(connection, 3)
        connection.sendall(GET[20:])
        found += answers(connection, 1)
    assert [status for status, _ in found] == [200] * 4
    assert found[0] == found[2] != found[1] == found[3]


def test_a_body_in_chunks_may_have_headers_after_it(server: Server) -> None:
    chunked = post(b"Transfer-Encoding: chunked").replace(b"Content-Length: %d\r\n" % len(BODY), b"")
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    after = b"".join(b"X-Checksum-%d: %s\r\n" % (number, b"a" * 500) for number in range(50))
    with connected(server) as connection:
        connection.sendall(chunked[: -len(BODY)] + chunks + after + b"\r\n" + post())
        first, second = answers(connection, 2)
    assert first == second
    assert first[0] == 200


@pytest.mark.parametrize("size", [1000, 70_000], ids=["many headers", "large headers"])
def test_a_head_has_a_limit(server: Server, size: int) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        try:
            for number in range(1_000_000 // size):
                connection.sendall(b"X-%d: %s\r\n" % (number, b"a" * size))
        except OSError:  # it is closed
            pass
        received = until_closed(connection)
    assert received == b"" or received.startswith(b"HTTP/1.1 400")  # a reset may drop what was not read
    assert server.get("/health").status == 200


def test_a_head_of_the_largest_size_is_taken(server: Server) -> None:
    with connected(server) as connection:
        request = post(*(b"X-%d: %s" % (number, b"a" * 1000) for number in range(60)))
        for start in range(0, len(request), 5000):
            connection.sendall(request[start : start + 5000])
            time.sleep(0.002)
        assert answers(connection, 1)[0][0] == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        post(b"Content-Length: 5"),
        post(b"Transfer-Encoding: chunked", body=b"no number\r\n"),
        GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n",
        post(b" folded: value"),
    ],
    ids=["tls", "path", "two lengths", "chunk without a size", "the same, not read", "space before a name"],
)
def test_what_is_no_http_is_refused(server: Server, request_: bytes) -> None:
    """Once: the server's log, which must be empty, would tell of a second answer to a request that is refused."""
    with connected(server) as connection:
        connection.sendall(request_)
        received = until_closed(connection)
    assert received.startswith(b"HTTP/1.1 400"), received[:200]
    assert b"Invalid HTTP request received." in received


def test_the_rest_of_a_refused_body_has_a_limit_in_time() -> None:
    seen: list[object] = []

    def client(address: tuple[str, int]) -> None:
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(post(body=b"a" * 1000)[:-900])
            seen.append(answers(connection, 1)[0])
            begin = time.monotonic()
            seen.append(until_closed(connection))
            seen.append(time.monotonic() - begin)

    run_here(client, receive_seconds=0.2)
    assert seen[:2] == [(200, b"{}"), b""]
    assert isinstance(seen[2], float)
    assert seen[2] < 10, "it would be kept for 75 s"


def test_an_answer_is_json(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(post())
        (_, body), *_ = answers(connection, 1)
    assert len(json.loads(body)) == 1
