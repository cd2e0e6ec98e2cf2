"""What can be published of a model's output, and how ours is held to it."""

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
    """What a source says that a model gives.

    Attributes:
        model: a recipe's name.
        precision: of the graph.
        expected: the published numbers, nested as the model gives them.
        within: how far ours may be from any of them.
        source: who says so.
    """

    model: str
    precision: Precision = "fp32"
    expected: Any
    within: float
    source: str

    def found(self, model: Path) -> Any:
        """Our numbers, from a bundle."""
        raise NotImplementedError

    def check(self, model: Path) -> None:
        np.testing.assert_allclose(self.found(model), self.expected, rtol=0, atol=self.within, err_msg=self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorHead(Figure):
    """The first numbers of a text's unit vector, without a prompt."""

    text: str = "hello world"

    def found(self, model: Path) -> Any:
        vectors = Embedder(model, precision=self.precision).encode([self.text, "flag embedding"])
        return vectors[0, : len(self.expected)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarities(Figure):
    """Cosines of texts with others, without a prompt: [first, second]."""

    first: Sequence[str]
    second: Sequence[str]

    def found(self, model: Path) -> Any:
        embedder = Embedder(model, precision=self.precision)
        return embedder.encode(self.first) @ embedder.encode(self.second).T


@dataclass(frozen=True, slots=True, kw_only=True)
class StsB(Figure):
    """Spearman's correlation of cosines with the gold scores of STS-B's test pairs, in points of 100.

    ``folder`` has data/stsb/test.tsv; None is $EMBEDGE_DATA.
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
    """Weights of a text's tokens, every one that counts and no other, by the token's id or its piece of text."""

    text: str
    expected: Mapping[int, float] | Mapping[str, float]

    def found(self, model: Path) -> Any:
        return lexical_weights(model, self.precision, [self.text])[0]

    def check(self, model: Path) -> None:
        found, wanted = self.found(model), dict(self.expected)
        if any(isinstance(token, str) for token in wanted):
            tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
            found = {tokenizer.id_to_token(token).removeprefix("▁"): weight for token, weight in found.items()}
        assert found.keys() == wanted.keys(), self.source
        np.testing.assert_allclose(
            [found[token] for token in wanted], [*wanted.values()], rtol=0, atol=self.within, err_msg=self.source
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalScores(Figure):
    """Sums of products of weights over the tokens that two texts share: [first, second]."""

    first: Sequence[str]
    second: Sequence[str]

    def found(self, model: Path) -> Any:
        first, second = (lexical_weights(model, self.precision, texts) for texts in (self.first, self.second))
        return [[sum(a[token] * b[token] for token in a.keys() & b.keys()) for b in second] for a in first]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiVectorScores(Figure):
    """Late interaction of texts with others by their tokens' vectors: [first, second]."""

    first: Sequence[str]
    second: Sequence[str]

    def found(self, model: Path) -> Any:
        embedder = Embedder(model, precision=self.precision)
        first, second = (embedder.encode_multi_vector(texts) for texts in (self.first, self.second))
        return [[max_similarity(query, document) for document in second] for query in first]


def lexical_weights(model: Path, precision: Precision, texts: Sequence[str]) -> list[dict[int, float]]:
    """Weight by token id, a dict for each text."""
    found: Any = Embedder(model, precision=precision)
    return [dict(zip(v.indices.tolist(), v.values.tolist(), strict=True)) for v in found.encode_sparse(texts)]
