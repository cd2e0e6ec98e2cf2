"""embedge.serverless in real processes: awslambdaric with a Runtime API on loopback, functions-framework, a server."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.measure.runtime_api import RuntimeApi
from embedge import Bundle, Embedder
from lambda_events import http_api, rest_api
from lambda_sandbox import NOBODY, TASK, sandboxed, why_not

HANDLER = "embedge.serverless.lambda_handler"
TEXTS = ["the cat sat on the mat", "how do i bake bread ?"]
GOOGLE = Path(__file__).parents[2] / "examples" / "serverless" / "google" / "main.py"
needs_awslambdaric = pytest.mark.skipif(
    not find_spec("awslambdaric"), reason="needs awslambdaric, AWS's runtime: pip install awslambdaric"
)
needs_functions_framework = pytest.mark.skipif(
    not find_spec("functions_framework"), reason="needs functions-framework: pip install functions-framework"
)
needs_sandbox = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def expected(tiny_bundle: Bundle) -> Any:
    return Embedder(tiny_bundle.path).encode_document(TEXTS)


@pytest.fixture
def task_root(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A function's code: a folder with the bundle."""
    shutil.copytree(tiny_bundle.path, tmp_path / "task" / "bundle")
    return tmp_path / "task"


def vectors_of(content: dict[str, Any]) -> Any:
    return np.array(content["vectors"], np.float32)


@contextmanager
def running(command: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes its log into a file, and is killed in the end."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def environment_of(**more: str) -> dict[str, str]:
    """This process's variables, but for those that the handler sets or reads."""
    names = ("OPENBLAS_NUM_THREADS", "ORT_DISABLE_TELEMETRY", "EMBEDGE_MODEL", "LAMBDA_TASK_ROOT")
    return {name: value for name, value in os.environ.items() if name not in names} | more


def check_lambda(api: RuntimeApi, expected: Any) -> None:
    """Invoke the function directly, through API Gateway, wrongly, and again."""
    api.invoke({"texts": TEXTS})
    answer = api.answer()
    assert answer.kind == "response", answer.content
    assert np.array_equal(vectors_of(answer.content), expected)
    for make, encode in ((rest_api, False), (http_api, True)):
        api.invoke(make(json.dumps({"texts": TEXTS}), encode=encode))
        response = api.answer().content
        assert response["statusCode"] == 200
        assert np.array_equal(vectors_of(json.loads(response["body"])), expected)
    api.invoke({"texts": [TEXTS[0], 1]})
    assert api.answer().content == {"statusCode": 400, "error": "text 1 must be a string, found int"}
    api.invoke({"texts": TEXTS})
    assert np.array_equal(vectors_of(api.answer().content), expected)


@needs_awslambdaric
@pytest.mark.parametrize("runtime", ["", "AWS_Lambda_python3.13"])
def test_awslambdaric_answers(task_root: Path, expected: Any, tmp_path: Path, runtime: str) -> None:
    """Newer runtimes poll for events in a thread."""
    with RuntimeApi() as api:
        environment = environment_of(LAMBDA_TASK_ROOT=str(task_root), AWS_EXECUTION_ENV=runtime, **api.environment())
        with running([sys.executable, "-m", "awslambdaric", HANDLER], environment, tmp_path / "log"):
            check_lambda(api, expected)
    assert (tmp_path / "log").read_text() == ""


@needs_awslambdaric
@needs_sandbox
def test_awslambdaric_answers_as_another_user_with_nothing_to_write(
    task_root: Path, expected: Any, tmp_path: Path
) -> None:
    """And on one core, without HOME, with the smallest memory that AWS Lambda offers as far as threads go."""
    with RuntimeApi() as api:
        variables = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128", **api.environment()}
        command = sandboxed(task_root, ["-m", "awslambdaric", HANDLER], variables)
        with running(command, environment_of(), tmp_path / "log") as process:
            check_lambda(api, expected)
            status = Path(f"/proc/{process.pid}/status").read_text()
            assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}" in status
    assert (tmp_path / "log").read_text() == ""


@needs_sandbox
def test_the_sandbox_is_what_it_says(task_root: Path) -> None:
    probe = f"""
import os, pathlib
def refused(folder):
    try:
        pathlib.Path(folder, "probe").write_text("")
    except OSError:
        return True
folders = ("/dev/shm", {TASK!r}, {TASK!r} + "/bundle", "/mnt/packages", "/mnt/runtime/embedge", "/mnt")
home = "HOME" in os.environ, pathlib.Path(os.path.expanduser("~")).exists()
print([os.getuid(), len(os.sched_getaffinity(0)), [refused(one) for one in folders], *home])
"""
    shown = subprocess.run(sandboxed(task_root, ["-c", probe], {}), capture_output=True, text=True, check=True).stdout
    assert shown == f"{[NOBODY, 1, [True] * 6, False, False]}\n"


@needs_awslambdaric
def test_a_missing_bundle_is_an_error_of_the_start(tmp_path: Path) -> None:
    with RuntimeApi() as api:
        environment = environment_of(LAMBDA_TASK_ROOT=str(tmp_path), **api.environment())
        with running([sys.executable, "-m", "awslambdaric", HANDLER], environment, tmp_path / "log") as process:
            answer = api.answer()
            assert process.wait(timeout=30) == 1
    assert (answer.kind, answer.content["errorType"]) == ("init/error", "BundleNotFoundError")
    assert answer.content["errorMessage"].startswith(f"no bundle at {tmp_path}/bundle; put one there (`embedge bundle")


def test_openblas_and_telemetry_are_set_before_the_imports(tiny_bundle: Bundle) -> None:
    """A variable that the user has set stays. OpenBLAS's thread would be one of the process's, on two cores or more."""
    code = """
import os, sys
names = ("OPENBLAS_NUM_THREADS", "ORT_DISABLE_TELEMETRY")
class Finder:
    def find_spec(self, name, *_):
        if name in ("numpy", "onnxruntime"):
            print(name, *(os.environ.get(one) for one in names))
sys.meta_path.insert(0, Finder())
import embedge.serverless
"""
    for given, shown in (({}, "1 1"), ({"OPENBLAS_NUM_THREADS": "2"}, "2 1")):
        environment = environment_of(EMBEDGE_MODEL=str(tiny_bundle.path), **given)
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert sorted(done.stdout.splitlines()) == [f"numpy {shown}", f"onnxruntime {shown}"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def ask(port: int, body: object, *, method: str = "POST", wait: float = 60) -> tuple[int, dict[str, Any]]:
    """The status and the JSON of a response; waits for the port to open."""
    end = time.monotonic() + wait
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(method, "/", None if body is None else json.dumps(body))
            response = connection.getresponse()
            assert response.headers["content-type"] == "application/json"
            return response.status, json.loads(response.read())
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        finally:
            connection.close()


def check_http(port: int, expected: Any) -> None:
    status, content = ask(port, {"texts": TEXTS})
    assert status == 200
    assert np.array_equal(vectors_of(content), expected)
    assert ask(port, {"texts": 1}) == (400, {"error": "texts must be a string or a list of strings, found int"})
    status, content = ask(port, None, method="GET")
    assert (status, content["dimension"]) == (200, 32)


@needs_functions_framework
def test_functions_framework_answers(tiny_bundle: Bundle, expected: Any, tmp_path: Path) -> None:
    """It loads the function, then gunicorn forks the process that answers."""
    port = free_port()
    command = [sys.executable, "-m", "functions_framework", "--target", "embed", "--source", str(GOOGLE)]
    environment = environment_of(EMBEDGE_MODEL=str(tiny_bundle.path))
    with running([*command, "--port", str(port)], environment, tmp_path / "log") as process:
        check_http(port, expected)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_containers_server_answers_and_ends(tiny_bundle: Bundle, expected: Any, tmp_path: Path) -> None:
    port = free_port()
    environment = environment_of(EMBEDGE_MODEL=str(tiny_bundle.path), PORT=str(port))
    with running([sys.executable, "-m", "embedge.serverless"], environment, tmp_path / "log") as process:
        check_http(port, expected)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert (tmp_path / "log").read_text() == ""


def why_it_ends(**variables: str) -> str:
    """The one line that the container's server writes when it cannot start."""
    done = subprocess.run(
        [sys.executable, "-m", "embedge.serverless"],
        env=environment_of(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    return done.stderr.removesuffix("\n")


@pytest.mark.parametrize("port", ["http", "-1", "65536", "9" * 5000])
def test_a_port_that_is_none_is_one_line(tiny_bundle: Bundle, port: str) -> None:
    found = why_it_ends(EMBEDGE_MODEL=str(tiny_bundle.path), PORT=port)
    assert found.startswith(f"Error: PORT must be a number from 0 to 65535, found '{port}'; set it")


def test_a_port_in_use_is_one_line(tiny_bundle: Bundle) -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        assert why_it_ends(EMBEDGE_MODEL=str(tiny_bundle.path), PORT=str(port)) == (
            f"Error: port {port} is in use; end the program that listens there, or take another port: "
            f"`PORT={port + 1 if port < 65535 else 8080} python -m embedge.serverless`"
        )


def test_no_bundle_is_one_line(tmp_path: Path) -> None:
    assert why_it_ends() == "Error: no model: EMBEDGE_MODEL is not set; set it to the path of a bundle"
    assert why_it_ends(EMBEDGE_MODEL=str(tmp_path / "no")).startswith(f"Error: no bundle at {tmp_path / 'no'}: no such")
