"""What an Embedder and a Reranker have in common: a bundle, opened with options that were checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, ClassVar

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import CLASSES, Precision, Task
from embedge.errors import BundleError
from embedge.hub.resolve import resolve
from embedge.inference.cpu import usable_cores
from embedge.inference.load import load_engine
from embedge.inference.options import check_count
from embedge.inference.providers import CPU, CUDA, check_providers

_SMALLEST: tuple[Precision, ...] = ("int8", "fp32", "fp16")
_FASTEST_ON_CUDA: tuple[Precision, ...] = ("fp16", "fp32", "int8")


class Model:
    """A bundle, loaded. See ``Embedder`` for the arguments, and what is raised."""

    _task: ClassVar[Task]

    def __init__(
        self,
        model: str | PathLike[str],
        *,
        precision: Precision | None,
        providers: Sequence[str] | None,
        threads: int | None,
        cache_dir: str | PathLike[str] | None,
        local_files_only: bool,
    ) -> None:
        self._threads = check_count("threads", threads)  # as asked: a pickle is for another machine's cores
        self._providers = (CPU,) if providers is None else check_providers(providers)
        bundle = resolve(model, precision=precision, cache_dir=cache_dir, local_files_only=local_files_only)
        if bundle.manifest.task != self._task:
            raise BundleError(
                f"{bundle.path} is there to {bundle.manifest.task}, not to {self._task}; "
                f"open it with embedge.{CLASSES[bundle.manifest.task]}, or `embedge {bundle.manifest.task}`"
            )
        self._bundle = replace(bundle, path=bundle.path.absolute())  # it is read again: by a pickle, a fork, a session
        self._manifest = self._bundle.manifest
        preferred = _FASTEST_ON_CUDA if CUDA in self._providers else _SMALLEST
        self._precision = self._bundle.pick_precision(precision, preferred=preferred)
        cores = usable_cores()
        self._engine = load_engine(
            self._bundle,
            precision=self._precision,
            providers=self._providers,
            threads=min(self._threads or cores, cores),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), str(self._bundle.path), self._precision, self._providers, self._threads)

    @property
    def bundle(self) -> Bundle:
        """The bundle that was loaded: its path and manifest."""
        return self._bundle

    @property
    def precision(self) -> Precision:
        """Precision of the graph that was loaded: ``"int8"``, ``"fp32"`` or ``"fp16"``."""
        return self._precision

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime execution providers, as asked for."""
        return self._providers

    @property
    def threads(self) -> int | None:
        """Most cores to use, as asked for; None is all that the process may."""
        return self._threads

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, special ones and prompt included; a longer one is truncated."""
        return self._manifest.max_tokens


def _reopen(
    kind: type[Model], path: str, precision: Precision, providers: tuple[str, ...], threads: int | None
) -> Model:
    return kind(path, precision=precision, providers=providers, threads=threads, cache_dir=None, local_files_only=True)
