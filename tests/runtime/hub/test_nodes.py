"""Two machines' worth of processes that start at the same time, with empty caches and one hub: how clusters start.

A machine is a cache of its own. Each has several processes, as an engine for data has one for each core.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from embedge import Bundle, Embedder
from hub_commands import NAME, environment
from loopback_hub import Hub, is_silent

PROCESSES = 4  # of each machine
EMBED = """
import hashlib, sys
from embedge import Embedder
model = Embedder(sys.argv[1], threads=1)
print(model.bundle.path, hashlib.sha256(model.encode(["the cat", "a dog"]).tobytes()).hexdigest())
"""


def start(hub: Hub, home: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", EMBED, NAME],
        env=environment(hub, EMBEDGE_HOME=str(home), HF_HOME=str(home / "hf")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def results(processes: "list[subprocess.Popen[str]]") -> set[str]:
    """What the processes printed, once all have ended well."""
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return {out for out, _ in outputs}


def test_each_machine_asks_the_hub_for_each_file_once(hub: Hub, tiny_bundle: Bundle, tmp_path: Path) -> None:
    homes = [tmp_path / "first", tmp_path / "second"]
    started = [(home, start(hub, home)) for _ in range(PROCESSES) for home in homes]
    printed = [results([process for home, process in started if home == own]) for own in homes]
    assert [len(lines) for lines in printed] == [1, 1]
    paths, hashes = zip(*[next(iter(lines)).split() for lines in printed], strict=True)
    assert [Path(path).is_relative_to(home) for path, home in zip(paths, homes, strict=True)] == [True, True]
    assert len(set(hashes)) == 1
    assert len({(Path(path) / "embedge.json").read_bytes() for path in paths}) == 1
    gets = Counter(path for method, path in hub.requests if method == "GET")
    assert gets
    assert set(gets.values()) == {2}, gets
    assert len(gets) == len(Bundle.open(paths[0]).manifest.files) + 2 + hub.count("GET", "/cdn/") // 2
    Bundle.open(paths[0]).check()
    Embedder(paths[0], precision="int8")


def test_a_shared_cache_is_filled_once(hub: Hub, tmp_path: Path) -> None:
    """As on a disk that all machines see, if its locks work between machines."""
    assert len(results([start(hub, tmp_path / "shared") for _ in range(PROCESSES)])) == 1
    assert set(Counter(path for method, path in hub.requests if method == "GET").values()) == {1}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_process_that_is_killed_while_it_downloads_does_not_block_the_others(hub: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    hub.fault = is_silent("/cdn/")
    with start(hub, home) as first:
        while not hub.count("GET", "/cdn/"):
            assert first.poll() is None
        others = [start(hub, home) for _ in range(PROCESSES - 1)]
        for process in others:
            assert process.stderr is not None
        hub.fault = None
        assert [process.poll() for process in others] == [None] * len(others)
        first.kill()
    assert len(results(others)) == 1
    left = [path.name for path in (home / "bundles").iterdir()]
    assert left == [NAME.replace("/", "--")]
