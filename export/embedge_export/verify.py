"""A bundle against its reference: how far its vectors are, and whether that is near enough."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from embedge import Embedder
from embedge.bundle import TOKENIZER, Bundle, Precision, Quality
from embedge.errors import CheckpointError, QualityError
from embedge_export.checkpoint import Checkpoint, read_checkpoint
from embedge_export.extra import has_optimum_extra, require_optimum_extra
from embedge_export.fetch import Fetched, fetch
from embedge_export.passages import passages
from embedge_export.reference import Reference, trace, traced_by

_BATCH = 8


@dataclass(frozen=True, slots=True)
class Floor:
    """The least cosine to the reference that an export may have, on average and for the worst text."""

    mean: float
    minimum: float


FLOORS: Mapping[Precision, Floor] = {
    "fp32": Floor(0.999999, 0.99999),
    "fp16": Floor(0.9999, 0.999),
    "int8": Floor(0.99, 0.97),
}


def texts() -> list[str]:
    """What is embedded to verify: half of the passages, some of them joined to fill a long input, and odd strings."""
    plain = [passage.joined for passage in passages()][::2]
    return [*plain, "", "hello world", "naïve café — 東京 🚲", "a" * 300, " ".join(plain[:8])]


def measure(bundle: Bundle, precision: Precision, reference: Reference) -> Quality:
    """Distance of one graph of a bundle, run by the runtime, to a reference fed padded batches of mixed lengths.

    Cosines are of pooled vectors. The difference is over every element of the last hidden states, padding included, of
    the two graphs fed the same padded batches.
    """
    manifest = bundle.manifest
    found = Embedder(bundle.path, precision=precision).encode(texts(), prompt="", on_truncate="ignore")
    graph = Reference(bundle.graph(precision), precision)
    expected, differences = [], [0.0]
    for ids, mask in _padded_batches(bundle):
        hidden = reference.hidden(ids, mask)
        expected.append(_pool_masked(hidden, mask, manifest.pooling))
        differences.append(float(np.abs(hidden - graph.hidden(ids, mask)).max()))
    cosines = (found * np.concatenate(expected)).sum(axis=1, dtype=np.float64)
    return Quality(
        reference=reference.name,
        texts=len(found),
        cosine_mean=round(float(cosines.mean()), 7),
        cosine_min=round(float(cosines.min()), 7),
        max_abs_difference=float(f"{max(differences):.3g}"),
    )


def check_runs(bundle: Bundle, precision: Precision) -> None:
    """Raises QualityError where a graph does not give finite unit vectors of the manifest's dimension."""
    with np.errstate(all="ignore"):  # what is not finite is told below
        vectors = Embedder(bundle.path, precision=precision).encode(["hello world", "", "a a a"], on_truncate="ignore")
    if vectors.shape[1] != bundle.manifest.dimension or not np.allclose(np.square(vectors).sum(axis=1), 1, atol=1e-4):
        raise QualityError(
            f"{bundle.manifest.model} {precision} does not give unit vectors: its weights overflow or are empty; "
            "export --precision fp32, or get the checkpoint again"
        )


def check_floor(model: str, precision: Precision, quality: Quality) -> None:
    """Raises QualityError where a graph is further from its reference than FLOORS allows."""
    floor = FLOORS[precision]
    # Asked this way round, NaN fails.
    if not (quality.cosine_mean >= floor.mean and quality.cosine_min >= floor.minimum):
        raise QualityError(
            f"{model} {precision}: cosine to {quality.reference} is {quality.cosine_mean:.5f} on average and "
            f"{quality.cosine_min:.5f} at worst, the floor is {floor.mean} and {floor.minimum}; "
            "export --precision fp32, or --no-verify if ranks are all you need"
        )


def traced_reference(checkpoint: Checkpoint, folder: Path) -> Reference:
    """The reference that optimum traces, its file in ``folder``."""
    return Reference(trace(checkpoint, folder), traced_by())


def reverify(bundle: Bundle, *, checkpoint: str | None, cache: Path) -> Iterator[tuple[Precision, Quality | None]]:
    """Measure every precision of a bundle anew, where its reference can be had, and hold it to the floor.

    The reference is optimum's trace where the optimum extra is installed and the checkpoint is on this machine, else
    the bundle's own fp32 graph; None where there is neither, or where it would be compared to itself.

    Args:
        bundle: whose hashes have been checked.
        checkpoint: directory of the checkpoint it was made from; None looks it up by name, without the network.
        cache: embedge's cache folder.

    Raises:
        QualityError: a graph is below its floor.
        CheckpointError: ``checkpoint`` is given and is not what the bundle was made from.
        MissingExtraError: ``checkpoint`` is given and optimum is not installed.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        reference = _find_reference(bundle, checkpoint, cache, Path(folder))
        for name in bundle.manifest.precisions:
            precision = bundle.pick_precision(name)
            check_runs(bundle, precision)
            if reference is None or reference.name == f"{precision} graph":
                yield precision, None
                continue
            quality = measure(bundle, precision, reference)
            check_floor(bundle.manifest.model, precision, quality)
            yield precision, quality


def _find_reference(bundle: Bundle, given: str | None, cache: Path, folder: Path) -> Reference | None:
    if given is not None:
        require_optimum_extra()
    found = _find_checkpoint(bundle, given, cache) if has_optimum_extra() else None
    if found is not None:
        return traced_reference(found, folder)
    return Reference(bundle.graph("fp32"), "fp32 graph") if "fp32" in bundle.manifest.precisions else None


def _find_checkpoint(bundle: Bundle, given: str | None, cache: Path) -> Checkpoint | None:
    """The checkpoint that a bundle was made from, if it is on this machine."""
    source = bundle.manifest.source
    try:
        fetched = _fetch_local(given or source.hub_id, cache)
        found = read_checkpoint(fetched, pooling=bundle.manifest.pooling) if fetched else None
    except CheckpointError:
        if given:
            raise
        return None
    if found is None or found.sha256 == source.checkpoint_sha256:
        return found
    if given:
        raise CheckpointError(f"{given} is not the checkpoint of {bundle.path}: its files differ")
    return None


def _fetch_local(source: str | None, cache: Path) -> Fetched | None:
    return None if source is None else fetch(source, cache=cache, pickles=True, local_files_only=True)


def _padded_batches(bundle: Bundle) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Ids and masks of the texts, padded as other runtimes would, in batches of mixed lengths."""
    tokenizer = Tokenizer.from_file(str(bundle.path / TOKENIZER))
    tokenizer.enable_truncation(bundle.manifest.max_tokens)
    tokenizer.enable_padding()
    strings = texts()
    for start in range(0, len(strings), _BATCH):
        encodings = tokenizer.encode_batch(strings[start : start + _BATCH])
        ids, masks = ([getattr(e, name) for e in encodings] for name in ("ids", "attention_mask"))
        yield np.array(ids, np.int64), np.array(masks, np.int64)


def _pool_masked(hidden: NDArray[np.float32], mask: NDArray[np.int64], pooling: str) -> NDArray[np.float64]:
    """Unit vectors of padded hidden states; apart from the runtime's own pooling on purpose."""
    wide = hidden.astype(np.float64)
    if pooling == "cls":
        vectors = wide[:, 0]
    elif pooling == "last":
        vectors = wide[np.arange(len(wide)), mask.sum(axis=1) - 1]
    else:
        vectors = (wide * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
