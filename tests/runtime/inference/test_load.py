"""load.py: loading in parallel raises the same errors as loading in sequence."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads

import numpy as np
import pytest

import manifests
from embedge import Bundle, BundleCorruptError, BundleError, Embedder, TruncationWarning
from embedge.background import Semaphore
from embedge.bundle.manifest import BATCH, HIDDEN, READ_TOKENS, Side
from embedge.inference.providers import CPU_ONLY
from embedge.inference.session import Session
from embedge.inference.tokenise import Tokeniser


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle.path, tmp_path / "copy"))


@pytest.mark.parametrize("file", ["tokenizer.json", "onnx/model_int8.onnx"])
def test_a_file_that_no_longer_reads_is_calls_to_have_changed(copy: Path, file: str) -> None:
    """The tokenizer's or ONNX Runtime's own complaint would say less."""
    size = (copy / file).stat().st_size
    (copy / file).write_bytes(b"x" * size)
    with pytest.raises(BundleCorruptError, match=f"{file} has changed"):
        Embedder(copy, precision="int8")


@pytest.mark.parametrize(
    "module", ["numpy", "onnxruntime", "tokenizers", "logging", "concurrent.futures", "subprocess"]
)
def test_the_embedder_alone_imports_nothing_slow(module: str) -> None:
    code = f"import sys; from embedge import Embedder; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_runtime_works_through_a_bundle_without_imports_of_the_slow_kind(tiny_bundle: Bundle) -> None:
    code = (
        f"import sys; from embedge import Embedder; Embedder({str(tiny_bundle.path)!r}, threads=1).encode('the cat'); "
        "sys.exit('concurrent.futures' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tokenizers_is_not_imported_before_the_session_opens() -> None:
    """Its import needs Python's lock, which the opening of a session does not."""
    code = "import sys, embedge.inference.session; sys.exit('tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_load_needs_no_hashlib(tiny_bundle: Bundle) -> None:
    """Which takes 3 ms to import; the files' CRC-32 tells damage. numpy before 2 imports it itself."""
    code = (
        "import sys, numpy; before = 'hashlib' in sys.modules; from embedge import Embedder; "
        f"Embedder({str(tiny_bundle.path)!r}); sys.exit('hashlib' in sys.modules and not before)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Counts the collections during a first load, and says whether the collector is on afterwards.
_COUNT_COLLECTIONS = """
import gc, sys
from embedge import Embedder, EmbedgeError
gc.{state}()
if "frozen" in sys.argv:
    gc.freeze()
is_frozen = gc.get_freeze_count() > 0
before = sum(generation["collections"] for generation in gc.get_stats())
try:
    Embedder(sys.argv[1])
except EmbedgeError:
    print("failed", end=" ")
print(sum(generation["collections"] for generation in gc.get_stats()) - before, gc.isenabled())
assert (gc.get_freeze_count() > 0) == is_frozen
"""


@pytest.mark.parametrize("state", ["enable", "disable"])
@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("frozen", [[], ["frozen"]])
def test_a_load_collects_no_garbage_and_leaves_the_collector_as_it_was(
    copy: Path, state: str, damaged: bool, frozen: list[str]
) -> None:
    """The imports alone would cause dozens of collections; reading the manifest before them may cause a few."""
    if damaged:
        (copy / "tokenizer.json").write_bytes(b"x" * (copy / "tokenizer.json").stat().st_size)
    command = [sys.executable, "-c", _COUNT_COLLECTIONS.format(state=state), str(copy), *frozen]
    *failed, collections, is_enabled = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(collections) <= 3
    assert is_enabled == str(state == "enable")
    assert failed == ["failed"] * damaged


def test_a_load_leaves_few_young_objects(tiny_bundle: Bundle) -> None:
    """Else the collector would look through all that the imports made as soon as it is on again."""
    code = (
        "import gc, sys; from embedge import Embedder; Embedder(sys.argv[1]); "
        "print(len(gc.get_objects(generation=0)), len(gc.get_objects()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle.path)], capture_output=True, text=True, check=True
    )
    young, every = map(int, done.stdout.split())
    assert young < 5_000 < 20_000 < every


def test_a_session_says_when_its_graph_is_parsed(copy: Path) -> None:
    """Before its kernels are made: as it does of a graph whose weights are then found to be missing."""
    calls: list[str] = []

    def open_session() -> None:
        graph = copy / "onnx/model_int8.onnx"
        Session(
            graph,
            threads=1,
            providers=CPU_ONLY,
            outputs={HIDDEN: (BATCH, READ_TOKENS, 32)},
            run_as_is=True,
            on_parsed=lambda: calls.append("it"),
        )

    open_session()
    assert calls == ["it"]
    (copy / "onnx/model_int8.onnx_data").unlink()
    with pytest.raises(BundleError, match="cannot load"):
        open_session()
    assert calls == ["it", "it"]
    (copy / "onnx/model_int8.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match="cannot load"):
        open_session()
    assert calls == ["it", "it"]


class Impatient(Semaphore):
    """Nobody is to wait for it until the time is up."""

    def acquire(self, *, blocking: bool = True, timeout: float | None = None) -> bool:
        assert super().acquire(blocking=blocking, timeout=timeout), "it was never given"
        return True


def test_the_tokenizer_is_read_while_the_session_opens(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From when the graph is parsed: that takes the lock which reading does not give, as the rest does not."""
    order: list[str] = []
    reads = Event()
    opened, read = Session._open, Tokeniser.__init__

    def open_slowly(self: Session, on_parsed: Callable[[], None]) -> None:
        def parsed() -> None:
            time.sleep(0.2)
            order.append("parsed")
            on_parsed()
            assert reads.wait(10)

        opened(self, parsed)
        order.append("opened")

    def note(self: Tokeniser, path: Path, *, max_tokens: int, truncation_side: Side) -> None:
        order.append("reads")
        reads.set()
        read(self, path, max_tokens=max_tokens, truncation_side=truncation_side)

    monkeypatch.setattr("embedge.inference.load.Semaphore", Impatient)
    monkeypatch.setattr(Session, "_open", open_slowly)
    monkeypatch.setattr(Tokeniser, "__init__", note)
    Embedder(copy, precision="int8")
    assert order == ["parsed", "reads", "opened"]


def test_nothing_waits_for_a_graph_that_cannot_be_parsed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "onnx/model_int8.onnx").write_bytes(b"no graph")
    monkeypatch.setattr("embedge.inference.load.Semaphore", Impatient)
    for check in ("check", "check_sizes"):
        monkeypatch.setattr(Bundle, check, lambda *_, **__: None)
    running = set(enumerate_threads())
    with pytest.raises(BundleError, match="cannot load"):
        Embedder(copy, precision="int8")
    for thread in set(enumerate_threads()) - running:
        thread.join(0.9)  # less than anything waits for an event
        assert not thread.is_alive()


def test_the_manifest_says_which_end_of_a_long_text_is_cut_off(copy: Path) -> None:
    text = "the dog ran far . " * 20 + "a cat sat on mat ! " * 20
    manifests.change(copy, lambda manifest: manifest.update(truncation_side="left"))
    model = Embedder(copy, precision="fp32")
    with pytest.warns(TruncationWarning, match="lost their start"):
        found = model.encode(text, prompt="how do i ")
    # 62 tokens of the text are kept, whole words all
    np.testing.assert_array_equal(found, model.encode(" ".join(text.split()[-62:])))
