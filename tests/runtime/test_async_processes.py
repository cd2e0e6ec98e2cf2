"""AsyncEmbedder and processes: pickles, forked children, and the end of the process."""

import asyncio
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from embedge import AsyncEmbedder, Bundle


def test_a_pickled_model_has_a_queue_of_its_own(tiny_bundle: Bundle) -> None:
    model = AsyncEmbedder(tiny_bundle.path, threads=1, max_waiting_texts=5, max_waiting_tokens=7)
    copy = pickle.loads(pickle.dumps(model))
    assert repr(copy) == repr(model)
    assert (copy._bounds, copy.embedder.threads) == ((5, 7), 1)
    np.testing.assert_array_equal(asyncio.run(copy.encode("a cat")), model.embedder.encode("a cat"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_answers_though_its_parent_was_busy(tiny_bundle: Bundle) -> None:
    code = """
import asyncio, os, sys
from embedge import AsyncEmbedder, Embedder
model = AsyncEmbedder.from_embedder(Embedder(sys.argv[1], threads=2))
texts = ["the cat sat", "a dog"] * 2000
async def parent():
    task = asyncio.create_task(model.encode(texts))
    while not model.waiting[1]:
        await asyncio.sleep(0)
    return os.fork(), task
loop = asyncio.new_event_loop()
child, task = loop.run_until_complete(parent())
if child == 0:
    assert model.waiting == (0, 0), model.waiting
    found = asyncio.new_event_loop().run_until_complete(model.encode("the cat sat"))
    os._exit(0 if (found == model.embedder.encode("the cat sat")).all() else 3)
assert len(loop.run_until_complete(task)) == 4000
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tiny_bundle.path)], timeout=120, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("end", ["pass", "raise KeyboardInterrupt", "task.cancel()"])
def test_a_process_ends_though_a_batch_runs(tiny_bundle: Bundle, end: str) -> None:
    """Without waiting, the interpreter would kill a thread inside ONNX Runtime."""
    code = f"""
import asyncio, sys
from embedge import AsyncEmbedder
async def main():
    model = AsyncEmbedder(sys.argv[1])
    task = asyncio.create_task(model.encode(["the cat sat on the mat " * 10] * 5000, on_truncate="ignore"))
    while not model.waiting[1]:
        await asyncio.sleep(0)
    {end}
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle.path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
