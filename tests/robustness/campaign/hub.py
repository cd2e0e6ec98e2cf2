"""A hub with faults: wrong sizes and hashes, truncated files, garbage, redirects, statuses, silence.

Within seconds, embedge must store a complete bundle in the cache, or raise one of its errors and leave the cache as it
was.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import loopback_hub
from campaign.mutate import change_bytes, change_json
from campaign.trial import Bench, FaultError
from embedge import Bundle
from loopback_hub import Handler, Hub

NAME = "someone/tiny-bundle"
_PARTS = ("/api/", "/resolve/", "/cdn/", "embedge.json", "tokenizer.json", "onnx", "config.json", "/")
_STATUSES = (200, 204, 206, 301, 304, 400, 401, 403, 404, 407, 410, 416, 418, 429, 451, 500, 502, 503, 504, 599)
_HEADERS = ("Location", "ETag", "X_Repo_Commit", "X_Linked_Size", "X_Error_Code", "Retry_After", "Content_Encoding")
_VALUES = (
    "",
    "x",
    "-1",
    "99999999999999",
    "\x7f",
    "/",
    "http://127.0.0.1:9/",
    "gzip",
    "file:///etc/passwd",
    "x" * 9000,
)


@cache
def _start(bundle: Path) -> tuple[Hub, object]:
    running = loopback_hub.running()
    hub = running.__enter__()
    hub.add(NAME, bundle).files["README.md"] = b"# tiny"
    return hub, running  # without a reference to the context, the hub would stop


def hub_here(bench: Bench) -> Hub:
    """The hub of this process, with the bench's bundle."""
    return _start(bench.bundle)[0]


def _status(random: Random) -> loopback_hub.Fault:
    status, part = random.choice(_STATUSES), random.choice(_PARTS)
    headers = {random.choice(_HEADERS): random.choice(_VALUES) for _ in range(random.randrange(3))}
    body = random.choice((b"", b"{}", b'{"error": 5}', b"<html>\x1b[31m", b"[" * 50_000, random.randbytes(3000)))

    def fault(handler: Handler) -> bool:
        if part not in handler.route:
            return False
        handler.send(status, b"" if status in (204, 304) else body, **headers)
        return True

    return fault


def _json(random: Random) -> loopback_hub.Fault:
    """Change the hub's description of the repository."""
    seed = random.random()

    def fault(handler: Handler) -> bool:
        if not handler.route.startswith("/api/models/"):
            return False
        repository = handler.server.repositories[NAME]
        info = loopback_hub.info_of(NAME, repository, repository.files, terse=False)
        _, data = change_json(json.dumps(info).encode(), Random(seed))
        handler.send(200, data, Content_Type="application/json")
        return True

    return fault


def _content(random: Random) -> loopback_hub.Fault:
    """Change, shorten or extend a file, or send it without end."""
    part, seed, endless = random.choice(_PARTS[1:]), random.random(), random.random() < 0.1

    def send(handler: Handler, content: bytes) -> None:
        if not endless:
            handler.send_content(change_bytes(content, Random(seed))[1])
            return
        handler.begin(200, len(content) + (1 << 40))
        while handler.command != "HEAD":
            handler.wfile.write(bytes(1 << 16))

    return loopback_hub.of_files(part, send)


def _drip(random: Random) -> loopback_hub.Fault:
    """Send a few bytes of a file, then close the connection or stop."""
    part, keep = random.choice(("tokenizer.json", "onnx", "embedge.json")), random.choice((0, 1, 10, 1000))
    if random.random() < 0.7:
        return loopback_hub.cuts(part, keep=keep, times=random.choice((1, 2, 1000)))
    return loopback_hub.stalls(part, keep=keep)


def _circle(random: Random) -> loopback_hub.Fault:
    """Redirect without end, to another host, or to nowhere."""
    part = random.choice(_PARTS)

    def fault(handler: Handler) -> bool:
        if part not in handler.route:
            return False
        to = random.choice(("", "http://127.0.0.1:9", "//localhost:1", "ftp://x", handler.server.elsewhere))
        handler.send(random.choice((301, 302, 303, 307, 308)), b"", Location=f"{to}{handler.path}")
        return True

    return fault


def _repository(bench: Bench, random: Random) -> loopback_hub.Fault:
    """Change the repository: a file is missing, or a file or the manifest has other contents."""
    files = dict(hub_here(bench).repositories[NAME].files)
    way = random.choice(("lacks", "manifest", "changed"))
    if way == "lacks":
        del files[random.choice(sorted(name for name in files if name != "README.md"))]
    else:
        name = "embedge.json" if way == "manifest" else random.choice(sorted(files))
        change = change_json if name.endswith(".json") else change_bytes
        files[name] = change(files[name], random)[1]
    hub_here(bench).repositories[NAME].branches["main"] = files
    return lambda handler: False


_KINDS: tuple[Callable[[Random], loopback_hub.Fault], ...] = (_status, _status, _json, _json, _content, _content)
_RARE = (_drip, _circle)


def settings(bench: Bench) -> dict[str, str]:
    """The environment variables that huggingface_hub reads when it is imported."""
    patience = {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_DISABLE_XET": "1"}
    return {"HF_ENDPOINT": hub_here(bench).url, "HF_HOME": str(bench.folder.parent / "hf"), **patience}


def trial(bench: Bench, random: Random) -> None:
    """Pull one bundle."""
    if "huggingface_hub" not in sys.modules:
        os.environ.update(settings(bench))
    from embedge.hub.pull import pull

    hub, cache_dir = hub_here(bench), bench.folder / "cache"
    whole = dict(hub.repositories[NAME].files)
    rare = random.random() < 0.06
    try:
        if random.random() < 0.2:
            hub.fault = _repository(bench, random)
        else:
            hub.fault = random.choice(_RARE if rare else _KINDS)(random)
        found = pull(NAME, cache_dir=cache_dir, precisions=random.choice((None, ["fp32"])))
        _check(found, whole)
    finally:
        hub.fault = None
        hub.repositories[NAME].branches["main"] = whole
        _check_cache(cache_dir)


def _check(found: Bundle, whole: dict[str, bytes]) -> None:
    found.check()
    for name in ("tokenizer.json", *found.graph_files(next(iter(found.manifest.precisions)))):
        if (found.path / name).read_bytes() != whole[name]:
            raise FaultError(f"what was changed on the way is taken: {name}")


def _check_cache(folder: Path) -> None:
    """Raise where the cache has a damaged bundle or temporary files."""
    for path in (folder / "bundles").glob("*") if (folder / "bundles").is_dir() else ():
        if path.name.startswith(".") and path.suffix != ".lock":
            raise FaultError(f"litter is left in the cache: {path.name}")
        if not path.name.startswith("."):
            Bundle.open(path).check()
