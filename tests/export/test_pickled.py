"""pickled.py: torch's files without torch; and what is no dictionary of tensors is refused, unrun."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embedge import CheckpointError
from embedge_export.pickled import PickledTensors


def test_tensors_are_those_that_torch_saved(tmp_path: Path) -> None:
    """Of every type, views of a larger storage, transposed, empty, of no dimensions, and as parameters."""
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


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("place", ["value", "whole"])
def test_nothing_in_it_is_run(tmp_path: Path, place: str) -> None:
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
def test_what_is_broken_is_told(tmp_path: Path, broken: str) -> None:
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
    with pytest.raises(CheckpointError, match="holds no plain dictionary of tensors.*get the checkpoint again"):
        PickledTensors(path).get_tensor("weight")


@pytest.mark.parametrize("hostile", ["stride 0", "long stride", "long axis", "name", "storage", "compressed"])
def test_what_is_hostile_is_told_and_takes_no_memory(tmp_path: Path, hostile: str) -> None:
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
    with pytest.raises(CheckpointError, match="holds no plain dictionary of tensors.*get the checkpoint again"):
        PickledTensors(path).get_tensor("weight")


class Rebuilt:
    """Pickles as the tensor that torch would make of these arguments."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments = arguments

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, self.arguments


def pickled(value: object) -> bytes:
    """A pickle in which the string ``Storage`` is the storage ``0``, of float32."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, found: object) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 4) if found == "Storage" else None

    file = io.BytesIO()
    Pickler(file, protocol=2).dump(value)
    return file.getvalue()
