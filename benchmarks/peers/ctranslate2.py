"""CTranslate2: its own engine and format, converted from the checkpoint by its own converter.

Its int8 is the nearest relative of ours: a weight scale for every output channel, an activation scale for every token.
The converter takes BERT's pooler along, which an embedder does not use; the vectors are pooled from the last hidden
states, as for every other encoder.
"""

from typing import TYPE_CHECKING, Any

import ctranslate2
import numpy as np
from numpy.typing import NDArray

from peers.base import TUNED, Encoder, Kit
from peers.padded import Ids, load_padded

if TYPE_CHECKING:
    from peers.workbench import Workbench


def build(bench: "Workbench", variant: str) -> None:
    """``variant`` is one of CTranslate2's quantisations, such as ``int8``."""
    from ctranslate2.converters import TransformersConverter

    from embedge_export.optimum.trace import quiet

    quantisation = variant.removesuffix(TUNED)
    folder = bench.folder / f"ctranslate2-{quantisation}"
    if not folder.is_dir():
        with quiet():
            TransformersConverter(str(bench.checkpoint.directory)).convert(str(folder), quantization=quantisation)


def load(kit: Kit) -> Encoder:
    """All cores in each run; tuned, a worker for each core, as its documentation advises for throughput."""
    quantisation, tuned = kit.variant.removesuffix(TUNED), kit.variant.endswith(TUNED)
    folder = kit.folder / f"ctranslate2-{quantisation}"
    workers, threads = (kit.threads, 1) if tuned else (1, kit.threads)
    encoder = ctranslate2.Encoder(
        str(folder), device="cpu", compute_type=quantisation, inter_threads=workers, intra_threads=threads
    )

    def run(ids: Ids, mask: Ids) -> NDArray[Any]:
        rows = [row[:length].tolist() for row, length in zip(ids, mask.sum(axis=1), strict=True)]
        return np.array(encoder.forward_batch(rows).last_hidden_state)  # it pads for itself

    return load_padded(kit, run, size=(folder / "model.bin").stat().st_size, tuned=tuned)
