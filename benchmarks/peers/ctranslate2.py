"""CTranslate2: its own engine and format, converted from the checkpoint by its own converter.

Its int8 is the most similar to embedge's: one weight scale per output channel, and one activation scale per token. The
converter also stores BERT's pooler, which an embedder does not use. The adapter pools the last hidden states, as the
other adapters do.
"""

from typing import TYPE_CHECKING, Any

import ctranslate2
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.base import TUNED, Encoder, Kit
from benchmarks.peers.padded import Ids, load_padded

if TYPE_CHECKING:
    from benchmarks.peers.workbench import Workbench


def build(bench: "Workbench", variant: str) -> None:
    """Convert the checkpoint; ``variant`` is a quantisation of CTranslate2, such as ``int8``."""
    from ctranslate2.converters import TransformersConverter

    from embedge_export.optimum.load import quiet

    quantisation = variant.removesuffix(TUNED)
    folder = bench.folder / f"ctranslate2-{quantisation}"
    if not folder.is_dir():
        with quiet():
            TransformersConverter(str(bench.checkpoint.directory)).convert(str(folder), quantization=quantisation)


def load(kit: Kit) -> Encoder:
    """Each run uses all cores. Tuned: one worker per core, as CTranslate2's documentation advises for throughput."""
    quantisation, tuned = kit.variant.removesuffix(TUNED), kit.variant.endswith(TUNED)
    folder = kit.folder / f"ctranslate2-{quantisation}"
    workers, threads = (kit.threads, 1) if tuned else (1, kit.threads)
    encoder = ctranslate2.Encoder(
        str(folder), device="cpu", compute_type=quantisation, inter_threads=workers, intra_threads=threads
    )

    def run(ids: Ids, mask: Ids) -> NDArray[Any]:
        rows = [row[:length].tolist() for row, length in zip(ids, mask.sum(axis=1), strict=True)]
        return np.array(encoder.forward_batch(rows).last_hidden_state)  # CTranslate2 pads the rows itself

    return load_padded(kit, run, size=(folder / "model.bin").stat().st_size, tuned=tuned)
