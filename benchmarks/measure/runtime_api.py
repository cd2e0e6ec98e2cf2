"""AWS Lambda's Runtime API on the loopback interface: gives a runtime its events, and takes its answers.

Source: AWS Lambda's developer guide, "Using the Lambda runtime API for custom runtimes" (version 2018-06-01).
"""

import json
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Answer:
    """What the runtime sent: ``kind`` is ``response``, ``error`` or ``init/error``, and ``content`` its JSON."""

    kind: str
    content: Any


class RuntimeApi(ThreadingHTTPServer):
    """The server. A runtime finds it by the environment variables that ``environment`` returns."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: queue.Queue[object] = queue.Queue()
        self.answers: queue.Queue[Answer] = queue.Queue()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def environment(self) -> Mapping[str, str]:
        """Return the variable with which AWS Lambda tells a runtime the address."""
        return {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server_address[1]}"}

    def invoke(self, event: object) -> None:
        """Give an event to the runtime when it asks for the next one."""
        self.events.put(event)

    def answer(self, *, timeout: float = 60) -> Answer:
        """Return the next answer; raise ``queue.Empty`` if there is none in ``timeout`` seconds."""
        return self.answers.get(timeout=timeout)


class _Handler(BaseHTTPRequestHandler):
    server: RuntimeApi

    def do_GET(self) -> None:
        assert self.path == "/2018-06-01/runtime/invocation/next", self.path
        body = json.dumps(self.server.events.get()).encode()
        deadline = str(int(1000 * time.time()) + 30_000)
        arn = "arn:aws:lambda:eu-central-1:123456789012:function:embed"
        self._send(200, body, {"Aws-Request-Id": "a-request", "Deadline-Ms": deadline, "Invoked-Function-Arn": arn})

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["content-length"])))
        kind = self.path.removeprefix("/2018-06-01/runtime/").removeprefix("invocation/a-request/")
        self._send(202, b"{}", {})
        self.server.answers.put(Answer(kind, content))

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(f"Lambda-Runtime-{name}", value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""
