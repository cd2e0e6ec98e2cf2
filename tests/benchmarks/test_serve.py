"""The benchmark of servers: its clients, and its table."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from benchmarks import serve
from benchmarks.measure.http_load import Api, WrongAnswerError, ask, concurrent, one_at_a_time
from benchmarks.peers.server_table import SERVER_PEERS

CLIENTS = 5


class Handler(BaseHTTPRequestHandler):
    """Answers each text with its length; an empty one with an error. Counts the requests that run at once."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    running = most = 0

    def do_POST(self) -> None:
        with Handler.lock:
            Handler.running += 1
            Handler.most = max(Handler.most, Handler.running)
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        body = json.dumps({"data": [{"embedding": [float(len(text)), 1.0]}]}).encode()
        time.sleep(0.02)
        self.send_response(200 if text else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with Handler.lock:
            Handler.running -= 1
        self.wfile.write(body)

    def log_message(self, *parts: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    Handler.running = Handler.most = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield Api("127.0.0.1", server.server_port, "model")
        server.shutdown()


def test_clients_ask_at_the_same_time_and_each_answer_is_timed(api: Api) -> None:
    rate, times = concurrent(api, ["a", "cat"], clients=CLIENTS, seconds=0.3)
    assert 1 < Handler.most <= CLIENTS
    assert len(times) >= CLIENTS
    assert all(0 < one < 5 for one in times)
    assert rate > 0


def test_one_after_the_other(api: Api) -> None:
    assert len(one_at_a_time(api, ["a", "b", "c"])) == 3
    assert Handler.most == 1


def test_a_vector_is_read(api: Api) -> None:
    np.testing.assert_array_equal(ask(api, "cat"), [3, 1])


def test_an_error_is_an_error(api: Api) -> None:
    with pytest.raises(WrongAnswerError, match="500"):
        concurrent(api, [""], clients=1, seconds=0.1)


def test_names_are_unique_and_every_adapter_is_there() -> None:
    names = [peer.name for peer in SERVER_PEERS]
    assert len(set(names)) == len(names)
    folder = Path(serve.__file__).parent / "peers"
    assert all((folder / f"{peer.module}.py").is_file() for peer in SERVER_PEERS)
