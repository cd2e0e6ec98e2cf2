"""process_start.py: the time, the memory and the answer are those of the process, and a process without one is told."""

import sys
import time
from pathlib import Path

import pytest

from benchmarks.measure.process_start import ANSWERED, Measured, StartError, time_program, time_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
MEGABYTE = 1_000_000


def python(code: str, *, text: str = "") -> tuple[Measured, str]:
    return time_program([sys.executable, "-S", "-c", code], {}, text=text)


def test_the_time_ends_with_the_first_line() -> None:
    begin = time.perf_counter()
    measured, line = python("import time; time.sleep(.2); print('first', flush=True); time.sleep(.5); print('second')")
    assert time.perf_counter() - begin > 0.7  # it waits for the end
    assert line == "first\n"
    assert 200 < measured.milliseconds < 700
    assert 0 < measured.cpu < 200


def test_memory_is_the_peak_and_not_the_last() -> None:
    small, _ = python(ANSWERED)
    large, _ = python(f"data = b'x' * 50 * {MEGABYTE}; del data; {ANSWERED}")
    assert 48 * MEGABYTE < large.bytes - small.bytes < 55 * MEGABYTE


def test_memory_of_children_is_added() -> None:
    child = f"x = b'x' * 30 * {MEGABYTE}; print(flush=True); input()"
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", {child!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
{ANSWERED}
child.communicate(b"\\n")
"""
    alone, _ = python(f"import subprocess; {ANSWERED}")
    both, _ = python(code)
    assert both.bytes - alone.bytes > 30 * MEGABYTE


def test_a_program_reads_its_text() -> None:
    code = "import sys, time; print(len(sys.stdin.read()), flush=True); time.sleep(.2)"
    assert python(code, text="x" * 200_000)[1] == "200000\n"


@pytest.mark.parametrize("text", ["", "a job"])
def test_a_program_that_fails_says_why(text: str) -> None:
    with pytest.raises(StartError, match=r"python\S* ended with 3 before its first answer: no model"):
        python("import sys; print('no model', file=sys.stderr); sys.exit(3)", text=text)


def test_a_program_that_is_not_there_is_told() -> None:
    with pytest.raises(StartError, match="nowhere cannot be started: No such file or directory"):
        time_program(["/nowhere"], {})


def test_a_server_that_answers_an_error_is_told(tmp_path: Path) -> None:
    code = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_error(500)
    def log_message(self, *words):
        pass
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
    with pytest.raises(StartError, match="a server answered 500"):
        time_server([sys.executable, "-c", code], {})
