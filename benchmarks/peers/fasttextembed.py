"""fasttextembed: bge-small in C, with weights in float16 that it multiplies in float32. It needs no other package.

It downloads its model from GitHub on first use. Here it gets files of its own format, with the checkpoint's weights.
Its tokenizer splits ASCII as BERT does, and takes the bytes of other characters for punctuation, unknown to it. Three
more facts limit a comparison of quality: GELU is its tanh approximation, a text ends at a NUL, and no other shape than
bge-small's loads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import Encoder, Kit

if TYPE_CHECKING:
    from benchmarks.peers.workbench import Workbench

_MODEL, _VOCABULARY = "fasttextembed.fte", "fasttextembed.tsv"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastTextEmbedEncoder:
    """An encoder that is a TextEmbedding."""

    size: int
    threads: int
    model: Any

    def encode(self, texts: Sequence[str]) -> Any:
        """Unit vectors of texts as the library's own lists of floats: to make arrays, numpy would be imported."""
        if len(texts) == 1:  # as its users do for a query: no thread pool
            return [self.model.embed_one(texts[0])]
        return self.model.embed(list(texts), threads=self.threads)


def build(bench: "Workbench", variant: str) -> None:
    """Write the weights and the vocabulary."""
    from benchmarks.peers.fte_bert import write_fte, write_vocabulary

    if not (bench.folder / _MODEL).is_file():
        write_vocabulary(bench.tokenizer(), bench.folder / _VOCABULARY)
        write_fte(bench.checkpoint, bench.folder / _MODEL)


def load(kit: Kit) -> Encoder:
    """Load the two files, as the library does with its downloads."""
    from fasttextembed import TextEmbedding

    path = kit.folder / _MODEL
    model = TextEmbedding(str(path), str(kit.folder / _VOCABULARY))
    return FastTextEmbedEncoder(size=path.stat().st_size, threads=kit.threads, model=model)
