"""embedge itself: exported by this checkout, run by its runtime."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedge import Embedder
from embedge_export import export
from peers.base import Encoder, Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEncoder:
    """An Embedder."""

    size: int
    embedder: Embedder

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order."""
        vectors: NDArray[np.float32] = self.embedder.encode(texts, prompt="", on_truncate="error")
        return vectors


def make(bench: Workbench, variant: str) -> Encoder:
    """One precision, exported without a floor: the benchmark tells how good it is."""
    folder = bench.folder / "bundle"
    bundle = export(bench.source, folder, precisions=(variant,), like=bench.like, verify=False)  # type: ignore[arg-type]
    precision = bundle.pick_precision(variant)
    return OwnEncoder(
        size=bundle.graph(precision).stat().st_size,
        embedder=Embedder(folder, precision=precision, threads=bench.threads),
    )
