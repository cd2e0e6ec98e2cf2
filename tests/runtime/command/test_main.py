"""The command: what it reads and writes, its exit codes, and that failures are one line."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from commands import runner
from embedge import Bundle, Embedder
from embedge.command.main import COMMANDS, cli
from manifests import sealed


def run(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "embedge", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, timeout=120, env={**os.environ, **environment}, check=False
    )


def one_line(done: subprocess.CompletedProcess[bytes], code: int = 1) -> str:
    """The error, after checking that it is all there is."""
    assert done.returncode == code, done.stderr.decode()
    assert done.stdout == b""
    line = done.stderr.decode()
    assert "Traceback" not in line
    assert code == 2 or line.count("\n") == 1
    return line


@pytest.fixture
def model(tiny_bundle: Bundle) -> str:
    return str(tiny_bundle.path)


def test_vectors_on_stdout_are_exact(model: str, tiny_bundle: Bundle) -> None:
    lines = run("embed", "-m", model, "the cat", "a dog").stdout.decode().splitlines()
    expected = Embedder(tiny_bundle.path).encode(["the cat", "a dog"])
    assert [json.loads(line)["index"] for line in lines] == [0, 1]
    np.testing.assert_array_equal(np.array([json.loads(line)["embedding"] for line in lines], np.float32), expected)


def test_a_query_gets_the_prompt(model: str, tiny_bundle: Bundle) -> None:
    line = json.loads(run("embed", "-m", model, "--query", "bake bread").stdout)
    np.testing.assert_array_equal(np.float32(line["embedding"]), Embedder(tiny_bundle.path).encode_query("bake bread"))


def test_lines_of_a_file_to_npy(model: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A byte order mark, Windows line ends and an empty line; a window's worth of rows and more."""
    texts = ["the cat", "", "a dog far away", *["cat"] * 1500]
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(texts).encode())
    done = run("embed", "-m", model, "-i", str(tmp_path / "in.txt"), "-o", str(tmp_path / "out.npy"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), Embedder(tiny_bundle.path).encode(texts))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["in.txt", "out.npy"]


def test_json_lines_join_title_and_text_and_keep_ids(model: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"_id": "x1", "title": "the cat", "text": "sat"}\n\n{"id": 2, "text": "dog"}\n')
    run("embed", "-m", model, "-i", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.npz"))
    expected = Embedder(tiny_bundle.path).encode(["the cat sat", "dog"])
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_array_equal(out["embeddings"], expected)
        assert out["ids"].tolist() == ["x1", "2"]
    run("embed", "-m", model, "-i", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.jsonl"))
    assert [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == ["x1", 2]


@pytest.mark.parametrize("name", ["out.npy", "out.npz"])
def test_no_texts_give_an_array_of_no_rows(model: str, tmp_path: Path, name: str) -> None:
    """Of the type and width that one text would have."""
    assert run("embed", "-m", model, "-o", str(tmp_path / name)).returncode == 0
    loaded = np.load(tmp_path / name)
    array = loaded if name.endswith("npy") else loaded["embeddings"]
    assert (array.shape, array.dtype) == ((0, 32), np.float32)


def test_a_text_without_an_id_goes_by_its_position(model: str, tmp_path: Path) -> None:
    """In a .npz's ids; JSON lines have it as "index"."""
    (tmp_path / "in.jsonl").write_text('{"id": "x", "text": "cat"}\n{"text": "cat"}\n{"id": null, "text": "cat"}\n')
    run("embed", "-m", model, "-i", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz") as out:
        assert out["ids"].tolist() == ["x", "1", "2"]


def test_two_ids_that_are_one_string_are_refused(model: str, tmp_path: Path) -> None:
    """A .npz would no longer tell them apart; one id given twice is the caller's."""
    (tmp_path / "in.jsonl").write_text(
        '{"id": 7, "text": "cat"}\n{"id": 7, "text": "cat"}\n{"id": "7", "text": "cat"}\n'
    )
    done = run("embed", "-m", model, "-i", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.npz"))
    assert "text 2 and an earlier one would both have the id '7'" in one_line(done)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"text": "cat", "id": 1.5}, '"id" must be a string or an integer, found 1.5'),
        ({"text": "cat", "id": True}, '"id" must be a string or an integer, found true'),
        ({"text": "cat", "id": "\ud83d"}, '"id" holds a lone surrogate, "\\ud83d"'),
        ({"text": "\ud83d"}, '"text" holds a lone surrogate'),
        ({"text": "cat", "title": "\ud83d"}, '"title" holds a lone surrogate'),
        ({"text": "cat", "title": 3}, '"title" must be a string, found 3'),
    ],
)
def test_what_would_be_lost_of_a_line_is_an_error(model: str, line: object, message: str) -> None:
    done = run("embed", "-m", model, "--format", "jsonl", stdin=json.dumps(line).encode())
    assert f"standard input line 1: {message}" in one_line(done)


def test_json_lines_by_option_or_by_name_in_either_case(model: str, tmp_path: Path) -> None:
    """Standard input is text without --format; with --format text, a .jsonl file is text, too."""
    line = b'{"text": "the cat"}\n'
    (tmp_path / "in.JSONL").write_bytes(line)
    expected = run("embed", "-m", model, "the cat").stdout
    assert run("embed", "-m", model, "--format", "jsonl", stdin=line).stdout == expected
    assert run("embed", "-m", model, "-i", str(tmp_path / "in.JSONL")).stdout == expected
    as_text = run("embed", "-m", model, line.decode().strip()).stdout
    assert run("embed", "-m", model, "--format", "text", "-i", str(tmp_path / "in.JSONL")).stdout == as_text
    assert run("embed", "-m", model, stdin=line).stdout == as_text


@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="no /dev/stdin here")  # noqa: PTH110
def test_a_pipe_can_be_named(model: str) -> None:
    expected = run("embed", "-m", model, "cat").stdout
    assert run("embed", "-m", model, "-i", "/dev/stdin", stdin=b"cat\n").stdout == expected


def test_an_output_that_is_a_link_stays_one(model: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "out.npy").symlink_to(tmp_path / "there" / "real.npy")
    run("embed", "-m", model, "cat", "-o", str(tmp_path / "out.npy"))
    assert (tmp_path / "out.npy").is_symlink()
    assert np.load(tmp_path / "there" / "real.npy").shape == (1, 32)


def test_an_output_may_shout_or_be_stdout(model: str, tmp_path: Path) -> None:
    run("embed", "-m", model, "cat", "-o", str(tmp_path / "OUT.NPY"))
    assert np.load(tmp_path / "OUT.NPY").shape == (1, 32)
    assert run("embed", "-m", model, "cat", "-o", "-").stdout == run("embed", "-m", model, "cat").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes them")
@pytest.mark.parametrize(("closed", "message"), [("<&-", "standard input is closed"), (">&-", "stdout is closed")])
def test_a_closed_stream_is_told(model: str, closed: str, message: str) -> None:
    words = "cat" if closed == ">&-" else ""
    command = f"{sys.executable} -m embedge embed -m {model} {words} {closed}"
    assert message in one_line(subprocess.run(["/bin/sh", "-c", command], capture_output=True, timeout=60, check=False))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
def test_a_killed_embed_leaves_nothing_behind(model: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "embedge", "embed", "-m", model, "-o", str(tmp_path / "out.npy")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        while not list(tmp_path.glob(".out.npy.*")):
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
def test_an_embed_killed_as_soon_as_its_file_is_there_leaves_nothing_behind(model: str, tmp_path: Path) -> None:
    """The signal comes on the way back from the very call that made the file."""
    script = """
import os, signal, sys
from embedge.command import main as cli

def profile(frame, event, argument):
    if os.listdir(sys.argv[-1].rpartition("/")[0]):
        sys.setprofile(None)
        print("made", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)

sys.setprofile(profile)
cli.main()
"""
    folder = tmp_path / "vectors"
    folder.mkdir()
    command = [sys.executable, "-c", script, "embed", "-m", model, "cat", "-o", str(folder / "out.npy")]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, b"made\n", b"")
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
def test_a_signal_while_an_extension_is_imported_is_no_bug() -> None:
    """Numpy's import makes an ImportError of whatever is raised inside it."""
    script = """
import os, signal
from embedge.command import info, main as cli

def callback(**options):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    except SystemExit:
        raise ImportError("initialization failed") from None

info.info.callback = callback
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", script, "info"], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, b"")


def test_stdin_and_small_types(model: str) -> None:
    lines = run(
        "embed", "-m", model, "-i", "-", "--output-precision", "ubinary", "--truncate-dim", "16", stdin=b"cat\ndog\n"
    )
    assert [len(json.loads(line)["embedding"]) for line in lines.stdout.splitlines()] == [2, 2]


def test_a_reader_that_leaves_early_is_no_failure_to_shout_about(model: str) -> None:
    command = f"yes cat | head -20000 | {sys.executable} -m embedge embed -m {model} -i - | head -1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, timeout=120, check=True)
    assert done.stderr == b""


def test_the_bar_counts_what_is_embedded_not_what_is_read(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third line fails before the window of the first two is embedded."""
    monkeypatch.setattr("embedge.progress.is_terminal", lambda stream: True)
    monkeypatch.setattr("embedge.progress._DELAY", 0)
    (tmp_path / "in.jsonl").write_text('{"text": "cat"}\n{"text": "dog"}\n{}\n')
    done = runner().invoke(cli, ["embed", "-m", model, "-i", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "o.npy")])
    assert "0text" in done.stderr
    assert "2text" not in done.stderr
    (tmp_path / "in.txt").write_text("cat\ndog\n")
    done = runner().invoke(cli, ["embed", "-m", model, "-i", str(tmp_path / "in.txt"), "-o", str(tmp_path / "o.npy")])
    assert "2text" in done.stderr


def test_a_failure_writes_no_file(model: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "cat"}\n{"txt": "dog"}\n')
    done = run("embed", "-m", model, "-i", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.npy"))
    assert "in.jsonl line 2 must be an object with a string" in one_line(done)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["in.jsonl"]


def test_failures_are_one_line_with_exit_code_1(model: str, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("caf\xe9\n".encode("latin-1"))
    assert "latin.txt line 1 is not UTF-8" in one_line(run("embed", "-m", model, "-i", str(tmp_path / "latin.txt")))
    assert "no such directory" in one_line(run("embed", "-m", "./nowhere", "cat"))
    found = one_line(run("embed", "-m", model, "--truncate-dim", "33", "cat"))
    assert found.startswith("Error: --truncate-dim must be between 1 and 32")
    assert "no such file" in one_line(run("embed", "-m", model, "-i", "nowhere.txt"))
    assert "is a directory" in one_line(run("embed", "-m", model, "-i", str(tmp_path)))
    assert "cannot be read" in one_line(run("embed", "-m", model, "-i", "x" * 300))


@pytest.mark.usefixtures("export")
def test_an_export_of_an_unknown_name_suggests_one() -> None:
    assert "did you mean" in one_line(run("export", "bge-smal-en-v1.5"))


def test_debug_shows_the_traceback() -> None:
    for arguments in (["--debug", "embed", "-m", "./nowhere", "cat"], ["embed", "-m", "./nowhere", "cat", "--debug"]):
        assert b"Traceback" in run(*arguments).stderr


def test_usage_is_exit_code_2(model: str, tmp_path: Path) -> None:
    assert "give only one of them" in one_line(run("embed", "-m", model, "cat", "-i", "x.txt"), 2)
    assert "--format is for" in one_line(run("embed", "-m", model, "cat", "--format", "text"), 2)
    (tmp_path / "d.npy").mkdir()
    assert "is a directory" in one_line(run("embed", "-m", model, "cat", "-o", str(tmp_path / "d.npy")), 2)
    assert "must end in .npy, .npz, .jsonl" in one_line(run("embed", "-m", model, "cat", "-o", "x.csv"), 2)
    assert "no such directory" in one_line(run("embed", "-m", model, "cat", "-o", str(tmp_path / "no" / "x.npy")), 2)
    assert "No such command" in one_line(run("embedd"), 2)
    assert "Invalid value" in one_line(run("embed", "--precision", "int3", "cat"), 2)


def test_truncation_is_a_warning_on_stderr(model: str) -> None:
    done = run("embed", "-m", model, "cat " * 100)
    assert done.stderr.decode().startswith("warning: 1 of 1 texts are longer than 64 tokens")


def test_export_embed_verify_models_and_info(tiny_checkpoint: Path) -> None:
    done = run("export", str(tiny_checkpoint), "--no-verify")
    assert done.returncode == 0, done.stderr
    name = done.stdout.decode().split('"')[1]
    assert len(json.loads(run("embed", "-m", name, "cat").stdout)["embedding"]) == 32
    assert b"every SHA-256 matches" in run("verify", name).stdout
    assert name.encode() in run("models").stdout
    info = run("info").stdout.decode()
    for word in ("onnxruntime", "CPUExecutionProvider", "usable", name, "int8"):
        assert word in info


def test_models_shows_the_size_of_a_graph_with_its_weights(tiny_checkpoint: Path, tmp_path: Path) -> None:
    run("export", str(tiny_checkpoint), "--no-verify")
    (bundle,) = (path.parent for path in (tmp_path / "home").rglob("embedge.json"))
    manifest = json.loads((bundle / "embedge.json").read_text())
    manifest["files"]["onnx/model_int8.onnx_data"]["size"] = 34_000_000
    (bundle / "embedge.json").write_text(sealed(manifest))
    assert b" 34 MB " in run("models").stdout


def test_verify_notices_a_change(tiny_checkpoint: Path, tmp_path: Path) -> None:
    run("export", str(tiny_checkpoint), "-o", str(tmp_path / "b"), "--no-verify")
    (tmp_path / "b" / "config.json").write_text("{}")
    assert "config.json has 2 bytes" in one_line(run("verify", str(tmp_path / "b")))


@pytest.mark.parametrize("command", [("verify",), ("push", "someone/new"), ("info", "--footprint", "-m")])
def test_a_model_that_is_not_in_the_cache_can_be_pulled(command: tuple[str, ...]) -> None:
    name, *more = command
    arguments = (name, *more, "bge-small-en-v1.5") if "-m" in more else (name, "bge-small-en-v1.5", *more)
    assert "run `embedge pull bge-small-en-v1.5`" in one_line(run(*arguments))


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_teaches(command: str) -> None:
    done = run(*filter(None, [command]), "--help")
    assert done.returncode == 0
    assert b"--debug" in done.stdout
    assert command == "models" or b"\n  Examples:\n    embedge " in done.stdout


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_no_file_takes_the_place_of_a_stream_that_was_closed() -> None:
    """What Rust and C++ write to stderr would go into it."""
    code = (
        "import os, click; from embedge.command import main as cli\n"
        "cli.cli = lambda: print(*(os.readlink(f'/proc/self/fd/{number}') for number in range(3)))\n"
        "cli.main()"
    )
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} <&- 2>&-"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    first, _, last = done.stdout.split()
    assert (first, last) == ("/dev/null", "/dev/null")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_vectors_do_not_take_the_place_of_a_pipe(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Its reader would wait for ever."""
    pipe = tmp_path / "vectors.jsonl"
    os.mkfifo(pipe)
    done = runner().invoke(cli, ["embed", "-m", str(tiny_bundle.path), "the cat", "-o", str(pipe)])
    assert done.exit_code == 2
    assert "is not a regular file" in done.stderr
    assert pipe.is_fifo()
