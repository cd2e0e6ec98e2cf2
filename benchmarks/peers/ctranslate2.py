"""CTranslate2: its own engine and format, converted from the checkpoint by its own converter.

Its int8 is the nearest relative of ours: a weight scale for every output channel, an activation scale for every token.
The converter takes BERT's pooler along, which an embedder does not use; the vectors are pooled from the last hidden
states, as for every other encoder.
"""

from typing import Any

import ctranslate2
import numpy as np
from ctranslate2.converters import TransformersConverter
from numpy.typing import NDArray

from embedge_export.reference import quiet
from peers.base import Encoder, Workbench
from peers.padded import Ids, PaddedEncoder


def make(bench: Workbench, variant: str) -> Encoder:
    """``variant`` is one of CTranslate2's quantisations, such as ``int8``."""
    folder = bench.folder / f"ctranslate2-{variant}"
    with quiet():
        TransformersConverter(str(bench.checkpoint.directory)).convert(str(folder), quantization=variant, force=True)
    encoder = ctranslate2.Encoder(str(folder), device="cpu", compute_type=variant, intra_threads=bench.threads)

    def run(ids: Ids, mask: Ids) -> NDArray[Any]:
        rows = [row[:length].tolist() for row, length in zip(ids, mask.sum(axis=1), strict=True)]
        return np.array(encoder.forward_batch(rows).last_hidden_state)  # it pads for itself

    return PaddedEncoder(
        size=(folder / "model.bin").stat().st_size,
        tokenizer=bench.tokenizer(),
        pooling=bench.checkpoint.pooling,
        run=run,
    )
