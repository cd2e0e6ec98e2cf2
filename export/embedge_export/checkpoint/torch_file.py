"""Tensors out of torch's own files (``pytorch_model.bin``, ``.pt``), without torch and without running what is in them.

Such a file is a zip: a pickle that says how the tensors are made of storages, and a member for each storage's bytes.
A pickle can call anything that can be imported; ``unpickle`` knows what a dictionary of tensors needs, and refuses all
else.
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
from embedge_export.checkpoint.safe_unpickle import LARGEST, Place, unpickle
from embedge_export.errors import reason_of
from embedge_export.python_line import python_line


class PickledTensors:
    """The tensors of one file, by name; a context manager over it, with the methods of safetensors' ``safe_open``.

    Args:
        path: of the file.

    Raises:
        CheckpointError: it is no such file, is cut short, or holds something else than tensors.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # of whatever kind a broken file makes it raise
            raise self._unreadable(error) from error
        try:
            self._root, self._tensors = self._read_index()
        except Exception as error:  # or a hostile pickle the unpickler
            self._zip.close()
            raise self._unreadable(error) from error
        uses = Counter(tensor.storage.key for tensor in self._tensors.values())
        self._shared: dict[str, bytes | None] = {key: None for key, count in uses.items() if count > 1}

    def _read_index(self) -> tuple[str, dict[str, Place]]:
        """The folder of the zip's members, and where each tensor is."""
        (index,) = [name for name in self._zip.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if any(member.compress_type != zipfile.ZIP_STORED for member in self._zip.infolist()):
            raise ValueError("it is compressed, which torch's own never are")
        with self._zip.open(index) as file:
            found = unpickle(file.read(LARGEST + 1))
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__} instead")
        tensors = {name: value for name, value in found.items() if isinstance(value, Place)}
        if not all(isinstance(name, str) for name in tensors):
            raise ValueError("a name that is no string")
        return index.removesuffix("data.pkl"), tensors

    def _unreadable(self, error: Exception) -> CheckpointError:
        found, folder = f"{self._path} holds no plain dictionary of tensors ({reason_of(error)})", self._path.parent
        if not self._path.name.startswith("pytorch_model"):  # a layer beside the encoder
            return CheckpointError(f"{found}; get the checkpoint again")
        code = f"from transformers import AutoModel as M; f = {str(folder)!r}; M.from_pretrained(f).save_pretrained(f)"
        return CheckpointError(f"{found}; get the checkpoint again, or convert it: {python_line(code)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def keys(self) -> Iterable[str]:
        """Names of the tensors."""
        return self._tensors.keys()

    def get_tensor(self, name: str) -> NDArray[Any]:
        """The tensor of that name, read now; raises CheckpointError where its bytes are not there."""
        tensor = self._tensors[name]
        try:
            flat = np.frombuffer(self._read(tensor.storage.key), tensor.storage.dtype)
            if max(_elements(tensor), math.prod(tensor.shape)) > len(flat):  # a stride of 0 makes much of one element
                raise ValueError(f"{name} is larger than its storage")
            strides = tuple(stride * flat.itemsize for stride in tensor.strides)
            return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
        except Exception as error:  # zlib's, zipfile's and numpy's share no base but Exception
            raise self._unreadable(error) from error

    def _read(self, key: str) -> bytes:
        """A storage's bytes; kept, if several tensors are views of it."""
        data = self._shared.get(key) or self._zip.read(f"{self._root}data/{key}")
        if key in self._shared:
            self._shared[key] = data
        return data


def _elements(tensor: Place) -> int:
    """Elements of the storage up to the tensor's last."""
    if 0 in tensor.shape:
        return 0
    return tensor.offset + 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
