"""Score one encoder on all tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.data.datasets import Collection, Pairs, cut
from benchmarks.measure.metrics import cosines, ndcg, rank, recall, spearman
from benchmarks.peers.base import Encoder

_NDCG_DEPTH = 10
_RECALL_DEPTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The tasks with the texts that every encoder gets: with prompts, and truncated to the limit.

    Attributes:
        pairs: STS-B.
        collection: Cranfield.
    """

    pairs: Pairs
    collection: Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """The vectors that an encoder returns for the texts.

    Attributes:
        sentences: the vectors of STS-B's distinct sentences.
        queries: the vectors of Cranfield's queries.
        documents: the vectors of Cranfield's documents.
    """

    sentences: NDArray[np.float32]
    queries: NDArray[np.float32]
    documents: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One row of the results.

    Attributes:
        stsb_spearman: Spearman correlation of the cosines with the gold scores of STS-B's test pairs, times 100.
        cranfield_ndcg_10: nDCG@10, averaged over the queries, times 100; the gain is the grade, as in trec_eval.
        cranfield_recall_100: recall@100, averaged over the queries, times 100.
        cosine_mean: the mean cosine to the baseline's vector, over STS-B's distinct sentences.
        cosine_min: the smallest of these cosines.
        size: bytes of the files with the weights.
    """

    stsb_spearman: float
    cranfield_ndcg_10: float
    cranfield_recall_100: float
    cosine_mean: float
    cosine_min: float
    size: int


def prepare(
    pairs: Pairs, collection: Collection, tokenizer: Tokenizer, *, max_tokens: int, prompts: Mapping[str, str]
) -> Texts:
    """Add prompts to queries and documents, but not to the sentences of pairs, and truncate all texts."""

    def cut_all(texts: Sequence[str], kind: str | None) -> tuple[str, ...]:
        prompt = prompts.get(kind, "") if kind else ""
        return tuple(cut(texts, tokenizer, max_tokens=max_tokens, prompt=prompt))

    return Texts(
        pairs=Pairs(cut_all(pairs.first, None), cut_all(pairs.second, None), pairs.scores),
        collection=Collection(
            cut_all(collection.queries, "query"), cut_all(collection.documents, "document"), collection.grades
        ),
    )


def embed(encoder: Encoder, texts: Texts) -> Vectors:
    """Embed all texts, each kind in one call."""
    return Vectors(
        sentences=encoder.encode(texts.pairs.sentences),
        queries=encoder.encode(texts.collection.queries),
        documents=encoder.encode(texts.collection.documents),
    )


def score(vectors: Vectors, texts: Texts, *, baseline: Vectors, size: int) -> Score:
    """Compute the row of an encoder from its vectors and those of the baseline."""
    near = cosines(vectors.sentences, baseline.sentences)
    ranking = rank(vectors.queries, vectors.documents, depth=_RECALL_DEPTH)
    judged = list(zip(ranking, texts.collection.grades, strict=True))
    return Score(
        stsb_spearman=100 * _spearman(vectors.sentences, texts.pairs),
        cranfield_ndcg_10=100 * float(np.mean([ndcg(*pair, depth=_NDCG_DEPTH) for pair in judged])),
        cranfield_recall_100=100 * float(np.mean([recall(*pair, depth=_RECALL_DEPTH) for pair in judged])),
        cosine_mean=float(near.mean()),
        cosine_min=float(near.min()),
        size=size,
    )


def _spearman(sentences: NDArray[np.float32], pairs: Pairs) -> float:
    place = {sentence: position for position, sentence in enumerate(pairs.sentences)}
    first, second = (sentences[[place[text] for text in column]] for column in (pairs.first, pairs.second))
    return spearman(cosines(first, second), pairs.scores)
