"""Mend an int8 graph that is below its quality floor, as long as that helps.

The linear layers that cause the most error get rows of 16 bits (see ``int8.mend_rows``). The weights stay as they are,
so the bundle hardly grows; the graph becomes slower. No more layers are mended than the floor asks for.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import onnx

from embedge.bundle.directory import Bundle
from embedge.bundle.files import delete_existing
from embedge.bundle.manifest import BelowFloor, Mending, Quality
from embedge.inference.plan import plan_batches
from embedge_export.bundle_files import record_files, write_manifest
from embedge_export.int8.mend_rows import with_fine_rows
from embedge_export.int8.mend_shares import choose_layers, error_shares
from embedge_export.job import ExportJob
from embedge_export.verify.floors import below_floor
from embedge_export.verify.padded_batches import Ids, token_ids

# Rows cause about this share of 1 - cosine, weights the rest: 0.74 on 24 layers of hidden size 256, seeded.
_OF_ROWS = 0.74
_MARGIN = 0.9  # a mended graph should have at most this share of the error that its floor allows
_STEPS = (1.0, 1.5)  # what is tried, as multiples of the estimate; then all layers
_PROBES = 6  # texts
_PROBE_TOKENS = 16  # of each, at most


def mend(
    job: ExportJob, bundle: Bundle, quality: Quality, measured: Callable[[Bundle], Quality]
) -> tuple[Bundle, Quality]:
    """Mend the int8 graph of a bundle that is not yet in its place; return the bundle, and its quality after.

    Its files change, and its manifest with them. A mended graph has no fused one:
    the operators of embedge-kernels cannot express it.

    Args:
        job: the export. Its calibration texts show which layers to mend; the texts of ``measured`` are others.
        bundle: the bundle.
        quality: the quality of its int8 graph, which is below its floor.
        measured: measures the quality again.
    """
    path = bundle.graph("int8")
    plain = onnx.load(path, load_external_data=False)
    shares = error_shares(path, _probes(job, bundle))
    before, mended = path.stat().st_size, (bundle, quality)
    estimate = _fraction(below_floor(bundle.manifest, "int8", quality)) / _OF_ROWS
    for fraction in (*(estimate * factor for factor in _STEPS), 1.0):
        chosen = choose_layers(shares, min(1.0, fraction))
        delete_existing(path).write_bytes(with_fine_rows(plain, chosen).SerializeToString())
        record = Mending(
            fine_rows=tuple(chosen),
            added=path.stat().st_size - before,
            cosine_mean=quality.cosine_mean,
            cosine_min=quality.cosine_min,
        )
        after = _with_new_graph(bundle, record)
        mended = after, measured(after)
        if len(chosen) == len(shares) or not below_floor(bundle.manifest, "int8", mended[1]):
            break
    return mended


def _probes(job: ExportJob, bundle: Bundle) -> list[Ids]:
    """Return some calibration texts in batches of equal length: the beginnings of texts, each [texts, tokens]."""
    texts = job.calibration_texts[:: max(1, len(job.calibration_texts) // _PROBES)]
    pairs = list(pairwise(texts)) if bundle.manifest.task == "rerank" else texts
    ids = [text[:_PROBE_TOKENS] for text in islice(token_ids(bundle, pairs), _PROBES)]
    batches = plan_batches([len(text) for text in ids], batch_tokens=_PROBES * _PROBE_TOKENS)
    return [np.stack([ids[member] for member in batch.members]) for batch in batches]


def _fraction(misses: Sequence[BelowFloor]) -> float:
    """Return the share of the error that has to go, so that every figure reaches its floor with the margin."""
    figures = [(miss.mean, miss.floor_mean) for miss in misses]
    figures += [(miss.minimum, miss.floor_minimum) for miss in misses]
    if not np.isfinite(figures).all():  # all layers are tried then
        return 1.0
    return max(1 - _MARGIN * (1 - floor) / (1 - figure) for figure, floor in figures if figure < 1)


def _with_new_graph(bundle: Bundle, mending: Mending) -> Bundle:
    """Return the bundle whose int8 graph has changed: with the new records of its files, and without a fused graph."""
    record = bundle.manifest.precisions["int8"]
    if record.fused is not None:
        delete_existing(bundle.path / record.fused)
    known = {name: file for name, file in bundle.manifest.files.items() if name not in (record.file, record.fused)}
    records = {**bundle.manifest.precisions, "int8": replace(record, fused=None, mended=mending)}
    files = record_files(bundle.path, known=known, fused=[other.fused for other in records.values() if other.fused])
    return write_manifest(bundle.path, replace(bundle.manifest, precisions=records, files=files))
