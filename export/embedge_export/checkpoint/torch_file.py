"""Reads tensors from torch's own files (``pytorch_model.bin``, ``.pt``) without torch, and runs no code in them.

Such a file is a zip archive. It has a pickle, which describes the tensors as views of storages, and one member with the
bytes of each storage. A pickle can call anything that can be imported; ``unpickle`` allows only what a dictionary of
tensors needs.
Source of the format: PyTorch's notes on serialization, "Serialized file format for torch.save".
"""

import math
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedge.errors import CheckpointError
from embedge_export.checkpoint.python_line import python_line
from embedge_export.checkpoint.safe_unpickle import LARGEST_PICKLE, unpickle
from embedge_export.checkpoint.torch_objects import StridedView
from embedge_export.errors import reason_of


class PickledTensors:
    """The tensors of one file, by name; a context manager with the methods of ``SafeTensors``.

    Args:
        path: path of the file.

    Raises:
        CheckpointError: the file is not one of torch's, is incomplete, or holds something other than tensors.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # a broken file can make zipfile raise any kind
            raise self._unreadable(error) from error
        try:
            self._root, self._tensors = self._read_index()
        except Exception as error:  # and so can a hostile pickle
            self._zip.close()
            raise self._unreadable(error) from error
        uses = Counter(tensor.storage.key for tensor in self._tensors.values())
        self._shared: dict[str, bytes | None] = {key: None for key, count in uses.items() if count > 1}

    def _read_index(self) -> tuple[str, dict[str, StridedView]]:
        """Return the folder of the zip's members, and the view of its storage for each tensor."""
        (index,) = [name for name in self._zip.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if any(member.compress_type != zipfile.ZIP_STORED for member in self._zip.infolist()):
            raise ValueError("it is compressed, and torch does not compress its files")
        with self._zip.open(index) as file:
            value = unpickle(file.read(LARGEST_PICKLE + 1))
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__}")
        tensors = {name: tensor for name, tensor in value.items() if isinstance(tensor, StridedView)}
        if not all(isinstance(name, str) for name in tensors):
            raise ValueError("it has a name that is not a string")
        return index.removesuffix("data.pkl"), tensors

    def _unreadable(self, error: Exception) -> CheckpointError:
        fact, folder = f"{self._path} holds no plain dictionary of tensors ({reason_of(error)})", self._path.parent
        if not self._path.name.startswith("pytorch_model"):  # a layer beside the encoder
            return CheckpointError(f"{fact}; download or copy the checkpoint again")
        code = f"from transformers import AutoModel as M; f = {str(folder)!r}; M.from_pretrained(f).save_pretrained(f)"
        return CheckpointError(f"{fact}; download or copy the checkpoint again, or convert it: {python_line(code)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def keys(self) -> Iterable[str]:
        """Return the names of the tensors."""
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the tensor with this name."""
        return tuple(self._tensors[name].shape)

    def get_rows(self, name: str, start: int, end: int) -> NDArray[Any]:
        """Return some rows of the tensor with this name; its whole storage is read."""
        return self.get_tensor(name)[start:end]

    def get_tensor(self, name: str) -> NDArray[Any]:
        """Read and return the tensor with this name; raise CheckpointError if its bytes are missing."""
        tensor = self._tensors[name]
        try:
            flat = np.frombuffer(self._read(tensor.storage.key), tensor.storage.dtype)
            if max(_elements(tensor), math.prod(tensor.shape)) > len(flat):  # a stride of 0 repeats one element
                raise ValueError(f"tensor {name} is larger than its storage")
            strides = tuple(stride * flat.itemsize for stride in tensor.strides)
            return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
        except Exception as error:  # the errors of zlib, zipfile and numpy share no other base class
            raise self._unreadable(error) from error

    def _read(self, key: str) -> bytes:
        """Return a storage's bytes, and store them if several tensors are views of them."""
        data = self._shared.get(key) or self._zip.read(f"{self._root}data/{key}")
        if key in self._shared:
            self._shared[key] = data
        return data


def _elements(tensor: StridedView) -> int:
    """Return the number of elements of the storage up to the tensor's last."""
    if 0 in tensor.shape:
        return 0
    return tensor.offset + 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
