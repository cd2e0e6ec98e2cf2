"""The model of a component: how it is opened, and how a framework saves it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from embedge.bundle.manifest import Precision
from embedge.errors import InputTypeError, InputValueError
from embedge.hub.resolve import resolve
from embedge.inference.options import check_count
from embedge.inference.providers import ProviderArgument
from embedge.model import Model, check_task, kernels_argument, preferred_precisions, provider_arguments

if TYPE_CHECKING:
    from embedge import Embedder, Reranker

M = TypeVar("M", "Embedder", "Reranker")
_opening = Lock()
_opened: dict[tuple[str, str], Model] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """The name of a model with the options to load it, or a loaded model.

    Attributes:
        model: the name of a recipe, a hub id, or the path of a bundle; or a loaded ``Embedder`` or ``Reranker``.
        precision: ``"int8"``, ``"fp32"`` or ``"fp16"``, the graph's precision; None takes the first that the bundle
            holds, in this order, or on a GPU fp16, then fp32.
        device: what the model runs on: ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` for the second GPU; None is the CPU, or
            the first of ``providers``.
        providers: the long form of ``device``: ONNX Runtime execution providers, each a name or a pair of a name and
            its options, such as ``("CUDAExecutionProvider", {"gpu_mem_limit": 2 << 30})``; None
            takes those of ``device``.
        threads: the largest number of cores to use; None uses all that the process may use.
        cache_dir: the folder of downloaded bundles; None is ``$EMBEDGE_HOME``, else the platform's cache folder.
        local_files_only: never use the network.
        kernels: whether to run int8 with the package ``embedge-kernels``; None uses it where it is installed.

    Raises:
        InputTypeError: ``model`` is something else.
        InputValueError: options are given together with a loaded model, which has its own.
    """

    model: str | PathLike[str] | Embedder | Reranker
    precision: Precision | None = None
    device: str | None = None
    providers: Sequence[ProviderArgument] | None = None
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    local_files_only: bool = False
    kernels: bool | None = None

    def __post_init__(self) -> None:
        if not self.is_loaded:
            return
        kind = type(self.model).__name__
        if not isinstance(self.model, Model):
            raise InputTypeError(f"model must be a name, a path, an Embedder or a Reranker, found {kind}")
        names = ("precision", "device", "providers", "threads", "cache_dir", "kernels")
        options = {name: getattr(self, name) for name in names}
        options["local_files_only"] = self.local_files_only or None
        if late := ", ".join(name for name, value in options.items() if value is not None):
            raise InputValueError(f"the {kind} is loaded already, found {late} beside it; pass {late} to {kind}(...)")

    @property
    def is_loaded(self) -> bool:
        """Whether ``model`` is a loaded model, not a name or a path."""
        return not isinstance(self.model, str | PathLike)

    def open(self, kind: type[M]) -> M:
        """Return the loaded model; load it, unless it is loaded already.

        Raises:
            EmbedgeError: the errors of ``Embedder`` and ``Reranker``.
        """
        if isinstance(self.model, kind):
            return self.model
        return kind(
            self.model,  # type: ignore[arg-type]  # an Embedder for a Reranker raises InputTypeError
            precision=self.precision,
            device=self.device,
            providers=self.providers,
            threads=self.threads,
            cache_dir=self.cache_dir,
            local_files_only=self.local_files_only,
            kernels=self.kernels,
        )

    def open_shared(self, kind: type[M]) -> M:
        """Return the loaded model, or the one that this process has loaded with the same options; load it at most once.

        For frameworks that make a component for each thread, table or partition: models can be used by all threads.

        Raises:
            EmbedgeError: the errors of ``Embedder`` and ``Reranker``.
        """
        if self.is_loaded:
            return self.open(kind)
        with _opening:  # without it, threads that come at the same time would load a model each
            key = kind.__name__, json.dumps(self.config())
            if key not in _opened:
                _opened[key] = self.open(kind)
            return _opened[key]  # type: ignore[return-value]  # the key has the kind

    def dimension(self, truncate_dim: int | None = None) -> int:
        """Return the number of elements of a vector, without loading the model; its bundle is obtained if need be.

        Raises:
            EmbedgeError: there is no such bundle, it is a reranker, or ``truncate_dim`` is no dimension of its vectors.
        """
        if isinstance(self.model, Model):
            bundle = self.model.bundle
        else:
            preferred = preferred_precisions(self.device, self.providers)
            bundle = resolve(
                self.model,
                precision=self.precision,
                preferred=preferred,
                cache_dir=self.cache_dir,
                local_files_only=self.local_files_only,
            )
        check_task(bundle, "embed")  # a reranker's scores have a dimension, too
        dimension = bundle.manifest.dimension
        return check_count("truncate_dim", truncate_dim, most=dimension) or dimension

    def config(self) -> dict[str, Any]:
        """Return the attributes as JSON values; a loaded model is replaced by its bundle's path and its options."""
        if isinstance(self.model, Model):
            return {
                "model": str(self.model.bundle.path),
                "precision": self.model.precision,
                "device": None,  # the providers say it
                "providers": _as_json(provider_arguments(self.model)),
                "threads": self.model.threads,
                "cache_dir": None,
                "local_files_only": True,
                "kernels": kernels_argument(self.model),
            }
        return {
            "model": str(self.model),
            "precision": self.precision,
            "device": self.device,
            "providers": None if self.providers is None else _as_json(self.providers),
            "threads": self.threads,
            "cache_dir": None if self.cache_dir is None else str(self.cache_dir),
            "local_files_only": self.local_files_only,
            "kernels": self.kernels,
        }


def _as_json(providers: Sequence[ProviderArgument]) -> list[Any]:
    """Providers as JSON and YAML have them: a pair of a name and its options is a list of two."""
    return [[one[0], dict(one[1])] if isinstance(one, tuple | list) else one for one in providers]
