"""One encoder on all tasks: a row of numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from metrics import cosines, ndcg, rank, recall, spearman
from peers.base import Encoder
from tasks import Collection, Pairs, cut

_NDCG_DEPTH = 10
_RECALL_DEPTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The tasks with their texts as every encoder gets them: prompts in front, cut to the limit.

    Attributes:
        pairs: STS-B.
        collection: Cranfield.
    """

    pairs: Pairs
    collection: Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """What an encoder made of the texts.

    Attributes:
        sentences: of STS-B's distinct sentences.
        queries: of Cranfield.
        documents: of Cranfield.
    """

    sentences: NDArray[np.float32]
    queries: NDArray[np.float32]
    documents: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A row.

    Attributes:
        stsb_spearman: of cosines with the gold scores of STS-B's test pairs, in points of 100.
        cranfield_ndcg_10: mean over the queries, in points of 100; gains are grades, as in trec_eval.
        cranfield_recall_100: mean over the queries, in points of 100.
        cosine_mean: mean cosine to the baseline's vector of the same sentence, over STS-B's distinct sentences.
        cosine_min: the smallest of them.
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
    """The tasks as every encoder gets them. Prompts are for queries and documents; sentences of a pair get none."""

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
    """The vectors of all texts, each kind in one call."""
    return Vectors(
        sentences=encoder.encode(texts.pairs.sentences),
        queries=encoder.encode(texts.collection.queries),
        documents=encoder.encode(texts.collection.documents),
    )


def score(vectors: Vectors, texts: Texts, *, baseline: Vectors, size: int) -> Score:
    """An encoder's row, from its vectors and the baseline's."""
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
