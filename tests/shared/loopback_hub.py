"""A loopback server with the routes of the Hugging Face hub that huggingface_hub and embedge use, and with faults.

As on the real hub, large files are at another address than small ones: `resolve` redirects there.
"""

import base64
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 4096  # bytes; a file of this size or more is stored as LFS
WRITER, READER = "hf_writer", "hf_reader"  # tokens
# huggingface_hub requests this route since 2.0, once a day, before anything else. The answer has the hub's shape.
REGISTRY = "/api/agent-harnesses"
_REGISTRY = {"standardEnvVars": ["AI_AGENT"], "harnesses": {"example": {"envVars": {"EXAMPLE_HARNESS": "*"}}}}


@dataclass
class Repository:
    """The files of every branch, by path."""

    branches: dict[str, dict[str, bytes]]
    private: bool = False
    messages: list[str] = field(default_factory=list)

    @property
    def files(self) -> dict[str, bytes]:
        return self.branches["main"]


def commit_of(files: dict[str, bytes]) -> str:
    """The commit hash of a set of files."""
    digest = hashlib.sha1(usedforsecurity=False)
    for name, content in sorted(files.items()):
        digest.update(f"{name} {git_sha1(content)}".encode())
    return digest.hexdigest()


@cache
def git_sha1(content: bytes) -> str:
    """The SHA-1 of git's blob with that content, in hex."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@cache
def sha256(content: bytes) -> str:
    """The SHA-256 of the content, in hex."""
    return hashlib.sha256(content).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    """The server. It records requests. If ``fault`` returns True for a request, it has answered the request itself."""

    daemon_threads = True

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}  # large files by SHA-256
        self.pages: dict[str, bytes] = {}  # other pages by path
        self.requests: list[tuple[str, str]] = []  # without those to REGISTRY, which the client makes, not embedge
        self.registry_requests = 0
        self.tokens: set[str] = set()
        self.fault: Fault | None = None
        self.is_terse = False  # answers with the names of files only, as some mirrors do
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def elsewhere(self) -> str:
        """The same server under another host name. A token must not be sent there."""
        return f"http://localhost:{self.server_port}"

    def add(self, name: str, folder: Path, *, private: bool = False) -> Repository:
        """Add a repository with the files of a folder."""
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.repositories[name] = Repository({"main": files}, private)
        return self.repositories[name]

    def count(self, method: str, part: str) -> int:
        """The number of requests with ``part`` in their path."""
        return sum(made == method and part in path for made, path in self.requests)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the client closed the connection


@contextmanager
def running() -> Iterator[Hub]:
    """Run a hub until the block ends."""
    hub = Hub()
    threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.closing.set()
        hub.shutdown()
        hub.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        self._handle("GET", self._get)

    def do_HEAD(self) -> None:
        self._handle("HEAD", self._get)

    def do_POST(self) -> None:
        self._handle("POST", self._post)

    def do_PUT(self) -> None:
        self._handle("PUT", self._put)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the name in the base class
        pass

    @property
    def route(self) -> str:
        return unquote(urlsplit(self.path).path)

    def _handle(self, method: str, answer: Callable[[bytes], None]) -> None:
        if self.route == REGISTRY:
            self.server.registry_requests += 1
        else:
            self.server.requests.append((method, self.route))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.fault is None or not self.server.fault(self):
            answer(body)

    def send(self, status: int, content: bytes, **headers: str) -> None:
        """Send an answer. Underscores in the names of headers become hyphens."""
        self.begin(status, len(content), **headers)
        if self.command != "HEAD":
            self.wfile.write(content)

    def begin(self, status: int, length: int, **headers: str) -> None:
        """Send the status and the headers of an answer."""
        self.send_response(status)
        for name, value in {**headers, "Content_Length": str(length)}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send_json(self, value: object) -> None:
        self.send(200, json.dumps(value).encode(), Content_Type="application/json")

    @property
    def token(self) -> str:
        return str(self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def find(self, name: str, revision: str) -> tuple[Repository, dict[str, bytes]] | None:
        """The repository and the files of a revision; None where an error was sent instead."""
        self.server.tokens.add(self.token)
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and self.token not in (WRITER, READER)):
            self.send(401 if not self.token else 404, b"", X_Error_Code="RepoNotFound")
            return None
        for branch, files in repository.branches.items():
            if revision in (branch, commit_of(files)):
                return repository, files
        self.send(404, b"", X_Error_Code="RevisionNotFound")
        return None

    def content(self) -> bytes | None:
        """The content of the requested file; None where another answer was sent."""
        if self.route.startswith("/cdn/"):
            if self.token:
                self.send(400, b"a token for the hub")
                return None
            return self.server.objects[self.route.removeprefix("/cdn/")]
        name, _, rest = self.route[1:].partition("/resolve/")
        revision, _, path = rest.partition("/")
        found = self.find(name, revision)
        if found is None:
            return None
        if path not in found[1]:
            self.send(404, b"", X_Error_Code="EntryNotFound")
            return None
        content = found[1][path]
        if len(content) < LARGE:
            return content
        digest = sha256(content)
        self.server.objects[digest] = content
        facts = {
            "X_Repo_Commit": commit_of(found[1]),
            "X_Linked_Etag": f'"{digest}"',
            "X_Linked_Size": str(len(content)),
        }
        self.send(302, b"", Location=f"{self.server.elsewhere}/cdn/{digest}", **facts)
        return None

    def _get(self, body: bytes) -> None:
        if self.route in self.server.pages:
            self.send(200, self.server.pages[self.route], Content_Type="text/html")
            return
        if self.route == REGISTRY:
            self.send_json(_REGISTRY)
            return
        if not self.route.startswith("/api/models/"):
            content = self.content()
            if content is not None:
                self.send_content(content)
            return
        pattern = r"/api/models/(?P<name>.*?)(/(?P<kind>tree|revision)/(?P<revision>[^/]*))?"
        parts = re.fullmatch(pattern, self.route)
        assert parts is not None
        name, kind, revision = parts["name"], parts["kind"], parts["revision"]
        found = self.find(name, revision or "main")
        if found is not None and kind == "tree":
            self.send_json(_tree(found[1]))
        elif found is not None:
            self.send_json(info_of(name, *found, terse=self.server.is_terse))

    def send_content(self, content: bytes, *, cut: int | None = None) -> None:
        """Send a file or the requested range of it; only the first ``cut`` bytes where ``cut`` is given."""
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        part = content[start:]
        facts = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        if "/resolve/" in self.route:
            commit = self.route.partition("/resolve/")[2].partition("/")[0]
            facts |= {"ETag": f'"{git_sha1(content)}"', "X_Repo_Commit": commit}
        self.begin(206 if start else 200, len(part), **facts)
        if self.command != "HEAD":
            self.wfile.write(part[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True

    def _post(self, body: bytes) -> None:
        if self.token != WRITER:
            message = b'{"error": "You need a token that may write"}'
            return self.send(403 if self.token == READER else 401, message, Content_Type="application/json")
        route = self.route
        if route == "/api/validate-yaml":
            return self.send_json({"errors": [], "warnings": []})
        if route.startswith("/verify/"):
            return self.send_json({})
        if route.endswith("/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        if route == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.server.repositories[name] = Repository(
                {"main": {}}, asked.get("private") is True or asked.get("visibility") == "private"
            )
            return self.send_json({"url": f"{self.server.url}/{name}"})
        name, _, rest = route.removeprefix("/api/models/").rpartition("/")
        name, _, verb = name.rpartition("/")
        repository = self.server.repositories[name]
        if verb == "branch":
            repository.branches.setdefault(rest, dict(repository.files))
            return self.send_json({})
        if verb == "preupload":
            return self._preupload(json.loads(body), repository.branches[rest])
        return self._commit(name, repository, rest, [json.loads(line) for line in body.splitlines()])

    def _preupload(self, asked: Any, files: dict[str, bytes]) -> None:
        answers = []
        for file in asked["files"]:
            large = file["size"] >= LARGE
            there = files.get(file["path"])
            oid = None if there is None else sha256(there) if large else git_sha1(there)
            mode = "lfs" if large else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.send_json({"files": answers})

    def _batch(self, asked: Any) -> None:
        answers = []
        for wanted in asked["objects"]:
            link = {"upload": {"href": f"{self.server.url}/lfs/{wanted['oid']}"}}
            link["verify"] = {"href": f"{self.server.url}/verify/{wanted['oid']}"}
            answers.append(wanted if wanted["oid"] in self.server.objects else {**wanted, "actions": link})
        self.send_json({"transfer": "basic", "objects": answers})

    def _put(self, body: bytes) -> None:
        digest = sha256(body)
        if self.route != f"/lfs/{digest}":
            return self.send(400, b"")
        self.server.objects[digest] = body
        return self.send(200, b"", ETag=f'"{digest}"')

    def _commit(self, name: str, repository: Repository, branch: str, lines: list[Any]) -> None:
        files = dict(repository.branches[branch])
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self.server.objects[value["oid"]]
        repository.branches[branch] = files
        commit = commit_of(files)
        self.send_json({"commitUrl": f"{self.server.url}/{name}/commit/{commit}", "commitOid": commit})


def info_of(name: str, repository: Repository, files: dict[str, bytes], *, terse: bool) -> dict[str, Any]:
    siblings: list[dict[str, Any]] = []
    for path, content in files.items():
        size = len(content)
        siblings.append({"rfilename": path, "size": size, "blobId": git_sha1(content)})
        if size >= LARGE:
            siblings[-1]["lfs"] = {"sha256": sha256(content), "size": size, "pointerSize": 130}
    if terse:
        siblings = [{"rfilename": path} for path in files]
    return {"id": name, "modelId": name, "sha": commit_of(files), "siblings": siblings, "private": repository.private}


def _tree(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [
        {"type": "file", "path": path, "size": len(content), "oid": git_sha1(content)}
        for path, content in files.items()
    ]


Fault = Callable[[Handler], bool]


def fails(status: int, part: str, *, times: int = 1000, **headers: str) -> Fault:
    """Answer requests with ``part`` in their path with a status, ``times`` times."""
    left = [times]

    def fault(handler: Handler) -> bool:
        if part not in handler.route or not left[0]:
            return False
        left[0] -= 1
        handler.send(status, b"", **headers)
        return True

    return fault


def is_silent(part: str) -> Fault:
    """Never answer requests with ``part`` in their path."""

    def fault(handler: Handler) -> bool:
        return part in handler.route and handler.server.closing.wait()

    return fault


def cuts(part: str, *, keep: int, times: int = 1000) -> Fault:
    """Close the connection after ``keep`` bytes of files with ``part`` in their path, ``times`` times."""
    left = [times]

    def send(handler: Handler, content: bytes) -> None:
        left[0] -= 1
        handler.send_content(content, cut=keep if left[0] >= 0 else None)

    return of_files(part, send)


def stalls(part: str, *, keep: int) -> Fault:
    """Stop sending after ``keep`` bytes of files with ``part`` in their path."""

    def send(handler: Handler, content: bytes) -> None:
        handler.send_content(content, cut=keep)
        handler.server.closing.wait()

    return of_files(part, send)


def changes(part: str) -> Fault:
    """Change the first byte of files with ``part`` in their path."""
    return of_files(part, lambda handler, content: handler.send_content(bytes([content[0] ^ 1]) + content[1:]))


def of_files(part: str, send: Callable[[Handler, bytes], None]) -> Fault:
    def fault(handler: Handler) -> bool:
        if part not in handler.route:
            return False
        content = handler.content()
        if content is not None:
            send(handler, content)
        return True

    return fault
