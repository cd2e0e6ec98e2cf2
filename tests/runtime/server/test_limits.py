"""A server with narrow limits: overload, slow answers, slow clients, clients that go away, bodies, characters."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection

import numpy as np
import pytest

from embedge import Bundle, Embedder
from embedge.server.limits import Limits
from running_server import Server, needs_server, run_here, serving, until_closed

pytestmark = needs_server


@pytest.fixture(scope="module")
def narrow(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ["--threads", "1", "--max-waiting-texts", "50", "--max-body-bytes", "300000", "--max-characters", "7"]
    options += ["--max-texts", "20000"]
    with serving([tiny_bundle.path, *options], tmp_path_factory.mktemp("narrow") / "log") as server:
        yield server


def metric(server: Server, name: str) -> float:
    lines = server.get("/metrics").body.decode().splitlines()
    return float(next((line for line in lines if line.startswith(f"{name} ")), "0 0").rpartition(" ")[2])


def test_too_many_waiting_texts_get_429_with_a_time(narrow: Server) -> None:
    statuses: list[tuple[int, str | None]] = []

    def client() -> None:
        reply = narrow.post("/v1/embeddings", {"input": ["the cat"] * 1000, "model": "tiny"})
        statuses.append((reply.status, reply.headers.get("retry-after")))
        if reply.status == 429:
            assert reply.json["error"]["type"] == "rate_limit_error"

    threads = [threading.Thread(target=client) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {status for status, _ in statuses} == {200, 429}
    assert all((wait is not None and int(wait) >= 1) == (status == 429) for status, wait in statuses)
    assert metric(narrow, 'te_request_failure{err="overloaded"}') >= 1


def test_a_client_that_goes_away_leaves_the_queue(narrow: Server) -> None:
    """A client is watched after a tenth of a second; these ask for much more than that."""
    body = json.dumps({"inputs": ["the cat"] * 20_000}).encode()
    head = b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    before = metric(narrow, 'te_request_failure{err="disconnected"}')
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", narrow.port)) as connection:
            connection.sendall(head + body)
            time.sleep(0.005)
    end = time.monotonic() + 20
    while metric(narrow, "te_queue_size") and time.monotonic() < end:
        time.sleep(0.05)
    assert metric(narrow, "te_queue_size") == 0
    assert metric(narrow, 'te_request_failure{err="disconnected"}') > before


@pytest.mark.parametrize("declares", [True, False])
def test_a_body_that_is_too_large_is_refused(narrow: Server, declares: bool) -> None:
    body = b'{"inputs": "' + b"a" * 400_000 + b'"}'
    connection = HTTPConnection("127.0.0.1", narrow.port, timeout=20)
    connection.request("POST", "/embed", body if declares else iter([body]))
    response = connection.getresponse()
    assert response.status == 413
    assert "--max-body-bytes" in json.loads(response.read())["error"]
    connection.close()


def test_characters_beyond_the_limit_count_as_truncated(narrow: Server, embedder: Embedder) -> None:
    reply = narrow.post("/embed", {"inputs": ["the cat sat", "the cat"], "truncate": False})
    assert (reply.status, "text 0 is longer" in reply.json["error"]) == (413, True)
    reply = narrow.post("/embed", {"inputs": ["the cat sat", "the cat"], "truncate": True})
    assert reply.headers["x-truncated-texts"] == "1"
    assert np.array_equal(np.array(reply.json, np.float32), embedder.encode(["the cat", "the cat"]))


def test_an_answer_that_takes_too_long_gets_503(tiny_bundle: Bundle, embedder: Embedder, tmp_path: object) -> None:
    from pathlib import Path

    log = Path(str(tmp_path)) / "log"
    options = ["--request-seconds", "0.01", "--threads", "1", "--max-texts", "20000"]
    with serving([tiny_bundle.path, *options], log) as server:
        reply = server.post("/embed", {"inputs": ["the cat sat on the mat"] * 20_000})
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert "took more than 0.01 s" in reply.json["error"]


def test_a_client_that_is_too_slow_is_dropped() -> None:
    seen: list[bytes] = []

    def idle(address: tuple[str, int]) -> bytes:
        """A connection that asks again after longer than the limit: between requests it may be idle."""
        received = b""
        with socket.create_connection(address) as connection:
            for _ in range(2):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                received += connection.recv(4096)
                time.sleep(0.5)
        return received

    def client(address: tuple[str, int]) -> None:
        seen.append(idle(address))
        for start in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT"):
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(start)
                seen.append(until_closed(connection))

    run_here(client, receive_seconds=0.2)
    assert seen[0].count(b"HTTP/1.1 200") == 2
    assert [one[:12] for one in seen[1:]] == [b"", b"", b"HTTP/1.1 200"]


def test_all_bodies_together_have_a_limit() -> None:
    """No test fills a server's memory; it is the sum that counts."""
    import asyncio

    from starlette.requests import Request

    from embedge.server.body import BodyReader
    from embedge.server.request_error import RequestError
    from embedge.server.timers import Timers

    bodies = BodyReader(Limits(body_bytes=100, all_body_bytes=150), Timers())

    def request(size: int) -> Request:
        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b"x" * size, "more_body": False}

        return Request({"type": "http", "method": "POST", "headers": []}, receive)

    async def two() -> None:
        assert await bodies.read(request(100)) == b"x" * 100
        with pytest.raises(RequestError, match="together have more than 150 bytes") as caught:
            await bodies.read(request(100))
        assert caught.value.kind == "overloaded"
        bodies.forget(100)
        assert len(await bodies.read(request(100))) == 100  # the first one's bytes count no longer

    asyncio.run(two())
