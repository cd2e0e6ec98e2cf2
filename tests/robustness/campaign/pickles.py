"""Pickles: a ``pytorch_model.bin`` that is damaged, or that would run code.

embedge must raise CheckpointError or return tensors, and must never run code from the file.
"""

import io
import shutil
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from campaign.mutate import change_bytes
from campaign.trial import TEXTS, Bench, FaultError, check_unit
from embedge import Embedder
from embedge_export import export
from embedge_export.checkpoint.torch_file import PickledTensors


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def pickled(tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """The pickle, protocol 2, that ``torch.save`` writes for a dictionary of tensors."""
    parts = [b"\x80\x02}q\x00("]
    for key, (name, tensor) in enumerate(tensors.items()):
        strides = tuple(stride // tensor.itemsize for stride in tensor.strides)
        storage = _text("storage") + b"ctorch\nFloatStorage\n" + _text(str(key)) + _text("cpu")
        parts += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n((", storage]
        parts += [b"J" + struct.pack("<i", tensor.size) + b"tQK\x00", _numbers(tensor.shape), _numbers(strides)]
        parts += [b"\x89ccollections\nOrderedDict\n)RtR"]
    return b"".join([*parts, b"u."])


def zipped(pickle: bytes, tensors: Mapping[str, NDArray[np.float32]], **more: Any) -> bytes:
    """The zip file that contains the pickle and the tensors."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **more) as made:
        made.writestr("archive/data.pkl", pickle)
        for key, tensor in enumerate(tensors.values()):
            made.writestr(f"archive/data/{key}", tensor.tobytes())
        made.writestr("archive/version", "3\n")
    return file.getvalue()


def _hostile(pickle: bytes, random: Random, sentinel: Path) -> tuple[str, bytes]:
    """Insert opcodes that would run code or take forever."""
    argument = _text(str(sentinel))
    calls = {
        "os.mkdir": b"cos\nmkdir\n(" + argument + b"tR0",
        "os.system": b"cposix\nsystem\n(" + _text(f"mkdir {sentinel}") + b"tR0",
        "builtins.exec": b"cbuiltins\nexec\n(" + _text(f"import os; os.mkdir({str(sentinel)!r})") + b"tR0",
        "an instance": b"(ios\nmkdir\n" + argument + b"0",
        "a STACK_GLOBAL": _text("os") + _text("mkdir") + b"\x93(" + argument + b"tR0",
        "an object by NEWOBJ": b"cos\nmkdir\n(" + argument + b"t\x810",
        "an extension": b"\x82\x01",
        "deep tuples": b"(" * 5000 + b"t" * 5000 + b"0",
        "doubling": b"]q\x05" + b"h\x05h\x05\x86q\x05" * 40 + b"0",
        "a long number": b"\x8b" + struct.pack("<i", 2**30) + b"\1",
        "a huge text": b"X" + struct.pack("<I", 2**31) + b"x",
        "a huge memo": b"Nr" + struct.pack("<I", 2**31) + b"0",
    }
    what = random.choice(sorted(calls))
    place = random.choice((2, 5, len(pickle) - 1))
    return f"with {what}", pickle[:place] + calls[what] + pickle[place:]


def trial(bench: Bench, random: Random) -> None:
    """Read one file; sometimes export the whole checkpoint."""
    tensors = load_file(bench.checkpoint / "model.safetensors")
    whole_export = random.random() < 0.05
    if not whole_export:
        tensors = dict(list(tensors.items())[:3])
    sentinel, way = bench.folder / "ran", random.choice(("pickle", "hostile", "zip", "compressed", "both"))
    pickle, what = pickled(tensors), "as it is"
    if way in ("pickle", "both"):
        what, pickle = change_bytes(pickle, random)
    if way in ("hostile", "both"):
        what, pickle = _hostile(pickle, random, sentinel)
    more = {"compression": zipfile.ZIP_DEFLATED} if way == "compressed" else {}
    data = zipped(pickle, tensors, **more)
    if way == "zip":
        what, data = change_bytes(data, random)
    path = bench.folder / "checkpoint" / "pytorch_model.bin"
    if whole_export:
        shutil.copytree(bench.checkpoint, path.parent)
        (path.parent / "model.safetensors").unlink()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    try:
        _use(bench, path, whole_export)
    finally:
        if sentinel.exists():
            raise FaultError(f"a pickle ran: {what}")


def _use(bench: Bench, path: Path, whole_export: bool) -> None:
    if whole_export:
        place = bench.folder / "bundle"
        export(path.parent, place, precisions=("fp32",), verify=False, cache_dir=bench.folder, local_files_only=True)
        model = Embedder(place, threads=1)
        check_unit(model.encode(list(TEXTS)), len(TEXTS), model.dimension, "a changed pickle")
        return
    with PickledTensors(path) as found:
        for name in list(found.keys()):
            tensor = found.get_tensor(name)
            if tensor.nbytes > len(path.read_bytes()):
                raise FaultError(f"a tensor has more bytes than the file: {name}, {tensor.nbytes}")
