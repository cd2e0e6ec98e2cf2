"""embedge itself: exported by this checkout, and run with the defaults of its runtime.

A variant is a precision, run without the fused kernels, or ``int8-fused``, run with them. Its other part, if it has
one, names an instruction set for rows and charts; the peer's environment forces it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.peers.base import Encoder, Kit
from embedge import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.peers.workbench import Workbench

_FUSED = "-fused"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEncoder:
    """An encoder that is an Embedder."""

    size: int
    embedder: Embedder

    def encode(self, texts: Sequence[str], batch: int | None = None) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order; ``batch`` is the token budget of a session run."""
        vectors: NDArray[np.float32] = self.embedder.encode(texts, prompt="", on_truncate="error", batch_tokens=batch)
        return vectors


def build(bench: Workbench, variant: str) -> None:
    """Export one precision, without the exporter's check of quality: the benchmark measures that."""
    from embedge_export import export

    precision = _precision(variant)
    export(bench.source, bench.folder / "bundle", precisions=(precision,), like=bench.like, verify=False)  # type: ignore[arg-type]


def load(kit: Kit) -> Encoder:
    """Open the bundle with the precision of ``kit.variant`` on ``kit.device``."""
    fused = _FUSED in kit.variant
    embedder = Embedder(
        kit.folder / "bundle",
        precision=_precision(kit.variant),  # type: ignore[arg-type]
        threads=kit.threads,
        device=kit.device,
        kernels=fused,  # True is an error where they cannot be used, so the row is never the plain graph
    )
    files = embedder.bundle.graph_files(embedder.precision)
    return OwnEncoder(size=sum(embedder.bundle.manifest.files[name].size for name in files), embedder=embedder)


def serve(kit: Kit) -> list[str]:
    """Return the arguments of Python that run the server, but for its port."""
    precision = _precision(kit.variant)
    threads = str(kit.threads)
    return ["-m", "embedge", "serve", str(kit.folder / "bundle"), "--precision", precision, "--threads", threads]


def _precision(variant: str) -> str:
    """The precision of a variant.

    >>> _precision("fp32"), _precision("int8-fused-avx2")
    ('fp32', 'int8')
    """
    return variant.partition(_FUSED)[0]
