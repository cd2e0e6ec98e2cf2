"""Kills: export, copy, pull and embed -o, killed with SIGKILL at a random moment.

The old output or the complete new one must remain. After the next run, no temporary files may remain.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import numpy as np

from campaign.hub import hub_here
from campaign.trial import Bench, FaultError
from embedge import Bundle

_LONGEST = 1.6  # seconds; each of these commands ends within that time


def _command(operation: str, bench: Bench, out: Path) -> list[str]:
    arguments = {
        "export": ["export", str(bench.checkpoint), "-o", str(out), "--no-verify"],
        "copy": ["bundle", str(bench.bundle), "-o", str(out)],
        "pull": ["pull", "someone/tiny-bundle"],
        "embed": ["embed", "-m", str(bench.bundle), "-o", str(out), *(f"the cat {number}" for number in range(300))],
    }
    return [sys.executable, "-m", "embedge", *arguments[operation]]


def _run(command: list[str], bench: Bench, *, kill_after: float | None) -> int:
    home = str(bench.folder / "home")
    settings = {"EMBEDGE_HOME": home, "HF_HOME": home, "HF_ENDPOINT": hub_here(bench).url, "HF_HUB_DISABLE_XET": "1"}
    with (bench.folder / "log").open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **settings})
        if kill_after is not None:
            time.sleep(kill_after)
            child.send_signal(signal.SIGKILL)
        return child.wait(timeout=30)


def _check(operation: str, out: Path, before: bytes | None, *, must: bool) -> None:
    """Raise FaultError where the output is incomplete."""
    if not out.exists():
        if must or before is not None:
            raise FaultError(f"{operation} leaves nothing: after {'the next run' if must else 'a kill'}")
        return
    if operation == "embed":
        if must or out.read_bytes() != before:
            shape = np.load(out).shape
            if shape[0] != 300:
                raise FaultError(f"embed leaves half a file: {shape}")
        return
    Bundle.open(out).check()


def _left(folder: Path, out: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path != out and path.name not in ("log", ".locks"))


def trial(bench: Bench, random: Random) -> None:
    """Kill one command, check its output, and run it again."""
    operation = random.choice(("export", "copy", "pull", "embed"))
    place = bench.folder / "place"
    place.mkdir()
    out = place / ("out.npy" if operation == "embed" else "out")
    if operation == "pull":
        place = bench.folder / "home" / "bundles"
        out = place / "someone--tiny-bundle"
    before = None
    if random.random() < 0.5 and operation != "pull":
        if operation == "embed":
            out.write_bytes(before := b"before")
        else:
            shutil.copytree(bench.bundle, out)
            (out / "config.json").write_bytes(b"{}")  # so that the command has something to do
            before = b""
    command = _command(operation, bench, out)
    moment = random.uniform(0.05, _LONGEST)
    _run(command, bench, kill_after=moment)
    if before is None or operation == "embed":
        _check(operation, out, before, must=False)
    else:
        Bundle.open(out)
    if (code := _run(command, bench, kill_after=None)) and operation != "copy":
        log = (bench.folder / "log").read_text(errors="replace").splitlines()
        raise FaultError(f"{operation} killed, and the next run fails: {code} after {moment:.2f} s, {log[-1:]}")
    if code == 0:
        _check(operation, out, before, must=True)
    if litter := _left(place, out):
        raise FaultError(
            f"{operation} killed, and the next run leaves litter: after {moment:.2f} s, {', '.join(litter)}"
        )
