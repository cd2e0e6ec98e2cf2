"""How far a graph's vectors are from its reference's, on texts that calibrated nothing: the quality report."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from embedge import Embedder, Reranker
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import SCORES, TOKENIZER, Precision, Quality
from embedge.inference.tokenise import Tokeniser
from embedge_export.verify.agreement import agreements, largest_by_token, token_cosines
from embedge_export.verify.passages import passages, questions
from embedge_export.verify.reference import Reference

_BATCH = 8
_TOP = 10
_ROUNDS = 4  # of batches of random company
_EVERY = 6  # question that a reranker is asked: one on each topic


def documents() -> list[str]:
    """Texts to embed: the passages; a long one; odd strings."""
    plain = [passage.joined for passage in passages()]
    return [*plain, " ".join(plain[:8]), "", "hello world", "naïve café — 東京 🚲", "a" * 300]


def measure(bundle: Bundle, precision: Precision, reference: Reference) -> Quality:
    """Distance of one graph of a bundle to a reference: of scores, or of vectors and what else it gives of texts."""
    if bundle.manifest.task == "rerank":
        return measure_scores(bundle, precision, reference)
    quality = measure_vectors(bundle, precision, reference)
    if bundle.manifest.sparse:
        found = measure_weights(bundle, precision, reference)
        mean, least = round(float(found.mean()), 7), round(float(found.min()), 7)
        quality = replace(quality, lexical_mean=mean, lexical_min=least)
    if bundle.manifest.multi_vector:
        quality = measure_multi_vectors(bundle, precision, reference, quality)
    return quality


def measure_vectors(bundle: Bundle, precision: Precision, reference: Reference) -> Quality:
    """Distance of one graph of a bundle, run by the runtime, to a reference fed padded batches of mixed lengths.

    Cosines are of pooled vectors, of documents and of queries with their prompt. The overlap is of the ten passages
    nearest to each query. The difference is over every element of the last hidden states that both graphs give, padding
    left out, of the two graphs fed the same padded batches.
    """
    texts = _texts(bundle)
    model = Embedder(bundle.path, precision=precision)
    found = model.encode(texts, prompt="", normalize=True, on_truncate="ignore")
    graph = Reference(bundle.graph(precision), precision)
    expected, differences = [], [0.0]
    for ids, mask in _padded_batches(bundle, texts):
        hidden, own = reference.run(ids, mask), graph.run(ids, mask)
        expected.append(_pool_masked(hidden, mask, bundle.manifest.pooling))
        tokens = min(hidden.shape[1], own.shape[1])  # one, where a graph is trimmed to what CLS pooling reads
        apart = np.abs(hidden[:, :tokens] - own[:, :tokens])
        differences.append(float(apart[mask[:, :tokens] == 1].max()))
    wanted = np.concatenate(expected)
    cosines = (found * wanted).sum(axis=1, dtype=np.float64)
    return Quality(
        reference=reference.name,
        texts=len(found),
        cosine_mean=round(float(cosines.mean()), 7),
        cosine_min=round(float(cosines.min()), 7),
        cosine_p1=round(float(np.percentile(cosines, 1)), 7),
        top10_overlap=_overlap(found, wanted),
        max_abs_difference=float(f"{max(differences):.3g}"),
        batch_difference=float(f"{batch_difference(model, texts):.3g}"),
    )


def measure_weights(bundle: Bundle, precision: Precision, reference: Reference) -> NDArray[np.float64]:
    """How far each text's lexical weights, by the runtime, agree with a reference's that is fed padded batches [texts].

    The texts are those of ``measure_vectors``.
    """
    texts = _texts(bundle)
    unused = Tokeniser(bundle.path / TOKENIZER, max_tokens=bundle.manifest.max_tokens).special_ids()
    model = Embedder(bundle.path, precision=precision)
    found = model.encode_sparse(texts, prompt="", on_truncate="ignore")
    wanted = [
        largest_by_token(row.tolist(), weights.tolist(), leave_out=unused)
        for ids, mask in _padded_batches(bundle, texts)
        for row, weights in zip(ids, reference.weigh_tokens(ids, mask) * mask, strict=True)
    ]
    return agreements([weights.as_dict() for weights in found], wanted)


def measure_multi_vectors(bundle: Bundle, precision: Precision, reference: Reference, quality: Quality) -> Quality:
    """The report with the cosines of tokens' vectors, by the runtime, to a reference's that is fed padded batches.

    The texts are those of ``measure_vectors``. What company makes of these vectors counts as what it makes of a text's.
    """
    texts = _texts(bundle)
    model = Embedder(bundle.path, precision=precision)
    alone = [model.encode_multi_vector(text, prompt="", on_truncate="ignore") for text in texts]
    among = model.encode_multi_vector(texts, prompt="", on_truncate="ignore")
    worst = max(float(np.abs(one - other).max()) for one, other in zip(alone, among, strict=True))
    wanted = [
        rows[kept == 1][1:]
        for ids, mask in _padded_batches(bundle, texts)
        for rows, kept in zip(reference.project_tokens(ids, mask), mask, strict=True)
    ]
    cosines = np.concatenate(token_cosines(among, wanted))
    return replace(
        quality,
        batch_difference=float(f"{max(worst, quality.batch_difference or 0):.3g}"),
        multi_vector_mean=round(float(cosines.mean()), 7),
        multi_vector_min=round(float(cosines.min()), 7),
    )


def measure_scores(bundle: Bundle, precision: Precision, reference: Reference) -> Quality:
    """Distance of a reranker's graph, run by the runtime, to a reference fed padded batches of mixed lengths.

    The pairs are every n-th question with every passage. A question's scores are a vector, whose mean is taken away: it
    moves them alike. Cosines are of those; the overlap is of the ten best passages; the difference is of two logits.
    """
    asked = [question.text for question in questions()[::_EVERY]]
    pairs = [(question, passage.joined) for question in asked for passage in passages()]
    model = Reranker(bundle.path, precision=precision)
    wanted = np.concatenate([reference.run(*batch, output=SCORES)[:, 0] for batch in _padded_batches(bundle, pairs)])
    found = model.score(pairs, on_truncate="ignore")
    rows = [scores.reshape(len(asked), -1).astype(np.float64) for scores in (found, wanted)]
    mine, theirs = (scores - scores.mean(axis=1, keepdims=True) for scores in rows)
    cosines = (mine * theirs).sum(axis=1) / (np.linalg.norm(mine, axis=1) * np.linalg.norm(theirs, axis=1))
    best = [np.argsort(-scores, axis=1, kind="stable")[:, :_TOP] for scores in rows]
    return Quality(
        reference=reference.name,
        texts=len(pairs),
        cosine_mean=round(float(cosines.mean()), 7),
        cosine_min=round(float(cosines.min()), 7),
        cosine_p1=round(float(np.percentile(cosines, 1)), 7),
        top10_overlap=_shared(*best),
        max_abs_difference=float(f"{np.abs(found - wanted).max():.3g}"),
        batch_difference=float(f"{_pair_difference(model, pairs[::_EVERY], found[::_EVERY]):.3g}"),
    )


def _texts(bundle: Bundle) -> list[str]:
    """Documents, and queries with their prompt."""
    prompt = bundle.manifest.prompts.get("query", "")
    return [*documents(), *(prompt + question.text for question in questions())]


def _pair_difference(
    model: Reranker, pairs: Sequence[tuple[str, str]], scores: NDArray[np.float32], *, seed: int = 0
) -> float:
    """Largest difference of a pair's score, among the others and alone or in random order and batches."""
    random = np.random.default_rng(seed)
    worst = max(
        abs(float(model.score(pair, on_truncate="ignore") - score)) for pair, score in zip(pairs, scores, strict=True)
    )
    for _ in range(_ROUNDS):
        order = random.permutation(len(pairs))
        among = model.score(
            [pairs[place] for place in order], on_truncate="ignore", batch_tokens=int(random.integers(1, 4096))
        )
        worst = max(worst, float(np.abs(among - scores[order]).max()))
    return worst


def batch_difference(model: Embedder, texts: Sequence[str], *, rounds: int = _ROUNDS, seed: int = 0) -> float:
    """Largest difference of an element of a text's vector, alone and among the others in random order and batches."""
    random = np.random.default_rng(seed)
    alone = np.stack([model.encode(text, prompt="", normalize=True, on_truncate="ignore") for text in texts])
    worst = 0.0
    for _ in range(rounds):
        order = random.permutation(len(texts))
        among = model.encode(
            [texts[place] for place in order],
            prompt="",
            normalize=True,
            on_truncate="ignore",
            batch_tokens=int(random.integers(1, 4096)),
        )
        worst = max(worst, float(np.abs(among - alone[order]).max()))
    return worst


def _overlap(found: NDArray[np.float32], wanted: NDArray[np.float64]) -> float:
    """Mean share of the reference's nearest passages that are among the graph's nearest, over all questions."""
    corpus, asked = len(passages()), len(questions())
    return _shared(
        *(np.argsort(-(v[-asked:] @ v[:corpus].T), axis=1, kind="stable")[:, :_TOP] for v in (found, wanted))
    )


def _shared(mine: NDArray[np.intp], theirs: NDArray[np.intp]) -> float:
    """Mean share of the one's positions in a row that are in the other's."""
    shares = [len(set(first) & set(second)) / len(first) for first, second in zip(mine, theirs, strict=True)]
    return round(float(np.mean(shares)), 4)


def _padded_batches(
    bundle: Bundle, texts: Sequence[str] | Sequence[tuple[str, str]]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Ids and masks of texts, padded as other runtimes would, in batches of mixed lengths."""
    tokenizer = Tokenizer.from_file(str(bundle.path / TOKENIZER))
    truncated = "only_second" if bundle.manifest.task == "rerank" else "longest_first"
    tokenizer.enable_truncation(
        bundle.manifest.max_tokens, strategy=truncated, direction=bundle.manifest.truncation_side
    )
    tokenizer.enable_padding(pad_id=_padding_id(bundle))
    for start in range(0, len(texts), _BATCH):
        encodings = tokenizer.encode_batch(texts[start : start + _BATCH])
        ids, masks = ([getattr(e, name) for e in encodings] for name in ("ids", "attention_mask"))
        yield np.array(ids, np.int64), np.array(masks, np.int64)


def _padding_id(bundle: Bundle) -> int:
    """RoBERTa counts positions over what is no padding."""
    return int(json.loads((bundle.path / "config.json").read_text(encoding="utf-8")).get("pad_token_id") or 0)


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
