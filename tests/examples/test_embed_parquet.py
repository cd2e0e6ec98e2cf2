"""examples/embed_parquet.py is killed in the middle (SIGKILL), and goes on: no row is lost or doubled."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray.data", reason="needs Ray Data: pip install 'embedge[ray]'")
if sys.platform == "win32":
    pytest.skip("Windows has no SIGKILL", allow_module_level=True)

import pyarrow.parquet as pq

from embedge import Bundle, Embedder

SCRIPT = Path(__file__).parents[2] / "examples" / "embed_parquet.py"
ROWS = 8_000  # of 20 files
WAIT = 240  # seconds; Ray starts slowly on a busy machine


@contextmanager
def started(bundle: Bundle, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The example, in a process group of its own, of which nothing is left at the end."""
    command = [sys.executable, str(SCRIPT), str(bundle.path), str(folder), str(ROWS)]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def finished(bundle: Bundle, folder: Path) -> str:
    """The last line that a run prints that is not killed."""
    with started(bundle, folder) as process:
        printed, _ = process.communicate(timeout=WAIT)
    assert process.returncode == 0, (folder / "log").read_text()[-3000:]
    return printed.splitlines()[-1]


def test_a_killed_job_goes_on_and_a_finished_one_adds_nothing(tiny_bundle: Bundle, tmp_path: Path) -> None:
    vectors = tmp_path / "vectors"
    with started(tiny_bundle, tmp_path) as process:
        end = time.monotonic() + WAIT
        while len(list((tmp_path / "checkpoint").glob("*[0-9].parquet"))) < 3:
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            assert time.monotonic() < end, "no file was written"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    time.sleep(5)  # Ray's own processes see that their driver is gone, and end
    kept = {path: path.stat().st_mtime_ns for path in vectors.glob("*.parquet")}
    committed = {path.stem for path in (tmp_path / "checkpoint").glob("*[0-9].parquet")}
    assert 3 <= len(committed) < 20, "the job was not killed in the middle"

    line = finished(tiny_bundle, tmp_path)
    assert line.startswith(f"{ROWS:,} rows in ")
    assert line.endswith("none lost, none doubled")
    for path, written in kept.items():  # what was whole is as it was
        if path.stem.rpartition("-")[0] in committed:
            assert path.stat().st_mtime_ns == written
    names = sorted(vectors.iterdir())
    rows = pq.read_table(vectors).sort_by("id")
    found = rows.column("embedding").combine_chunks().flatten().to_numpy().reshape(ROWS, -1)
    assert np.array_equal(found, Embedder(tiny_bundle.path).encode(rows.column("text").to_pylist()))

    assert finished(tiny_bundle, tmp_path) == line
    assert sorted(vectors.iterdir()) == names
