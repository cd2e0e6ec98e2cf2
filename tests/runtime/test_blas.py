"""blas.py: numpy's idle threads end, and are back for a product. In fresh processes that have not imported it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle
from embedge.cpu import usable_cores

# Fewest in a while: one that has ended is listed for some microseconds more.
_THREADS = """
import json, os, time
def threads():
    return min(len(os.listdir('/proc/self/task')) for _ in range(20) if not time.sleep(0.005))
"""
_PRODUCT = "x = np.random.default_rng(0).standard_normal((1024, 1024)); y = x @ x"

pytestmark = pytest.mark.skipif(
    not list((Path(np.__file__).parents[1] / "numpy.libs").glob("*openblas*.so*")) or usable_cores() == 1,
    reason="this numpy brings no OpenBLAS of its own, or there is one core: no idle threads",
)


def told(code: str) -> Any:
    """What a fresh process prints as JSON; without ONNX Runtime's own thread, which reports to Microsoft."""
    command, environment = [sys.executable, "-c", f"{_THREADS}\n{code}"], {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def test_idle_threads_end_and_come_back_for_a_product_which_is_the_same() -> None:
    found = told(f"""
import numpy as np
from embedge.blas import stop_idle_threads
before = threads()
{_PRODUCT}
stop_idle_threads(np.__file__); stop_idle_threads(np.__file__)
ended = threads()
same = bool((x @ x == y).all())
print(json.dumps([before, ended, same, threads()]))
""")
    assert found[0] > 1
    assert found[1:] == [1, True, found[0]]


def test_numpy_that_is_imported_for_a_bundle_spins_nowhere(tiny_bundle: Bundle) -> None:
    found = told(f"""
from embedge import Embedder
model = Embedder({str(tiny_bundle.path)!r}, threads=1)
print(json.dumps(threads()))
""")
    assert found == 1


def test_threads_of_who_uses_numpy_already_are_left_alone(tiny_bundle: Bundle) -> None:
    found = told(f"""
import numpy
before = threads()
from embedge import Embedder
model = Embedder({str(tiny_bundle.path)!r}, threads=1)
print(json.dumps([before, threads()]))
""")
    assert found[0] == found[1] > 1
