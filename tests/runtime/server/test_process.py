"""The process of `embedge serve`: keys, sockets, signals, limits on clients, and a process that dies."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import runner
from embedge import Bundle, Embedder
from embedge.command.main import cli
from running_server import Server, needs_server, serving

pytestmark = needs_server
TEXTS = ["the cat sat on the mat"] * 4
unix_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system with fork")


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def children(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children")
    if not listed.exists():
        pytest.skip("needs /proc/PID/task/PID/children, which Linux has")
    return [int(child) for child in listed.read_text().split()]


def test_it_prints_where_it_is_and_a_line_to_try(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with serving([tiny_bundle.path], tmp_path / "log") as server:
        assert f"serving tiny at {server.url} " in server.banner
        assert "POST /v1/embeddings   OpenAI: embeddings" in server.banner
        last = server.banner.splitlines()[-1]
        done = subprocess.run(["sh", "-c", last], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("[[")


@pytest.fixture(scope="module")
def keyed(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "keys").write_text("first-key\n\n  second-key  \n")
    with serving([tiny_bundle.path, "--api-key-file", folder / "keys", "--access-log"], folder / "log") as server:
        yield server


@pytest.mark.parametrize("key", ["Bearer first-key", "bearer second-key"])
def test_a_key_opens(keyed: Server, key: str) -> None:
    assert keyed.post("/embed", {"inputs": "a"}, Authorization=key).status == 200


@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings", "/api/embed", "/v2/embed", "/metrics", "/info", "/x"])
@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer third-key", "first-key", "Basic first-key", "Bearer é"])
def test_without_a_key_nothing_opens(keyed: Server, path: str, key: str | None) -> None:
    headers = {} if key is None else {"Authorization": key}
    reply = keyed.post(path, {"inputs": "a"}, **headers)
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert b"no valid API key" in reply.body


@pytest.mark.parametrize("path", ["/health", "/ping", "/"])
def test_health_and_the_page_need_no_key(keyed: Server, path: str) -> None:
    assert keyed.get(path).status == 200


def test_the_access_log_has_a_line_for_each_request_and_no_text(keyed: Server) -> None:
    keyed.post("/embed?secret=poem", {"inputs": ["a secret poem", "b"]}, Authorization="Bearer first-key")
    until(lambda: " texts=2 " in keyed.log.read_text())  # the line follows the answer
    line = next(line for line in keyed.log.read_text().splitlines() if " texts=2 " in line)
    assert " POST /embed 200 " in line
    assert int(line.rpartition(" tokens=")[2]) > 2
    assert not any(word in keyed.log.read_text() for word in ("poem", "first-key"))


def test_a_model_of_the_other_option_is_told_which(tiny_bundle: Bundle, reranker_bundle: Bundle) -> None:
    embedder, reranker = str(tiny_bundle.path), str(reranker_bundle.path)
    for arguments, line in (
        ([embedder, reranker], f"error: {reranker} is a reranker; pass --reranker {reranker}\n"),
        (["--reranker", embedder], f"error: {embedder} is an embedder; leave --reranker out before {embedder}\n"),
    ):
        command = [sys.executable, "-m", "embedge", "serve", *arguments, "--port", "0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr.lower()) == (1, "", line.lower())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no model; give one, such as `embedge serve bge-small-en-v1.5`"),
        (["BUNDLE", "--host", "0.0.0.0"], "0.0.0.0 can be reached from other machines, and there is no API key"),
        (["BUNDLE", "--host", "::"], "can be reached from other machines"),
        (["BUNDLE", "--host", "no such host"], "there is no address no such host"),
        (["BUNDLE", "--api-key-file", "EMPTY"], "has no key; write one in each line"),
        (["BUNDLE", "--api-key-file", "BLANK"], "key 2 of"),
        (["BUNDLE", "--unix-socket", "EMPTY"], "exists and is no socket"),
        (["BUNDLE", "--unix-socket", "/no/such/folder/socket"], "cannot listen at /no/such/folder/socket"),
        (["/no/such/bundle", "--port", "0"], "/no/such/bundle"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    tiny_bundle: Bundle, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "EMPTY").write_text("\n")
    (tmp_path / "BLANK").write_text("a\nb c\n")
    names = {"BUNDLE": str(tiny_bundle.path), **{name: str(tmp_path / name) for name in ("EMPTY", "BLANK")}}
    command = [sys.executable, "-m", "embedge", "serve", *(names.get(one, one) for one in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_port_in_use_is_one_line(tiny_bundle: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = str(sock.getsockname()[1])
        done = runner().invoke(cli, ["serve", str(tiny_bundle.path), "--port", port])
    assert done.exit_code == 1
    assert f"cannot listen at 127.0.0.1 port {port}: Address already in use; choose another" in done.stderr


@unix_only
def test_a_unix_socket_is_the_users_own(tiny_bundle: Bundle, embedder: Embedder, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()  # as a server that was killed leaves it
    with serving([tiny_bundle.path, "--unix-socket", path], tmp_path / "log") as server:
        assert server.url == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        last = server.banner.splitlines()[-1]
        answer = subprocess.run(["sh", "-c", last], capture_output=True, check=True).stdout
        assert np.array_equal(np.array(eval(answer), np.float32), embedder.encode(["hello"]))
        done = runner().invoke(cli, ["serve", str(tiny_bundle.path), "--unix-socket", str(path)])
        assert f"a server listens at {path}" in done.stderr
        server.process.terminate()
        assert server.process.wait(timeout=10) == 0
    assert not path.exists()


@unix_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_runs_and_exits_with_0(
    tiny_bundle: Bundle, embedder: Embedder, tmp_path: Path, number: int
) -> None:
    with serving([tiny_bundle.path], tmp_path / "log") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as running:
            body = b'{"inputs": "the cat"}'
            head = f"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            running.sendall(head + body[:10])
            until(lambda: b'te_request_count{route="/embed"} 1' in server.get("/metrics").body)
            server.process.send_signal(number)
            until(lambda: refuses(server.port))
            running.sendall(body[10:])
            running.settimeout(20)
            answer = read_all(running)
        assert answer.startswith(b"HTTP/1.1 200")
        assert np.array_equal(
            np.array(eval(answer.partition(b"\r\n\r\n")[2]), np.float32), embedder.encode(["the cat"])
        )
        assert server.process.wait(timeout=10) == 0
    assert server.log.read_text() == ""


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return True
    return False


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


@unix_only
def test_a_request_that_does_not_end_does_not_keep_the_server(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with (
        serving([tiny_bundle.path, "--shutdown-seconds", "1"], tmp_path / "log") as server,
        socket.create_connection(("127.0.0.1", server.port)) as running,
    ):
        running.sendall(b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        until(lambda: b'te_request_count{route="/embed"} 1' in server.get("/metrics").body)
        begin = time.monotonic()
        server.process.terminate()
        assert server.process.wait(timeout=15) == 0
    assert time.monotonic() - begin < 6


@unix_only
@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL])
def test_a_process_that_dies_is_replaced(tiny_bundle: Bundle, embedder: Embedder, tmp_path: Path, number: int) -> None:
    with serving([tiny_bundle.path], tmp_path / "log") as server:
        (child,) = children(server.process.pid)
        os.kill(child, number)
        # A request that is sent at once waits for the next process, and is not refused.
        until(lambda: children(server.process.pid) != [child])
        answer = server.post("/embed", {"inputs": TEXTS})
        assert np.array_equal(np.array(answer.json, np.float32), embedder.encode(TEXTS))
        assert b"embedge_restarts_total 1\n" in server.get("/metrics").body
        server.process.terminate()
        assert server.process.wait(timeout=10) == 0
    name = signal.Signals(number).name
    assert server.log.read_text() == f"the server's process was ended by {name}; starting another in 0.2 s\n"


@unix_only
def test_a_server_ends_with_its_parent(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with serving([tiny_bundle.path], tmp_path / "log") as server:
        (child,) = children(server.process.pid)
        server.process.kill()
        until(lambda: refuses(server.port))
        until(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text())
