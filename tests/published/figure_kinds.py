"""The kinds of published figures of a model's output, and how a bundle is compared with them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from benchmarks.data.datasets import read_pairs
from benchmarks.measure.metrics import cosines, spearman
from embedge import Embedder, Precision, max_similarity


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Published numbers of a model's output.

    Attributes:
        model: a recipe's name.
        precision: of the graph to compare.
        expected: the published numbers, in the shape of the model's output.
        within: the largest difference allowed for each number.
        source: where they are published.
    """

    model: str
    precision: Precision = "fp32"
    expected: Any
    within: float
    source: str

    def found(self, model: Path) -> Any:
        """Return the numbers that a bundle gives."""
        raise NotImplementedError

    def check(self, model: Path) -> None:
        np.testing.assert_allclose(self.found(model), self.expected, rtol=0, atol=self.within, err_msg=self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorHead(Figure):
    """The first elements of a text's unit vector, without a prompt."""

    text: str = "hello world"

    def found(self, model: Path) -> Any:
        vectors = Embedder(model, precision=self.precision).encode([self.text, "flag embedding"])
        return vectors[0, : len(self.expected)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarities(Figure):
    """The cosines of texts with other texts, without a prompt: [first, second]."""

    first: Sequence[str]
    second: Sequence[str]

    def found(self, model: Path) -> Any:
        embedder = Embedder(model, precision=self.precision)
        return embedder.encode(self.first) @ embedder.encode(self.second).T


@dataclass(frozen=True, slots=True, kw_only=True)
class StsB(Figure):
    """Spearman's correlation of the cosines with the gold scores of the test pairs of STS-B, in points of 100.

    ``folder`` contains data/stsb/test.tsv; None is $EMBEDGE_DATA.
    """

    folder: Path | None = None

    def found(self, model: Path) -> Any:
        pairs = read_pairs(self.folder or Path(os.environ["EMBEDGE_DATA"]))
        embedder = Embedder(model, precision=self.precision)
        return 100 * spearman(cosines(embedder.encode(pairs.first), embedder.encode(pairs.second)), pairs.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores(Figure):
    """A reranker's logits of pairs of query and document."""

    pairs: Sequence[tuple[str, str]]

    def found(self, model: Path) -> Any:
        from embedge import Reranker

        return Reranker(model, precision=self.precision).score(self.pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalWeights(Figure):
    """The lexical weights of a text, by token id or by the token's text. No other token may have a weight."""

    text: str
    expected: Mapping[int, float] | Mapping[str, float]

    def found(self, model: Path) -> Any:
        return lexical_weights(model, self.precision, [self.text])[0]

    def check(self, model: Path) -> None:
        found, expected = self.found(model), dict(self.expected)
        if any(isinstance(token, str) for token in expected):
            tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
            found = {tokenizer.id_to_token(token).removeprefix("▁"): weight for token, weight in found.items()}
        assert found.keys() == expected.keys(), self.source
        np.testing.assert_allclose(
            [found[token] for token in expected], [*expected.values()], rtol=0, atol=self.within, err_msg=self.source
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalScores(Figure):
    """The scores of lexical weights: sums of products over the tokens that two texts share, [first, second]."""

    first: Sequence[str]
    second: Sequence[str]

    def found(self, model: Path) -> Any:
        first, second = (lexical_weights(model, self.precision, texts) for texts in (self.first, self.second))
        return [[sum(a[token] * b[token] for token in a.keys() & b.keys()) for b in second] for a in first]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiVectorScores(Figure):
    """The late-interaction scores (ColBERT) of texts with other texts: [first, second]."""

    first: Sequence[str]
    second: Sequence[str]

    def found(self, model: Path) -> Any:
        embedder = Embedder(model, precision=self.precision)
        first, second = (embedder.encode_multi_vector(texts) for texts in (self.first, self.second))
        return [[max_similarity(query, document) for document in second] for query in first]


def lexical_weights(model: Path, precision: Precision, texts: Sequence[str]) -> list[dict[int, float]]:
    """Return the weights by token id, for each text."""
    embedder: Any = Embedder(model, precision=precision)
    return [dict(zip(v.indices.tolist(), v.values.tolist(), strict=True)) for v in embedder.encode_sparse(texts)]
