"""The command with unreasonable arguments, environments and streams.

It must exit with 0, 1 or 2. stderr must have the error in one line, and no traceback, no "this is a bug" and no control
character. stdout must have whole lines.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from random import Random
from typing import IO, Any

from campaign.hostile import some_texts
from campaign.trial import CONTROL, Bench, FaultError

_PATIENCE = 15  # seconds
_BUG = re.compile("Traceback|this is a bug|panicked|terminate called")
# The lines that click prints around the one line of a usage error.
_USAGE = re.compile(r"^(Usage: .*|Try '.*|)$")


def _name(bench: Bench, random: Random) -> str:
    """A string for a path or a name; none to which a command could write."""
    here = str(bench.folder)
    names = (
        *("", ".", "..", "/", "~", "~nouser", "~nouser/x", "-", "--", "x", "a/b", "a/b/c", "$HOME", "%s%n"),
        *("/dev/null", "/dev/zero", "/dev/full", "/proc/self/mem", "/etc/hostname", "/proc/nothing", "bge-small"),
        *("x" * 300, "x/" * 3000, "é" * 200, "a" * 97 + "/" + "b" * 97, "http://127.0.0.1:9/x", "BAAI/x y"),
        *("\x1b]0;x\x07", "a\rb", "\u202egpj", "\udcff", str(bench.bundle), str(bench.checkpoint), *_places(here)),
    )
    return random.choice(names)


def _places(here: str) -> tuple[str, ...]:
    """Paths to which a file or bundle may be written."""
    odd = ("\x1b[31mred", "a\nb", "\udcff", "\u202egpj.npy", "new", "new.npy", "no/new.npz", "new.jsonl", "a b'c")
    return (here, *(f"{here}/{name}" for name in odd), f"{here}/{'x' * 300}", f"{here}/{'x/' * 3000}")


def _number(random: Random) -> str:
    return random.choice(("0", "1", "-1", "5", "32", "33", "1e3", "nan", "", "9" * 30, "0x10", "١", "x"))


def _arguments(bench: Bench, random: Random) -> list[str]:
    command = random.choice(
        ("embed", "embed", "embed", "embed", "info", "bundle", "pull", "export", "models", "rerank")
    )
    model = str(bench.bundle) if random.random() < 0.7 else _name(bench, random)
    arguments = [command]
    if command in ("embed", "rerank"):
        arguments += ["-m", model]
        if random.random() < 0.4:
            arguments += ["-i", _name(bench, random)]
        if random.random() < 0.4 and command == "embed":
            arguments += ["-o", random.choice(("/dev/full", "", ".", *_places(str(bench.folder))))]
        for option in ("--truncate-dim", "--threads"):
            if random.random() < 0.1:
                arguments += [option, _number(random)]
        choices = ("float32", "int8", "binary", "x", "")
        if random.random() < 0.2:
            arguments += ["--output-precision", random.choice(choices)]
        arguments += random.choice(([], [], ["--format", "jsonl"], ["--format", "text"], ["--query"], ["--nothing"]))
        if random.random() < 0.4:
            texts = ["the \udcff cat" if random.random() < 0.1 else text for text in some_texts(random, 2)]
            arguments += [text.replace("\0", "")[:5000] for text in texts]
    elif command in ("bundle", "export"):
        arguments += [model if command == "bundle" else _name(bench, random)]
        arguments += ["-o", random.choice(("", ".", "~nouser", "/dev/full/x", *_places(str(bench.folder))))]
    elif command in ("pull", "info"):
        arguments += (
            ["-m", model, "--footprint"]
            if command == "info" and random.random() < 0.5
            else [model][: random.randrange(2)]
        )
    if random.random() < 0.05:
        arguments.insert(0, random.choice(("--debug", "--no", "x", "-m", "\x1b[2J")))
    # An argument of a process cannot contain NUL.
    return [argument.replace("\0", "") for argument in arguments]


def _environment(bench: Bench, random: Random) -> dict[str, str]:
    environment = {**os.environ, "EMBEDGE_HOME": str(bench.folder / "home"), "HF_HUB_OFFLINE": "1"}
    environment |= {"HF_HOME": str(bench.folder / "hf"), "PIP_NO_INDEX": "1"}
    way = random.randrange(8)
    nonsense = ("~nouser/x", "/dev/null", "/proc/x", "\x1b[31m", "\udcff", "a\nb", "x" * 5000, " ", "/dev/full/x")
    if way == 0:
        environment["EMBEDGE_HOME"] = random.choice(nonsense)
    elif way == 1:
        for name in ("HOME", "EMBEDGE_HOME", "XDG_CACHE_HOME"):
            environment.pop(name, None)
        environment["XDG_CACHE_HOME"] = random.choice((*nonsense, str(bench.folder / "cache")))
    elif way == 2:
        environment |= {"COLUMNS": _number(random), "TERM": random.choice(("", "dumb", "\x1b"))}
    elif way == 3:
        environment |= {
            "LC_ALL": random.choice(("C", "POSIX", "xx_YY", "")),
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
        }
    elif way == 4:
        environment |= {"PYTHONWARNINGS": "error", "PYTHONIOENCODING": random.choice(("ascii", "latin-1", "utf-8"))}
    return environment


def _input(bench: Bench, random: Random) -> bytes:
    texts = some_texts(random, random.choice((0, 1, 5, 80)))
    lines = [json.dumps({"text": text, "id": random.choice((1, "x", text))}) for text in texts]
    return random.choice(
        (
            *(b"", b"\n", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"{", b"[" * 90_000, random.randbytes(3000)),
            *("\n".join(lines).encode(), "\n".join(texts).encode(), "\r\n".join(texts).encode("utf-16")),
            *(b'{"text": 5}', b'{"text": "\\ud800"}', b'{"text": "a", "id": [1]}'),
            b'{"text": "a", "id": 1' + b"0" * 5000 + b"}",
        )
    )  # fmt: skip


def trial(bench: Bench, random: Random) -> None:
    """Run one command."""
    command = [sys.executable, "-m", "embedge", *_arguments(bench, random)]
    closed = random.choice(("", "", "", "", "<&-", ">&-", "2>&-", ">/dev/full", "2>/dev/full", "<fifo", "| head -c 10"))
    where = bench.folder / "here"
    where.mkdir()
    if closed == "<fifo":
        os.mkfifo(where / "fifo")
    if closed:
        command = ["bash", "-c", f'"$@" {closed}', "bash", *command]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=where,
        env=_environment(bench, random),
        start_new_session=True,
    )
    given = _input(bench, random)
    if closed == "<fifo":
        threading.Thread(target=_write_some, args=(where / "fifo", given), daemon=True).start()
    what = f"{' '.join(command[3:])!r:.150} {closed}"
    try:
        out, err = child.communicate(given, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise FaultError(f"the command hangs: {_PATIENCE} s, {what}") from None
    _judge(child.returncode, out, err, what, closed)


def _write_some(path: Path, given: bytes) -> None:
    """Write to a pipe and stop in the middle of a line."""
    file: IO[Any]
    with path.open("wb", buffering=0) as file:
        file.write(given[: max(1, len(given) // 2)])


def _judge(code: int, out: bytes, err: bytes, what: str, closed: str) -> None:
    stderr = err.decode("utf-8", "surrogateescape")
    lines = [line for line in stderr.splitlines() if not _USAGE.match(line)]
    last = lines[-1] if lines else ""
    where = f"{last}, {what}"
    bug = _BUG.search(stderr)
    if bug and not (bug[0] == "Traceback" and "--debug" in what):  # which asks for a traceback
        raise FaultError(
            f"the command ends by {bug[0].lower()} {last.removeprefix('Error: ').partition(':')[0]}: {where}"
        )
    if code not in (0, 1, 2) and not (closed == "| head -c 10" and code == 141):
        raise FaultError(f"the exit code is {code}: {where}")
    if found := CONTROL.search(stderr.replace("\n", "")):
        raise FaultError(f"a control character is on stderr: U+{ord(found[0]):04X}, {where}")
    if code and not closed and sum(line.startswith("Error: ") for line in lines) != 1:
        raise FaultError(f"stderr has not one error: exit code {code}, {len(lines)} lines, {where}")
    if out and not out.endswith(b"\n") and "head" not in closed:
        raise FaultError(f"stdout ends within a line: {out[-40:]!r}, {what}")
    if code == 0 and out.startswith(b'{"index"') and "head" not in closed:
        for line in out.splitlines():
            json.loads(line)
