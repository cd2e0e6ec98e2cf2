"""Reads tensors from a safetensors file, and gives the memory of the mapped file back after each.

safetensors maps the file. Pages of a mapped file that were read once count as the process's memory for as long as the
file is open. So this module opens it for each tensor: that takes about a millisecond.
"""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray


class SafeTensors:
    """The tensors of one file, by name; a context manager with the methods of ``PickledTensors``.

    Args:
        path: path of the file.

    Raises:
        Exception: the system's error or safetensors' own: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as file:
            self._shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def keys(self) -> Iterable[str]:
        """Return the names of the tensors."""
        return self._shapes.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the tensor with this name."""
        return self._shapes[name]

    def get_tensor(self, name: str) -> NDArray[Any]:
        """Read and return the tensor with this name."""
        with self._open() as file:
            tensor: NDArray[Any] = file.get_tensor(name)
        return tensor

    def get_rows(self, name: str, start: int, end: int) -> NDArray[Any]:
        """Read and return some rows of the tensor with this name."""
        with self._open() as file:
            rows: NDArray[Any] = file.get_slice(name)[start:end]
        return rows

    def _open(self) -> Any:
        from safetensors import safe_open

        return safe_open(self._path, framework="numpy")
