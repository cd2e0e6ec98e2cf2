"""Tensors out of torch's own files (``pytorch_model.bin``, ``.pt``), without torch and without running what is in them.

Such a file is a zip: a pickle that says how the tensors are made of storages, and a member for each storage's bytes.
A pickle can call anything that can be imported; this reader knows the names that a dictionary of tensors needs, refuses
every other, and answers even those with stand-ins of its own.
Source of the format: PyTorch's notes on serialization, "Serialized file format for torch.save".
"""

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from embedge.errors import CheckpointError


def _dtypes() -> Mapping[str, DTypeLike]:
    """The type in numpy of the elements of each of torch's storages."""
    import ml_dtypes

    return {
        "DoubleStorage": np.float64,
        "FloatStorage": np.float32,
        "HalfStorage": np.float16,
        "BFloat16Storage": ml_dtypes.bfloat16,
        "LongStorage": np.int64,
        "IntStorage": np.int32,
        "ShortStorage": np.int16,
        "CharStorage": np.int8,
        "ByteStorage": np.uint8,
        "BoolStorage": np.bool_,
    }


@dataclass(frozen=True, slots=True)
class _Storage:
    """Bytes that tensors are views of: the member's name, and the elements' type."""

    key: str
    dtype: DTypeLike


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Where a tensor is in its storage; offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


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
            (index,) = [name for name in self._zip.namelist() if name.rpartition("/")[2] == "data.pkl"]
            self._root = index.removesuffix("data.pkl")
            if any(member.compress_type != zipfile.ZIP_STORED for member in self._zip.infolist()):
                raise ValueError("it is compressed, which torch's own never are")
            with self._zip.open(index) as file:
                found = dict(_Unpickler(file).load())
            self._tensors = {name: value for name, value in found.items() if isinstance(value, _Tensor)}
            if not all(isinstance(name, str) for name in self._tensors):
                raise ValueError("a name that is no string")
        except Exception as error:  # whatever a broken or hostile pickle makes the unpickler raise
            raise self._unreadable(error) from error

    def _unreadable(self, reason: object) -> CheckpointError:
        return CheckpointError(
            f"{self._path} holds no plain dictionary of tensors ({reason}); get the checkpoint again, or convert it: "
            f"`python -c \"from transformers import AutoModel as M; M.from_pretrained('{self._path.parent}')"
            f".save_pretrained('{self._path.parent}')\"`"
        )

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
            data = self._zip.read(f"{self._root}data/{tensor.storage.key}")
            flat = np.frombuffer(data, tensor.storage.dtype)
            if max(_elements(tensor), math.prod(tensor.shape)) > len(flat):  # a stride of 0 makes much of one element
                raise ValueError(f"{name} is larger than its storage")
            strides = tuple(stride * flat.itemsize for stride in tensor.strides)
            return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
        except Exception as error:  # zlib's, zipfile's and numpy's share no base but Exception
            raise self._unreadable(error) from error


def _elements(tensor: _Tensor) -> int:
    """Elements of the storage up to the tensor's last; raises ValueError where a number is negative."""
    if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0 or len(tensor.shape) != len(tensor.strides):
        raise ValueError("a tensor with a negative size")
    if 0 in tensor.shape:
        return 0
    return tensor.offset + 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))


class _Unpickler(pickle.Unpickler):
    """Knows what a dictionary of tensors is made of, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _first
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _dtypes():
            return _dtypes()[name]
        return _refuse(module, name)

    def persistent_load(self, identifier: Any) -> _Storage:
        kind, dtype, key, _, _ = identifier
        if kind != "storage" or not isinstance(key, str):
            raise ValueError(f"an unknown reference, {kind!r}")
        return _Storage(key, dtype)


def _refuse(module: str, name: str) -> Callable[..., NoReturn]:
    raise ValueError(f"it would run {module}.{name}, which no tensor needs")


def _rebuild(storage: _Storage, offset: int, shape: Any, strides: Any, *rest: object) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _first(tensor: _Tensor, *rest: object) -> _Tensor:
    return tensor
