"""integrations/packed_bundle.py: a bundle in memory, sent by pickle, written once by each machine."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embedge import Bundle, BundleCorruptError, BundleError, Embedder, PrecisionNotFoundError
from embedge.integrations.packed_bundle import PackedBundle

UNPACK = """
import hashlib, pickle, sys
from embedge import Embedder
packed = pickle.load(open(sys.argv[1], "rb"))
path = packed.unpack()
print(path, hashlib.sha256(Embedder(path, threads=1).encode(["the cat", "a dog"]).tobytes()).hexdigest(), flush=True)
"""
HOLD = """
import sys, time
from pathlib import Path
from embedge.bundle.staging import lock_destination, staging
with lock_destination(Path(sys.argv[1])), staging(Path(sys.argv[1])) as (folder, _):
    (folder / "half").write_text("written")
    print("locked", flush=True)
    time.sleep(100)
"""


def start(pickled: Path, home: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", UNPACK, str(pickled)],
        env={**os.environ, "EMBEDGE_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def pickled(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    (tmp_path / "packed").write_bytes(pickle.dumps(PackedBundle.pack(tiny_bundle.path)))
    return tmp_path / "packed"


def test_only_the_precision_that_is_used_is_packed(tiny_bundle: Bundle, tmp_path: Path) -> None:
    packed = PackedBundle.pack(tiny_bundle.path)
    assert not [name for name in packed.files if name.startswith("onnx/model.onnx")]
    bundle = Bundle.open(packed.unpack(tmp_path / "here"))
    bundle.check()
    assert bundle.manifest.precisions.keys() == {"int8"}
    whole = PackedBundle.pack(tiny_bundle.path, precisions=("int8", "fp32"))
    assert whole.files.keys() == tiny_bundle.manifest.files.keys()
    with pytest.raises(PrecisionNotFoundError, match="fp16"):
        PackedBundle.pack(tiny_bundle.path, precisions=("fp16",))


def test_two_machines_write_it_once_each(pickled: Path, tiny_bundle: Bundle, tmp_path: Path) -> None:
    homes = [tmp_path / "first", tmp_path / "second"]
    started = [start(pickled, home) for _ in range(3) for home in homes]
    lines = [process.communicate(timeout=120)[0].split() for process in started]
    assert [process.returncode for process in started] == [0] * 6
    assert len({path for path, _ in lines}) == 2
    assert len({digest for _, digest in lines}) == 1
    for path, _ in lines[:2]:
        Bundle.open(path).check()
        assert [entry.name for entry in Path(path).parent.iterdir()] == [Path(path).name]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_killed_writer_does_not_block_the_others(pickled: Path, tmp_path: Path) -> None:
    home = tmp_path / "machine"
    packed: PackedBundle = pickle.loads(pickled.read_bytes())
    place = home / "packed" / packed.unpack().name
    with subprocess.Popen([sys.executable, "-c", HOLD, str(place)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "locked\n"
        others = [start(pickled, home) for _ in range(2)]
        time.sleep(1)
        writer.kill()
    assert {process.communicate(timeout=120)[0].split()[0] for process in others} == {str(place)}
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    assert not (place / "half").exists()


def test_it_is_written_once_and_not_over_something_else(tiny_bundle: Bundle, tmp_path: Path) -> None:
    packed = PackedBundle.pack(tiny_bundle.path)
    place = packed.unpack()
    before = (place / "embedge.json").stat().st_ino
    assert packed.unpack() == place
    assert (place / "embedge.json").stat().st_ino == before
    assert PackedBundle.pack(tiny_bundle.path, precisions=("fp32",)).unpack() != place
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        packed.unpack(tmp_path / "other")


def test_damage_is_found_before_it_is_sent_and_after(tiny_bundle: Bundle, tmp_path: Path) -> None:
    packed = PackedBundle.pack(tiny_bundle.path)
    name = next(name for name in packed.files if name.endswith(".onnx"))
    content = packed.files[name]
    changed = PackedBundle(packed.manifest, {**packed.files, name: bytes([content[0] ^ 1]) + content[1:]})
    with pytest.raises(BundleCorruptError, match=f"{name} of the packed bundle is damaged"):
        changed.unpack(tmp_path / "changed")
    assert not (tmp_path / "changed").exists()
    good = packed.unpack(tmp_path / "good")
    (good / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(BundleCorruptError, match="has changed since it was exported"):
        PackedBundle.pack(good)


def test_the_vectors_are_those_of_the_bundle(tiny_bundle: Bundle) -> None:
    texts = ["the cat", "a dog"]
    expected = Embedder(tiny_bundle.path).encode(texts)
    assert Embedder(PackedBundle.pack(tiny_bundle.path).unpack()).encode(texts).tobytes() == expected.tobytes()
