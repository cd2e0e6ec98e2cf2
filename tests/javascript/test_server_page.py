"""The page of `embedge serve` in headless Chromium: it shows what is served, and its buttons give the model's numbers.

The test needs node and the packages of package.json: `npm ci --ignore-scripts --prefix tests/javascript`.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, Reranker
from running_server import needs_server, serving

HERE = Path(__file__).parent
INSTALL = "`npm ci --ignore-scripts --prefix tests/javascript`"
SOURCE = "the cat <b>sat</b>"
SENTENCES = ["a dog", "<img src=x onerror=alert(1)>", SOURCE]
TEXTS = ["Yeast makes dough rise.", "The bike has a flat tyre."]
pytestmark = [
    needs_server,
    pytest.mark.skipif(shutil.which("node") is None, reason="needs node"),
    pytest.mark.skipif(
        not (HERE / "node_modules/@sparticuz/chromium").is_dir(),
        reason=f"needs the packages of tests/javascript/package.json: {INSTALL}",
    ),
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64", reason="@sparticuz/chromium is for Linux on x86-64"
    ),
]


def use_page(temporary: Path, *, program: str = "server_page.mjs", **job: str) -> Any:
    """Use the page, and return what it showed."""
    done = subprocess.run(
        ["node", program],
        input=json.dumps(job),
        capture_output=True,
        cwd=HERE,
        env={**os.environ, "TMPDIR": str(temporary)},  # the browser unpacks itself there
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    if "error while loading shared libraries" in done.stderr:
        pytest.skip("Chromium needs system libraries: apt-get install libnss3 libexpat1")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("key", ["", "a-key"])
def test_the_page_shows_and_asks_the_models(
    tiny_bundle: Bundle, export: Callable[..., Bundle], tmp_path: Path, key: str
) -> None:
    from seeded_roberta import write_roberta

    checkpoint = write_roberta(tmp_path / "tiny-reranker", rerank=True)
    bundle = export(checkpoint, tmp_path / "reranker", verify=False)
    (tmp_path / "keys").write_text("a-key\n")
    (tmp_path / "browser").mkdir()
    keys: list[str | Path] = ["--api-key-file", tmp_path / "keys"] if key else []
    with serving([tiny_bundle.path, "--reranker", bundle.path, *keys], tmp_path / "log") as server:
        shown = use_page(tmp_path / "browser", url=server.url, key=key)
        routes = [line.split()[1] for line in server.banner.splitlines() if line.startswith("  ")]
    assert shown["problems"] == []
    assert shown["models"][:5] == ["tiny", "embed", "int8", "64 tokens", "32"]
    assert shown["models"][5:7] == ["tiny-reranker", "rerank"]
    assert set(routes) <= {text.split()[-1] for text in shown["routes"]}
    assert shown["curl"][0].startswith(f"curl {server.url}/embed ")
    embedder, reranker = Embedder(tiny_bundle.path), Reranker(bundle.path)
    vectors = embedder.encode([SOURCE, *SENTENCES])
    expected = sorted(zip((vectors[1:] @ vectors[0]).tolist(), SENTENCES, strict=True), reverse=True)
    assert shown["compared"][1::2] == [text for _, text in expected]
    np.testing.assert_allclose([float(one) for one in shown["compared"][::2]], [one for one, _ in expected], atol=1e-4)
    assert numbers(shown["vector"]) == embedder.encode(SOURCE).tolist()
    assert numbers(shown["prompted"]) == embedder.encode_query(SOURCE).tolist()
    ranked = reranker.rank("how do i bake bread ?", TEXTS, normalize=True)
    assert shown["ranked"] == [cell for index, score in ranked for cell in (f"{score:.4f}", TEXTS[index])]
    assert shown["error"] == ["inputs is an empty list; send at least one string"]
    if key:
        assert shown["refused"] == ["no valid API key; send the header Authorization: Bearer KEY"]


@pytest.mark.parametrize("is_allowed", [False, True])
def test_a_page_of_another_origin_needs_an_option(tiny_bundle: Bundle, tmp_path: Path, is_allowed: bool) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>another page</title>")
    (tmp_path / "browser").mkdir()
    other = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path))
    threading.Thread(target=other.serve_forever, daemon=True).start()
    page = f"http://evil.test:{other.server_port}"
    options = ["--cors-origin", page] if is_allowed else []
    with other, serving([tiny_bundle.path, *options], tmp_path / "log") as server:
        job = {"page": page, "server": server.url, "port": str(server.port)}
        found = use_page(tmp_path / "browser", program="hostile_page.mjs", **job)
        other.shutdown()
    assert found == {"asked": 32 if is_allowed else "TypeError: Failed to fetch", "rebound": 403}


def numbers(shown: list[str]) -> list[float]:
    """The vector that the page shows, as the float32 that they are."""
    return [float(np.float32(one)) for one in shown[0].splitlines()[1].split()]
