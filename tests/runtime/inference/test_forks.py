"""forks.py: a forked child embeds, and ends, whatever its parent has done with the model and however the child ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedge import Bundle
from embedge.inference.cpu import usable_cores
from fork_children import CHILDREN, ENDS, PARENTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks without exec, which only Linux supports well")
SCRIPT = Path(__file__).parents[2] / "shared" / "fork_children.py"
OF_TWO_CORES = ("single", "busy")


def run(arguments: list[str], home: Path, **variables: str) -> str:
    """Run Python with these arguments, an empty home folder and few variables, so that telemetry would start."""
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment["TOKENIZERS_PARALLELISM"] = "false"  # else older tokenizers print a note in each child
    command = [sys.executable, "-W", "ignore::DeprecationWarning", *arguments]
    done = subprocess.run(
        command, env={**environment, "HOME": str(home), **variables}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("parent", PARENTS)
def test_every_child_ends(parent: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Where a parent has a session for all cores, children that ended by sys.exit or return waited for ever before."""
    if parent in OF_TWO_CORES and usable_cores() < 2:
        pytest.skip("on one core, no session has threads of its own")
    lines = run([str(SCRIPT), str(tiny_bundle.path), parent], tmp_path).splitlines()
    assert lines == [f"{child} | {end} | 0" for child in CHILDREN for end in ENDS]
    assert list(tmp_path.iterdir()) == []  # telemetry would write to the home folder


def test_a_child_of_a_child_ends(tiny_bundle: Bundle, tmp_path: Path) -> None:
    code = (
        "import os, sys; from embedge import Embedder\n"
        "model = Embedder(sys.argv[1], threads=2)\n"
        "for depth in range(3):\n"
        "    for number in range(200): model.encode('the cat sat on the mat')\n"
        "    child = os.fork()\n"
        "    if child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "print('the last one ends')\n"
    )
    assert run(["-c", code, str(tiny_bundle.path)], tmp_path) == "the last one ends\n"


def test_the_process_itself_still_destroys_its_sessions(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Only children keep them: a parent that drops a model frees its memory."""
    code = (
        "import sys, weakref, gc; from embedge import Embedder; from embedge.inference import forks\n"
        "model = Embedder(sys.argv[1]); model.encode('the cat')\n"
        "print(len(forks._OPEN) > 0); del model; gc.collect(); print(len(forks._OPEN))\n"
    )
    assert run(["-c", code, str(tiny_bundle.path)], tmp_path) == "True\n0\n"
