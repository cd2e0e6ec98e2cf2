"""Run commands against the loopback hub.

Every command runs in a new process, because huggingface_hub reads its environment variables when it is imported.
"""

import os
import subprocess
import sys
from pathlib import Path

from loopback_hub import Hub

NAME = "someone/tiny-bundle"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "embedge", *arguments]


def environment(hub: Hub | None, **more: str) -> dict[str, str]:
    settings = {"HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9", "HF_HUB_DISABLE_XET": "1"}
    return {**os.environ, **settings, **more}


def run(hub: Hub | None, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, env=environment(hub, **more), check=False
    )


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    """The error of a failed command, which is the last line of stderr. Check that nothing is left in the cache."""
    assert done.returncode == 1, done.stderr
    assert (done.stdout, "Traceback" in done.stderr) == ("", False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert done.stderr.splitlines()[-1:] == lines
    assert left() == []
    return lines[0]


def left() -> list[str]:
    """The names of the files in the cache."""
    home = Path(os.environ["EMBEDGE_HOME"])
    return [path.name for path in home.rglob("*") if path.is_file()]
