"""file_lock.py and the lock of staging.py: one at a time, and nothing that was killed stays."""

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from embedge import Bundle, BundleError
from embedge.bundle.atomic_write import replacing
from embedge.bundle.commit import read_commit, write_commit
from embedge.bundle.file_lock import LockedFile
from embedge.bundle.staging import lock_destination, staging

posix = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")

# Takes the lock again and again; under it the number in a file goes up by one, in two steps that another would spoil.
COUNTING = """
import sys, time
from pathlib import Path
from embedge.bundle.staging import lock_destination
number, alone = Path(sys.argv[1], "number"), Path(sys.argv[1], "alone")
for _ in range(int(sys.argv[2])):
    with lock_destination(Path(sys.argv[1], "bundle")):
        alone.touch(exist_ok=False)
        found = int(number.read_text())
        time.sleep(0.001)
        number.write_text(str(found + 1))
        alone.unlink()
"""
HOLDING = """
import logging, sys, time
from pathlib import Path
from embedge.bundle.staging import lock_destination, staging
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
with lock_destination(Path(sys.argv[1])), staging(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_processes_take_turns_and_leave_no_lock(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    command = [sys.executable, "-c", COUNTING, str(tmp_path), "40"]
    started = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(timeout=120) for process in started] == [0] * 4
    assert (tmp_path / "number").read_text() == "160"
    assert names(tmp_path) == ["number"]


def test_threads_take_turns(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(20):
            with lock_destination(tmp_path / "bundle"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert names(tmp_path) == []


def test_a_lock_that_was_removed_while_it_was_waited_for_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classic race: a waiter has opened the file that the holder then removes, and locks what is not there."""
    first, second, third = (LockedFile(tmp_path / "lock", "lock") for _ in range(3))
    assert first.acquire()
    stale = os.open(tmp_path / "lock", os.O_RDWR)
    first.remove()
    assert third.acquire()
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", lambda *_: stale)  # as if it had been opened before
        assert not second.acquire()
    assert not LockedFile(tmp_path / "lock", "lock").acquire()
    third.remove()
    assert names(tmp_path) == []


@posix
def test_what_a_killed_process_left_goes_with_the_next_and_its_lock_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "bundle"
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(place)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        assert names(tmp_path) == [".bundle.lock", ".bundle.partial"]
        assert not LockedFile(tmp_path / ".bundle.lock", "lock").acquire()
        process.kill()
    caplog.set_level(logging.INFO, "embedge")
    with lock_destination(place):
        assert names(tmp_path) == [".bundle.lock"]
    assert (names(tmp_path), caplog.messages) == ([], [])


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_process_leaves_nothing(tmp_path: Path, number: int) -> None:
    script = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))\n" + HOLDING
    command = [sys.executable, "-c", script, str(tmp_path / "bundle")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(timeout=60) != 0
    assert names(tmp_path) == []


@posix
def test_a_waiting_process_that_is_interrupted_leaves_the_lock_to_its_holder(tmp_path: Path) -> None:
    place = tmp_path / "bundle"
    with lock_destination(place):
        command = [sys.executable, "-c", HOLDING, str(place)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout
            assert process.stdout.readline() == f"waiting    for another process that writes {place}\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) != 0
        assert names(tmp_path) == [".bundle.lock"]
        assert not LockedFile(tmp_path / ".bundle.lock", "lock").acquire()
    assert names(tmp_path) == []


@posix
def test_a_file_system_without_locks_is_told_and_nothing_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import fcntl

    def none(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    caplog.set_level(logging.INFO, "embedge")
    with lock_destination(tmp_path / "bundle"):
        pass
    assert caplog.messages == [
        f"warning    the file system of {tmp_path / 'bundle'} has no locks: start no other process that writes it"
    ]
    (tmp_path / ".x.npy.partial-00").touch()
    with replacing(tmp_path / "x.npy") as file:
        file.write(b"x")
    assert names(tmp_path) == [".x.npy.partial-00", "x.npy"]


def test_a_file_that_is_replaced_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(b"before")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half")
            file.flush()
            assert len(names(tmp_path)) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (names(tmp_path), path.read_bytes()) == (["x.npy"], b"before")
    with replacing(path) as file:
        file.write(b"whole")
        file.seek(0)
        file.write(b"W")
    assert (names(tmp_path), path.read_bytes()) == (["x.npy"], b"Whole")


def test_only_what_nobody_holds_is_swept_away(tmp_path: Path) -> None:
    """Beside it: another run to the same file, another file's, and a name that only begins the same way."""
    kept = [".x.npy.partial", ".y.npy.partial-00", "x.npy.partial-00"]
    for name in (*kept, ".x.npy.partial-00", ".x.npy.partial-11"):
        (tmp_path / name).touch()
    with replacing(tmp_path / "x.npy") as first:
        (held,) = set(names(tmp_path)) - set(kept)
        with replacing(tmp_path / "x.npy") as second:
            second.write(b"second")
            assert held in names(tmp_path)
        first.write(b"first")
    assert names(tmp_path) == sorted([*kept, "x.npy"])
    assert (tmp_path / "x.npy").read_bytes() == b"first"


@pytest.mark.parametrize("name", ["x" * 251 + ".npy", "東" * 83 + ".npy", "[!*]?.npy"])
def test_a_file_of_any_name_that_may_be_can_be_replaced(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        with replacing(tmp_path / name) as file:
            file.write(b"x")
    assert names(tmp_path) == [name]


@posix
def test_a_killed_embeds_file_goes_with_the_next_to_the_same_output(tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    folder.mkdir()
    command = [
        sys.executable,
        "-m",
        "embedge",
        "embed",
        "-m",
        str(tiny_bundle.path),
        "-o",
        str(folder / "out.npy"),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        while not names(folder):
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert names(folder)[0].startswith(".out.npy.partial-")
    subprocess.run([*command, "cat"], check=True, timeout=60)
    assert names(folder) == ["out.npy"]


def test_a_commit_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "..commit.partial-00").touch()
    write_commit(tmp_path, "c" * 40)
    assert (names(tmp_path), read_commit(tmp_path)) == ([".commit"], "c" * 40)


@pytest.mark.parametrize("fails", [None, 1, 2])
def test_where_directories_cannot_be_exchanged_the_old_one_is_never_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int | None
) -> None:
    """By two renames, the first or second of which may fail."""
    place = tmp_path / "bundle"
    place.mkdir()
    (place / "old").touch()
    monkeypatch.setattr("embedge.bundle.staging.exchange", lambda first, second: False)
    renamed, rename = [], Path.rename

    def renaming(path: Path, target: Path) -> Path:
        renamed.append(path)
        if len(renamed) == fails:
            raise OSError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", renaming)
    with lock_destination(place):
        try:
            with staging(place) as (folder, _):
                (folder / "new").touch()
        except BundleError:
            assert fails
    assert names(place) == (["old"] if fails else ["new"])
    assert names(tmp_path) == ["bundle"]


def test_a_process_killed_between_two_renames_is_put_right_by_the_next(tmp_path: Path) -> None:
    before = tmp_path / ".bundle.partial" / "before"
    before.mkdir(parents=True)
    (before / "old").touch()
    with lock_destination(tmp_path / "bundle"):
        assert names(tmp_path / "bundle") == ["old"]
    assert names(tmp_path) == ["bundle"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_who_may_read_the_old_file_may_read_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with replacing(path) as file:
        file.write(b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o640)
