"""server.py: what the container's server refuses, and that it ends without dropping a request."""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, EmbedgeError
from embedge.function import server
from embedge.function.server import LARGEST_BODY, Server, serve


@pytest.fixture(scope="module")
def port(tiny: Embedder) -> Iterator[int]:
    with Server(tiny, ("127.0.0.1", 0)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def request(port: int, method: str, body: bytes | None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, "/any/path?text=secret", body, headers or {})
    response = connection.getresponse()
    assert response.headers["content-type"] == "application/json"
    read = response.read()
    connection.close()
    return response.status, json.loads(read) if read else None


def raw(port: int, sent: bytes) -> bytes:
    """What the server sends to a client that http.client cannot be."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_requests_are_answered_beside_each_other(port: int, tiny: Embedder) -> None:
    texts = [["the cat", f"text {number}"] for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: request(port, "POST", json.dumps({"texts": one}).encode()), texts))
    for one, (status, content) in zip(texts, answers, strict=True):
        assert status == 200
        assert np.array_equal(np.array(content["vectors"], np.float32), tiny.encode_document(one))


def test_head_has_no_body(port: int) -> None:
    assert request(port, "HEAD", None) == (200, None)


def test_a_body_must_have_a_length(port: int) -> None:
    for header in (b"", b"Transfer-Encoding: chunked\r\n", b"Content-Length: -1\r\n", b"Content-Length: \xb2\r\n"):
        answer = raw(port, b"POST / HTTP/1.1\r\n" + header + b"\r\n")
        assert answer.startswith(b"HTTP/1.0 411 ")
        assert b'{"error":"the request has no Content-Length; send one' in answer


@pytest.mark.parametrize("length", [LARGEST_BODY + 1, 10**30])
def test_a_body_may_not_be_too_long(port: int, length: int) -> None:
    """It is refused before it is read."""
    status, content = request(port, "POST", b"", {"content-length": str(length)})
    assert status == 413
    assert f"more than {LARGEST_BODY}; send fewer texts at a time" in content["error"]


def test_a_client_that_goes_away_harms_no_other(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
    assert request(port, "GET", None)[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_other_methods_are_not_there(port: int) -> None:
    assert raw(port, b"DELETE / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 501 ")


@pytest.mark.parametrize(
    ("code", "port", "message"),
    [
        (errno.EACCES, 80, "port 80 cannot be opened (Permission denied); take another port: `PORT=8080 python"),
        (
            errno.EADDRINUSE,
            8080,
            "port 8080 is in use; end the program that listens there, or take another port: `PORT=8081 ",
        ),
        (errno.EADDRINUSE, 65535, "or take another port: `PORT=8080 python -m embedge.serverless`"),
    ],
)
def test_a_port_that_cannot_be_opened_is_one_of_our_errors(
    tiny: Embedder, monkeypatch: pytest.MonkeyPatch, code: int, port: int, message: str
) -> None:
    """Which errors there are depends on the user, and on the machine."""

    def refuse(*arguments: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(server, "Server", refuse)
    with pytest.raises(EmbedgeError) as caught:
        serve(tiny, host="127.0.0.1", port=port)
    assert message in str(caught.value)


SLOW = """
import os, signal, sys, threading
from embedge import Embedder
from embedge.function import server
model = Embedder(sys.argv[1])
original = model.encode_document
def encode_document(*arguments, **options):
    os.kill(os.getpid(), signal.SIGTERM)  # while the request is being answered
    threading.Event().wait(0.5)
    return original(*arguments, **options)
model.encode_document = encode_document
class Told(server.Server):
    def server_activate(self):
        super().server_activate()
        print(self.server_address[1], flush=True)
server.Server = Told
server.serve(model, host="127.0.0.1", port=0)
"""


def test_a_request_that_has_begun_is_answered_before_it_ends(tiny_bundle: Bundle) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tiny_bundle.path)], stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        status, content = request(port, "POST", b'{"texts": ["the cat"]}')
        assert (status, len(content["vectors"])) == (200, 1)
        assert process.wait(timeout=30) == 0
