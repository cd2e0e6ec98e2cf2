"""embedge itself: exported by this checkout, run by its runtime with its defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedge import Embedder
from peers.base import Encoder, Kit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from peers.workbench import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEncoder:
    """An Embedder."""

    size: int
    embedder: Embedder

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order."""
        vectors: NDArray[np.float32] = self.embedder.encode(texts, prompt="", on_truncate="error")
        return vectors


def build(bench: Workbench, variant: str) -> None:
    """One precision, exported without a floor: the benchmark tells how good it is."""
    from embedge_export import export

    export(bench.source, bench.folder / "bundle", precisions=(variant,), like=bench.like, verify=False)  # type: ignore[arg-type]


def load(kit: Kit) -> Encoder:
    """The graph of that precision."""
    embedder = Embedder(kit.folder / "bundle", precision=kit.variant, threads=kit.threads)  # type: ignore[arg-type]
    files = embedder.bundle.graph_files(embedder.precision)
    return OwnEncoder(size=sum(embedder.bundle.manifest.files[name].size for name in files), embedder=embedder)
