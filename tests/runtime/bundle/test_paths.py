"""paths.py: the border to the file system. Nothing waits for a pipe, and no path ends in an error that is not ours."""

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from embedge import Bundle, BundleCorruptError, BundleError, Embedder, EmbedgeError, InputTypeError
from embedge.bundle import paths
from embedge.bundle.cache_paths import cache_home, cached_path
from embedge.bundle.checksum import crc32
from embedge.bundle.commit import read_commit
from embedge.bundle.copy import copy_bundle
from embedge.bundle.paths import open_regular, read_regular
from embedge.command.write_vectors import open_writer
from embedge.hub.cache import cached_bundles, open_local
from embedge.hub.pull import pull
from embedge.hub.resolve import resolve
from embedge.text_files import open_items

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle.path, tmp_path / "copy"))


@contextlib.contextmanager
def at(path: Path, kind: str) -> Iterator[None]:
    """Something else than a regular file at a path."""
    opened = None
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        opened = socket.socket(socket.AF_UNIX)
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path has some 100 bytes at most
        opened.bind(path.name)
        os.chdir(here)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name("pipe"))
        path.symlink_to("pipe")
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    try:
        yield
    finally:
        if opened:
            opened.close()


KINDS = ("pipe", "directory", "socket", "link to a pipe", "link to a device", "loop", "dangling link")
FILES = ("tokenizer.json", "onnx/model_int8.onnx", "onnx/model_int8.onnx_data", "embedge.json", "config.json")


@posix
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_regular_file_is_refused_and_not_waited_for(copy: Path, name: str, kind: str) -> None:
    """By a load, a check, a copy and a pull; each ends."""
    opened = Bundle.open(copy)
    with at(copy / name, kind):
        loads: list[Callable[[], object]] = [lambda: copy_bundle(opened, copy.parent / "other"), lambda: pull(copy)]
        if name != "config.json":  # which no load reads
            loads.append(lambda: Embedder(copy, precision="int8"))
        if name != "embedge.json":
            loads.append(opened.check)
            assert not opened.is_whole()
        for load in loads:
            with pytest.raises(BundleError, match=r"cannot be read|no bundle at|holds a checkpoint"):
                load()
        assert not (copy.parent / "other").exists()


@posix
@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_that_is_no_file_is_none(copy: Path, kind: str) -> None:
    with at(copy / ".commit", kind):
        assert read_commit(copy) is None


@posix
@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a device", "loop"])
def test_a_cache_with_such_files_is_listed_without_them(tiny_bundle: Bundle, kind: str) -> None:
    shutil.copytree(tiny_bundle.path, cached_path("whole"))
    shutil.copytree(tiny_bundle.path, cached_path("other"))
    with at(cached_path("other") / "embedge.json", kind):
        assert [bundle.path.name for bundle in cached_bundles()] == ["whole"]


@posix
def test_a_pipe_that_takes_a_files_place_as_it_is_opened_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")

    def swap(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    monkeypatch.setattr("embedge.bundle.paths.size_of", swap)
    with pytest.raises(OSError, match="it is a pipe, not a regular file"):
        open_regular(path)


def test_a_link_to_a_file_is_one(copy: Path) -> None:
    """As in the hub's own cache."""
    expected = Embedder(copy).encode("the cat")
    for name in FILES:
        (copy / name).rename(copy / f"{name}.blob")
        (copy / name).symlink_to(f"{Path(name).name}.blob")
    assert Embedder(copy).encode("the cat").tobytes() == expected.tobytes()
    Bundle.open(copy).check()


def test_files_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"123456789")
    assert read_regular(path, 9) == b"123456789"
    assert crc32(path) == "cbf43926"  # the check value of CRC-32, in every list of them
    with pytest.raises(OSError, match="more than 8 bytes"):
        read_regular(path, 8)


def test_a_manifest_of_gigabytes_is_not_read(copy: Path) -> None:
    """A sparse one, which no disk holds."""
    with (copy / "embedge.json").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(BundleError, match=r"embedge.json cannot be read \(it has more than 16777216 bytes\)"):
        Bundle.open(copy)


NAMES = ["a\0b", "\ud800", "~nobody-of-that-name/x", "x" * 300, "東" * 150, "a/" * 3000, "."]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("as_path", [False, True])
def test_a_path_that_no_system_has_is_one_of_our_errors(name: str, as_path: bool, tiny_bundle: Bundle) -> None:
    model: Any = Path(name) if as_path else name
    calls: list[Callable[[], object]] = [
        lambda: Bundle.open(model),
        lambda: resolve(model, local_files_only=True),
        lambda: open_local(model),
        lambda: copy_bundle(tiny_bundle, Path(name) / ("x" * 400)),
        lambda: pull("some/model", cache_dir=Path(name) / ("x" * 400)),
        lambda: resolve("bge-small-en-v1.5", cache_dir=f"{name}/{'x' * 400}", local_files_only=True),
    ]
    for call in calls:
        with pytest.raises(EmbedgeError) as seen:
            call()
        assert str(seen.value).isprintable()


@pytest.mark.parametrize("path", [5, b"bytes", None, object()])
def test_what_is_no_path_is_a_type_error(path: Any) -> None:
    calls: list[Callable[[], object]] = [lambda: Bundle.open(path), lambda: resolve(path)]
    for call in calls:
        with pytest.raises(InputTypeError):
            call()
    if path is not None:
        with pytest.raises(InputTypeError, match="cache_dir must be a string or a path"):
            cache_home(path)


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "~nobody-of-that-name/x"])
def test_a_cache_that_cannot_be_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BundleError, match=r"cache_dir cannot be .* \("):
        cache_home(name)
    monkeypatch.setitem(os.environ, "EMBEDGE_HOME", "~nobody-of-that-name/x")
    with pytest.raises(BundleError, match=r"EMBEDGE_HOME cannot be '~nobody-of-that-name/x' \("):
        cached_path("x")


def test_an_empty_cache_variable_is_none_and_a_relative_one_is_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from platformdirs import user_cache_path

    monkeypatch.setenv("EMBEDGE_HOME", "")
    assert cache_home() == user_cache_path("embedge", appauthor=False)
    monkeypatch.setenv("EMBEDGE_HOME", "here")
    assert cache_home() == Path("here")


def test_damage_is_told_though_the_cache_variable_is_nonsense(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice, which asks where the cache is, must not hide the damage."""
    folder = copy.rename(copy.parent / "someone--tiny")
    (folder.parent / "bundles").mkdir()
    folder = folder.rename(folder.parent / "bundles" / "someone--tiny")
    (folder / ".commit").write_text("c" * 40)
    (folder / "tokenizer.json").unlink()
    monkeypatch.setenv("EMBEDGE_HOME", "~nobody-of-that-name")
    with pytest.raises(
        BundleCorruptError, match="tokenizer.json cannot be read .*run `env EMBEDGE_HOME=.*` to download it again"
    ):
        Embedder(folder)


def run(*arguments: str, cwd: Path | None = None, script: str = "", **environment: str) -> str:
    """What the command says, after checking that it is one line, and no bug."""
    more = {**os.environ, **environment}
    for name, value in environment.items():
        if value == "unset":
            del more[name]
    command = [sys.executable, "-m", "embedge"] if not script else [sys.executable, "-c", script]
    done = subprocess.run([*command, *arguments], capture_output=True, timeout=120, env=more, cwd=cwd, check=False)
    text = done.stderr.decode()
    assert done.returncode == 1, (done, text)
    assert (done.stdout, text.count("\n"), "a bug" in text, "Traceback" in text) == (b"", 1, False, False), text
    assert text.strip().isprintable()
    return text


@posix
@pytest.mark.parametrize("home", ["~nobody-of-that-name/x", "/dev/null", "/proc/nowhere"])
@pytest.mark.parametrize("command", ["pull", "embed", "models"])
def test_a_command_with_a_cache_that_cannot_be_is_one_line(home: str, command: str, tiny_checkpoint: Path) -> None:
    if command == "models" and home != "~nobody-of-that-name/x":
        return  # an empty cache, which it may be
    words = {"pull": ["pull", "some/model"], "embed": ["embed", "-m", "some/model", "x"], "models": ["models"]}[command]
    run(*words, EMBEDGE_HOME=home, HF_ENDPOINT="http://127.0.0.1:9")


NOBODY = """
import pwd
def unknown(*_): raise KeyError("nobody")
pwd.getpwuid = pwd.getpwnam = unknown
from embedge.command import main as cli
cli.main()
"""


@posix
def test_a_user_without_a_home_is_told_to_name_a_cache(tmp_path: Path) -> None:
    """As in many containers: no HOME, and no entry in passwd. No folder ~ is made."""
    words = ["pull", "some/model"]
    unset = {"EMBEDGE_HOME": "unset", "HOME": "unset", "HF_HOME": str(tmp_path), "XDG_CACHE_HOME": ""}
    found = run(*words, script=NOBODY, cwd=tmp_path, **unset)
    assert "set EMBEDGE_HOME to a directory" in found
    assert list(tmp_path.iterdir()) == []
    assert "a bundle's path cannot be '~' (" in run("pull", "~", script=NOBODY, cwd=tmp_path, **unset)


GONE = (
    "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); "
    "from embedge.command.main import main; main()"
)


@posix
@pytest.mark.parametrize(
    "words", [("embed", "-m", "MODEL", "x", "-o", "x.npy"), ("bundle", "MODEL", "-o", "x"), ("embed", "-m", "./x", "x")]
)
def test_a_current_directory_that_is_gone_is_one_line(
    words: tuple[str, ...], tiny_bundle: Bundle, tmp_path: Path
) -> None:
    run(*(word.replace("MODEL", str(tiny_bundle.path)) for word in words), script=GONE, cwd=tmp_path)


@pytest.mark.parametrize("output", ["a\0b.npy", "\ud800.npy", "~nobody-of-that-name/x.npy", f"{'x' * 300}.npy"])
def test_an_output_that_no_system_has_is_one_of_our_errors(output: str) -> None:
    with pytest.raises(EmbedgeError, match="-o .*cannot be"), open_writer(output):
        pytest.fail("it was opened")


@posix
def test_an_output_among_links_in_a_circle_is_one_of_our_errors(tmp_path: Path) -> None:
    """Python 3.13 resolves such links to themselves, and the directory is then not there."""
    (tmp_path / "loop").symlink_to("loop")
    output, expected = str(tmp_path / "loop" / "x.npy"), (EmbedgeError, click.UsageError)
    with pytest.raises(expected, match="-o .*(cannot be|no such directory)"), open_writer(output):
        pytest.fail("it was opened")


@pytest.mark.parametrize("source", ["a\0b", "\ud800", "x" * 300])
def test_an_input_that_no_system_has_is_one_of_our_errors(source: str) -> None:
    with pytest.raises(EmbedgeError, match="cannot be read"), open_items(source):
        pytest.fail("it was opened")


def test_nesting_that_json_reads_and_cannot_show_is_one_of_our_errors(tmp_path: Path) -> None:
    """From the depth on at which it is not read."""
    for depth in range(100, sys.getrecursionlimit() + 50, 50):
        (tmp_path / "in.jsonl").write_text(json.dumps({"text": 1})[:-2] + "[" * depth + "]" * depth + "}\n")
        with pytest.raises(EmbedgeError), open_items(str(tmp_path / "in.jsonl")) as items:
            list(items)


@posix
def test_names_are_escaped_in_what_commands_say(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A path's escape sequence, its newline and bytes that are not UTF-8; where the encoding lacks letters, too."""
    folder = tmp_path / "東\x1b[31m\n\udcff"
    shutil.copytree(tiny_bundle.path, folder)
    command = [sys.executable, "-m", "embedge", "pull", str(folder)]
    for encoding, name in (("utf-8", r"東\x1b[31m\n\udcff"), ("latin-1", r"\u6771\x1b[31m\n\udcff")):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=True)
        assert done.stdout.decode() == f"{tmp_path}/{name}: " + done.stdout.decode().partition(": ")[2]
        assert done.stdout.count(b"\n") == 1


def test_words_that_were_typed_are_escaped(tmp_path: Path) -> None:
    for words in (["x\x1b"], ["--\x1bx"], ["embed", "--\x1bx"], ["embed", "x", "-o", "\x1b.csv"], ["models", "\x1bx"]):
        done = subprocess.run([sys.executable, "-m", "embedge", *words], capture_output=True, timeout=60, check=False)
        assert done.returncode == 2
        assert b"\x1b" not in done.stderr
        assert rb"\x1b" in done.stderr


def test_json_lines_end_where_they_end(tiny_bundle: Bundle) -> None:
    """An id with U+2028, U+0085 or a terminal's CSI is escaped, and is itself again when it is read."""
    identity = "the\u2028cat\x85\x9b\u202e\x7f東"
    done = subprocess.run(
        [sys.executable, "-m", "embedge", "embed", "-m", str(tiny_bundle.path), "--format", "jsonl"],
        input=json.dumps({"text": "x", "id": identity}).encode(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    (line,) = done.stdout.decode().splitlines()
    assert json.loads(line)["id"] == identity
    assert "東" in line
    assert line.isprintable()


@pytest.mark.skipif(os.name == "nt", reason="pipes are other things there")
def test_a_read_that_would_wait_is_an_error() -> None:
    """As of /proc/kmsg, which is a regular file to the system, and gave None instead of bytes."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with io.BufferedReader(paths._NonBlockingFile(reading, "rb")) as file, pytest.raises(BlockingIOError):
        file.read(10)
    os.close(writing)
