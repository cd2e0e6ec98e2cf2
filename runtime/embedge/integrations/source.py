"""Which model a component has, and how to open it: its constructor's arguments, and what a framework saves of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

from embedge.bundle.manifest import Precision
from embedge.errors import InputTypeError, InputValueError
from embedge.model import Model

if TYPE_CHECKING:
    from embedge import Embedder, Reranker

M = TypeVar("M", "Embedder", "Reranker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model's name with the options to open it, or a model that is open already.

    Attributes:
        model: recipe's name, hub id or bundle's path; or an ``Embedder`` or ``Reranker``, which has its options.
        precision: as in ``Embedder``, like all that follow.
        providers: see ``Embedder``.
        threads: see ``Embedder``.
        cache_dir: see ``Embedder``.
        local_files_only: see ``Embedder``.

    Raises:
        InputTypeError: ``model`` is none of these.
        InputValueError: there are options beside a model that is open.
    """

    model: str | PathLike[str] | Embedder | Reranker
    precision: Precision | None = None
    providers: Sequence[str] | None = None
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    local_files_only: bool = False

    def __post_init__(self) -> None:
        if not self.is_open:
            return
        kind = type(self.model).__name__
        if not isinstance(self.model, Model):
            raise InputTypeError(f"model must be a name, a path, an Embedder or a Reranker, found {kind}")
        given = {name: getattr(self, name) for name in ("precision", "providers", "threads", "cache_dir")}
        given["local_files_only"] = self.local_files_only or None
        if late := ", ".join(name for name, value in given.items() if value is not None):
            raise InputValueError(f"the {kind} is open already, found {late} beside it; give {late} to {kind}(...)")

    @property
    def is_open(self) -> bool:
        """Whether ``model`` is a model and not the name of one."""
        return not isinstance(self.model, str | PathLike)

    def open(self, kind: type[M]) -> M:
        """The model; loaded now, unless it is open already.

        Raises:
            EmbedgeError: as ``Embedder`` and ``Reranker`` do.
        """
        if isinstance(self.model, kind):
            return self.model
        return kind(
            self.model,  # type: ignore[arg-type]  # one of the other kind is told what it must be
            precision=self.precision,
            providers=self.providers,
            threads=self.threads,
            cache_dir=self.cache_dir,
            local_files_only=self.local_files_only,
        )

    def config(self) -> dict[str, Any]:
        """The attributes as JSON has them; a model that is open becomes its bundle's path, with its options."""
        if isinstance(self.model, Model):
            return {
                "model": str(self.model.bundle.path),
                "precision": self.model.precision,
                "providers": list(self.model.providers),
                "threads": self.model.threads,
                "cache_dir": None,
                "local_files_only": True,
            }
        return {
            "model": str(self.model),
            "precision": self.precision,
            "providers": None if self.providers is None else list(self.providers),
            "threads": self.threads,
            "cache_dir": None if self.cache_dir is None else str(self.cache_dir),
            "local_files_only": self.local_files_only,
        }
