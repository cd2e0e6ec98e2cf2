"""torch_file.py reads torch's files without torch; a file other than a dictionary of tensors is refused and not run."""

import io
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embedge import CheckpointError
from embedge_export.checkpoint.torch_file import PickledTensors


def test_tensors_are_those_that_torch_saved(tmp_path: Path) -> None:
    """Tensors of every type, views of a larger storage, transposed, empty and scalar tensors, and parameters."""
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    saved = {
        "whole": whole,
        "view": whole[1:3, 2:],
        "transposed": whole.T,
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(3.5),
        "half": whole.half(),
        "long": torch.tensor([1, -2]),
        "bool": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(whole + 1),
    }
    torch.save(saved, tmp_path / "a.bin")
    with PickledTensors(tmp_path / "a.bin") as tensors:
        assert set(tensors.keys()) == set(saved)
        for name, tensor in saved.items():
            np.testing.assert_array_equal(tensors.get_tensor(name), tensor.detach().numpy(), strict=True)


def test_bfloat16_and_a_module_of_torchs_own(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2).to(torch.bfloat16)
    torch.save(layer.state_dict(), tmp_path / "a.pt")
    with PickledTensors(tmp_path / "a.pt") as tensors:
        weight = tensors.get_tensor("weight").astype(np.float32)
    np.testing.assert_array_equal(weight, layer.weight.detach().float().numpy())


def small_bert() -> torch.nn.Module:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "vocab_size": 40}
    return BertModel(BertConfig(num_hidden_layers=2, max_position_embeddings=16, **sizes))


def tied() -> torch.nn.Module:
    """A model with two names for one parameter."""
    layers = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10))
    layers[1].weight = layers[0].weight
    return layers


GENUINE: dict[str, Any] = {
    "state_dict": lambda: small_bert().state_dict(),
    "half": lambda: small_bert().half().state_dict(),
    "bfloat16": lambda: small_bert().bfloat16().state_dict(),
    "double": lambda: small_bert().double().state_dict(),
    "tied": lambda: tied().state_dict(),
    "parameters": lambda: dict(tied().named_parameters()),
    "tied parameters": lambda: OrderedDict(tied().named_parameters(remove_duplicate=False)),
    "views": lambda: {"a": torch.arange(6.0).view(2, 3).T, "b": torch.ones(1).expand(1)},
    "many": lambda: {f"layer.{n}.weight": torch.full((2,), float(n)) for n in range(5000)},
    "training": lambda: {
        "weight": torch.arange(3),
        "epoch": 3,
        "seen": 2**40,
        "loss": 0.25,
        "state": {0: {"step": -1, "betas": (0.9, 0.99), "on": True, "off": None}},
        "history": [1.5, "a" * 300, 70_000, []],
    },
}


@pytest.mark.parametrize("kind", GENUINE)
def test_what_torch_saves_loads_as_torch_loads_it(tmp_path: Path, kind: str) -> None:
    """Bit for bit."""
    torch.manual_seed(0)
    torch.save(GENUINE[kind](), tmp_path / "a.bin")
    loaded = torch.load(tmp_path / "a.bin", weights_only=True)
    expected = {name: value.detach() for name, value in loaded.items() if isinstance(value, torch.Tensor)}
    assert expected
    with PickledTensors(tmp_path / "a.bin") as tensors:
        assert list(tensors.keys()) == list(expected)
        for name, tensor in expected.items():
            found = tensors.get_tensor(name)
            assert found.dtype.name == str(tensor.dtype).removeprefix("torch.")
            assert found.shape == tensor.shape
            assert (
                found.tobytes() == (tensor.view(torch.int16) if found.dtype.itemsize == 2 else tensor).numpy().tobytes()
            )


def test_a_buffer_that_tensors_share_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = torch.arange(60.0)
    torch.save({f"{n}": buffer[n : n + 3] for n in range(50)}, tmp_path / "a.bin")
    reads: list[str] = []
    read = zipfile.ZipFile.read

    def counted(self: zipfile.ZipFile, name: str) -> bytes:
        reads.append(name)
        return read(self, name)

    monkeypatch.setattr(zipfile.ZipFile, "read", counted)
    with PickledTensors(tmp_path / "a.bin") as tensors:
        assert [tensors.get_tensor(f"{n}")[0] for n in range(50)] == list(range(50))
    assert len(reads) == 1


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("place", ["value", "whole"])
def test_no_code_in_the_file_is_run(tmp_path: Path, place: str) -> None:
    trap = Trap(tmp_path / "sprung")
    torch.save({"weight": trap} if place == "value" else trap, tmp_path / "a.bin")
    with pytest.raises(CheckpointError, match="no plain dictionary of tensors .it would run "):
        PickledTensors(tmp_path / "a.bin")
    assert not trap.path.exists()


def rewrite(path: Path, member: str, data: bytes) -> None:
    """The same zip with one member replaced."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, data if name.endswith(member) else content)


@pytest.mark.parametrize("broken", ["cut", "text", "legacy", "no index", "not a dictionary", "short storage"])
def test_a_broken_file_is_an_error(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "a.bin"
    torch.save({"weight": torch.ones(100)}, path, _use_new_zipfile_serialization=broken != "legacy")
    if broken == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif broken == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1")
    elif broken == "no index":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hello", b"world")
    elif broken == "not a dictionary":
        rewrite(path, "data.pkl", pickle.dumps([1, 2], protocol=2))
    elif broken == "short storage":
        rewrite(path, "data/0", bytes(8))
    with pytest.raises(
        CheckpointError, match="holds no plain dictionary of tensors.*download or copy the checkpoint again"
    ):
        PickledTensors(path).get_tensor("weight")


@pytest.mark.parametrize("hostile", ["stride 0", "long stride", "long axis", "name", "storage", "compressed"])
def test_a_hostile_file_is_an_error_and_takes_no_memory(tmp_path: Path, hostile: str) -> None:
    path = tmp_path / "a.bin"
    arguments: dict[str, tuple[Any, ...]] = {
        "stride 0": ("Storage", 0, (1 << 20, 1 << 20), (0, 0)),
        "long stride": ("Storage", 0, (1,), (1 << 70,)),
        "long axis": ("Storage", 0, (0, 1 << 70), (1, 1)),
        "storage": (5, 0, (2,), (1,)),
    }
    tensor = Rebuilt((*arguments.get(hostile, ("Storage", 0, (2,), (1,))), False, None))
    name = 10**5000 if hostile == "name" else "weight"
    method = zipfile.ZIP_DEFLATED if hostile == "compressed" else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a/data.pkl", pickled({name: tensor}))
        archive.writestr("a/data/0", bytes(16))
    with pytest.raises(
        CheckpointError, match="holds no plain dictionary of tensors.*download or copy the checkpoint again"
    ):
        PickledTensors(path).get_tensor("weight")


class Rebuilt:
    """Pickles as the tensor that torch would rebuild from these arguments."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments = arguments

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, self.arguments


def pickled(value: object) -> bytes:
    """A pickle in which the storage ``0``, of float32, replaces the string ``Storage``."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, found: object) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 4) if found == "Storage" else None

    file = io.BytesIO()
    Pickler(file, protocol=2).dump(value)
    return file.getvalue()


TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"
ORDERED = b"ccollections\nOrderedDict\n"
WEIGHT = b"X\x06\0\0\0weight"
MANY = 30_000
# Pickles of protocol 2, without their first and last opcode. } is an empty dictionary; q\0 stores a value in the memo,
# and h\0 gets it from there.
HOSTILE = {
    "a key of nested tuples": b"})" + b"\x85" * 100_000 + b"Ns",
    "a key of tuples that double": b"})" + b"q\0h\0\x86" * 200 + b"Ns",
    "a key that holds a tensor": b"}" + TENSOR + b"(" + STORAGE + b"K\0))\x89}tRNs",
    "keys of one hash": b"}("
    + b"".join(b"\x8a\x0b" + (k * (2**61 - 1)).to_bytes(11, "little") + b"N" for k in range(MANY))
    + b"u",
    "a memo of gigabytes": b"}r\xff\xff\xff\x7f",
    "a memo that is not there": b"}" + WEIGHT + b"h\x05s",
    "attributes of a function": TENSOR + b"}" + WEIGHT + b"NsbN}" + WEIGHT + b"Ns",
    "attributes of a storage": STORAGE + b"}" + WEIGHT + b"Nsb",
    "attributes of a list": b"]}b",
    "a type that is called": b"}" + WEIGHT + b"ctorch\nDoubleStorage\n(K\x01tRs",
    "a function that is called with numbers": b"}" + WEIGHT + b"K\x01)Rs",
    "one long shape for many tensors": (
        b"}"
        + WEIGHT
        + b"(("
        + b"K\0" * MANY
        + b"tq\0"
        + TENSOR
        + b"q\x01"
        + STORAGE
        + b"q\x02"
        + b"(h\x02K\0h\0h\0tq\x03"
        + b"h\x01h\x03R" * MANY
        + b"ts"
    ),
    "one long list of arguments for many": (
        b"}"
        + WEIGHT
        + b"("
        + b"ctorch._utils\n_rebuild_parameter\nq\0"
        + TENSOR
        + b"("
        + STORAGE
        + b"K\0))\x89}tR"
        + b"q\x01(h\x01"
        + b"N" * MANY
        + b"tq\x02"
        + b"h\0h\x02R" * MANY
        + b"ts"
    ),
    "copies of a dictionary": (
        b"}"
        + WEIGHT
        + b"("
        + ORDERED
        + b"q\0}("
        + b"".join(b"M" + struct.pack("<H", k) + b"N" for k in range(MANY))
        + b"u\x85q\x01"
        + b"h\0h\x01R" * 3000
        + b"ts"
    ),
    "a parameter of no tensor": b"}" + WEIGHT + b"ctorch._utils\n_rebuild_parameter\n(K\x01\x88}tRs",
    "a tensor of no storage": b"}" + WEIGHT + TENSOR + b"(K\x01K\0))\x89}tRs",
    "a shape that is text": b"}" + WEIGHT + TENSOR + b"(" + STORAGE + b"K\0X\x01\0\0\x001X\x01\0\0\x001\x89}tRs",
    "a negative offset": b"}" + WEIGHT + TENSOR + b"(" + STORAGE + b"J\xff\xff\xff\xff))\x89}tRs",
    "a number of megabytes": b"}" + WEIGHT + b"\x8b" + struct.pack("<i", 1_000_000) + b"\x7f" * 1_000_000 + b"s",
    "a number in letters": b"}" + WEIGHT + b"L" + b"9" * 1_000_000 + b"L\ns",
    "bytes that are not there": b"}" + WEIGHT + b"\x8e" + struct.pack("<Q", 2**62),
    "a frame that is not there": b"\x95" + struct.pack("<Q", 2**62) + b"}",
    "text that is not there": b"}X\xff\xff\xff\xff",
    "copies of the top": b"}" + b"2" * MANY,
    "a list of itself": b"]q\0(" + b"h\0" * MANY + b"e",
    "an object": b"}" + WEIGHT + ORDERED + b")\x81s",
    "an extension": b"}" + WEIGHT + b"\x82\x01s",
    "a name of its own making": b"X\x02\0\0\0osX\x06\0\0\0system\x93",
    "another protocol": b"\x80\x04}",
    "marks without end": b"(" * MANY + b"}",
    "two values": b"}}",
    "nothing": b"",
    "nothing to take": b"\x85",
    "no mark": b"}u",
    "half an item": b"}(" + WEIGHT + b"u",
    "an index of megabytes": b"}" + b"N" * (1 << 22),
}


@pytest.mark.parametrize("pickle_", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_pickle_is_refused_in_no_time_and_no_memory(tmp_path: Path, pickle_: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "a.bin", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + pickle_ + b".")
        archive.writestr("a/data/0", bytes(16))
    tracemalloc.start()
    try:
        with pytest.raises(
            CheckpointError, match="holds no plain dictionary of tensors.*download or copy the checkpoint again"
        ) as seen:
            PickledTensors(tmp_path / "a.bin")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert len(str(seen.value)) < 1000


def test_a_pickle_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    torch.save(small_bert().state_dict(), tmp_path / "a.bin")
    with zipfile.ZipFile(tmp_path / "a.bin") as archive:
        whole = archive.read("a/data.pkl")
    for end in range(0, len(whole), 97):
        rewrite(tmp_path / "a.bin", "data.pkl", whole[:end])
        with pytest.raises(CheckpointError, match="holds no plain dictionary of tensors"):
            PickledTensors(tmp_path / "a.bin")
