"""Compare the fused graph of a bundle with its plain int8 graph, on the kernels of this machine.

Both graphs are run by ONNX Runtime itself, without embedge's runtime, which would choose one of them. The two round
their rows at other places: a last bit may change a code, and then all that follows. So their vectors are as far from
each other as two int8 graphs are, and each is as far from fp32 as the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import HIDDEN, SCORES, TOKEN_VECTORS, TOKEN_WEIGHTS, Manifest, Quality
from embedge.inference.unpadded_plan import plan_unpadded
from embedge_export.extras import require_kernels
from embedge_export.graph.cpu_session import CpuSession
from embedge_export.verify.figures import mean_and_min, three_digits
from embedge_export.verify.measure import texts_of
from embedge_export.verify.measure_scores import centred_cosines, question_pairs
from embedge_export.verify.padded_batches import Ids, pad, pool, token_ids
from embedge_export.verify.passages import passages
from embedge_export.verify.token_agreement import lexical_agreement, token_cosines

_REFERENCE = "the plain int8 graph"
_BATCH_TOKENS = 4096
_EVERY = 3  # a reranker scores every third passage

Outputs = Mapping[str, NDArray[np.float32]]  # of one text, by name


def compare_fused(bundle: Bundle) -> Quality | None:
    """Return how the outputs of a bundle's fused int8 graph differ from the plain one's; None if it has none.

    ``batch_difference`` is the largest difference of an element of any output between a text alone and in a batch.

    Raises:
        MissingExtraError: embedge-kernels is not installed.
        CheckpointError: ONNX Runtime cannot open or run a graph.
    """
    path = bundle.fused_graph("int8") if "int8" in bundle.manifest.precisions else None
    if path is None:
        return None
    texts = question_pairs(passages()[::_EVERY]) if bundle.manifest.task == "rerank" else texts_of(bundle)
    ids, names = [text[None] for text in token_ids(bundle, texts)], list(bundle.manifest.outputs)
    library = require_kernels()
    # One graph after the other, so that the packed weights of one are in memory at a time.
    expected = _run_alone(CpuSession(bundle.graph("int8"), optimise=False), ids, names)
    fused = CpuSession(path, optimise=False, library=library)
    actual = _run_alone(fused, ids, names)
    quality = _measure(bundle.manifest, actual, expected)
    return replace(quality, batch_difference=three_digits(_batch_difference(fused, ids, actual)))


def _run_alone(session: CpuSession, ids: Sequence[Ids], names: list[str]) -> list[Outputs]:
    return [_run(session, text, names) for text in ids]


def _run(session: CpuSession, ids: Ids, names: list[str]) -> Outputs:
    values = session.run(names, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return dict(zip(names, values, strict=True))


def _batch_difference(session: CpuSession, ids: Sequence[Ids], alone: Sequence[Outputs]) -> float:
    """Return the largest change of an element of any output in batches of texts of any lengths, as the runtime's."""
    largest = 0.0
    for batch in plan_unpadded([text.shape[1] for text in ids], cores=1, batch_tokens=_BATCH_TOKENS):
        members = batch.members[::-1]
        padded, mask = pad([ids[member][0] for member in members], pad_id=0)  # as the runtime pads
        feed = {"input_ids": padded, "attention_mask": mask}
        for name, values in zip(alone[0], session.run(list(alone[0]), feed), strict=True):
            for row, member in zip(values, members, strict=True):
                expected = alone[member][name][0]
                kept = row if row.shape == expected.shape else row[: len(expected)]
                largest = max(largest, float(np.abs(kept - expected).max()))
    return largest


def _measure(manifest: Manifest, actual: Sequence[Outputs], expected: Sequence[Outputs]) -> Quality:
    """Return the cosines of vectors or scores, and the agreement of the outputs of bge-m3's heads."""
    both = (actual, expected)
    if manifest.task == "rerank":
        mean, least = mean_and_min(centred_cosines(*map(_scores, both)))
    else:
        first, second = ([_vector(text[HIDDEN], manifest) for text in texts] for texts in both)
        mean, least = mean_and_min(np.array([a @ b for a, b in zip(first, second, strict=True)]))
    quality = Quality(reference=_REFERENCE, texts=len(actual), cosine_mean=mean, cosine_min=least)
    if manifest.sparse:
        weights = ([dict(enumerate(text[TOKEN_WEIGHTS][0].tolist())) for text in texts] for texts in both)
        mean, least = mean_and_min(lexical_agreement(*weights))
        quality = replace(quality, lexical_mean=mean, lexical_min=least)
    if manifest.multi_vector:
        rows = ([text[TOKEN_VECTORS][0] for text in texts] for texts in both)
        mean, least = mean_and_min(np.concatenate(token_cosines(*rows)))
        quality = replace(quality, multi_vector_mean=mean, multi_vector_min=least)
    return quality


def _scores(texts: Sequence[Outputs]) -> NDArray[np.float64]:
    """The scores of a reranker's pairs, [questions, passages]."""
    return np.array([text[SCORES].item() for text in texts]).reshape(-1, len(passages()[::_EVERY]))


def _vector(hidden: NDArray[np.float32], manifest: Manifest) -> NDArray[np.float64]:
    """The unit vector of a text, [dimension]."""
    return pool(hidden[0], manifest.pooling)
