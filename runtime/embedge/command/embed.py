"""`embedge embed`: texts -> vectors."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click

from embedge.bundle.manifest import Precision
from embedge.command.options import (
    device_option,
    format_option,
    input_option,
    kernels_option,
    local_files_only_option,
    model_option,
    open_input,
    precision_option,
    threads_option,
)
from embedge.command.write_vectors import open_writer
from embedge.inference.options import OUTPUT_PRECISIONS, RANGED, OutputPrecision
from embedge.progress import is_terminal, progress
from embedge.text_files import Format, Item

if TYPE_CHECKING:
    from embedge.embedder import Embedder
    from embedge.inference.embeddings import Embedding, Embeddings


@click.command()
@click.argument("text", nargs=-1)
@model_option("bge-small-en-v1.5")
@input_option
@format_option
@click.option(
    "-o", "--output", metavar="FILE", help="Output file: .npy, .npz or .jsonl. Default: JSON lines on stdout."
)
@click.option("--query", is_flag=True, help="Treat the texts as queries: prepend the model's query prompt.")
@click.option("--dense", is_flag=True, help="Write dense vectors. Default, unless --sparse or --multi-vector is given.")
@click.option("--sparse", is_flag=True, help="Write lexical weights, for models that have them, such as bge-m3.")
@click.option(
    "--multi-vector", is_flag=True, help="Write a vector for each token, for models that have them, such as bge-m3."
)
@precision_option
@click.option(
    "--output-precision",
    type=click.Choice(OUTPUT_PRECISIONS),
    default="float32",
    show_default=True,
    help="Type of the numbers in the vectors. binary and ubinary pack 8 dimensions into a byte.",
)
@click.option(
    "--truncate-dim", type=click.IntRange(min=1), metavar="N", help="Keep only the first N dimensions of each vector."
)
@device_option
@threads_option
@kernels_option
@local_files_only_option
def embed(
    text: tuple[str, ...],
    model: str,
    source: str | None,
    form: Format | None,
    output: str | None,
    query: bool,
    dense: bool,
    sparse: bool,
    multi_vector: bool,
    precision: Precision | None,
    output_precision: Literal["float32", "binary", "ubinary"],
    truncate_dim: int | None,
    device: str,
    threads: int | None,
    no_kernels: bool,
    local_files_only: bool,
) -> None:
    """Convert texts to vectors (embeddings).

    The texts are the arguments, or the lines of a file or of stdin. A line of a .jsonl file is an object with a "text";
    a "title" is prepended to the text. The output has one vector for each text, in the order of the input. Empty lines
    count as texts.

    The output keeps the "id" or "_id" of a line: in JSON lines as it is, in the array "ids" of an .npz file as a
    string. JSON lines also have the "index" of each text. In "ids", a text without an id has its index.

    --dense, --sparse and --multi-vector can be combined; the model runs once for all of them. In JSON lines they are
    "embedding", "sparse" and "multi_vector". An .npz file has the arrays "embeddings", "sparse_indices" and
    "sparse_values", and "multi_vectors". The last three have the texts one after another: those of text i begin at
    sparse_offsets[i] or multi_vector_offsets[i], and end where those of text i + 1 begin.

    \b
    Examples:
      embedge embed "a sentence" "another"
      embedge embed --query "how do I bake bread?"
      embedge embed -i passages.jsonl -o passages.npy
      embedge embed -i passages.jsonl -o passages.npy --device cuda
      cat texts.txt | embedge embed > vectors.jsonl
      zcat passages.jsonl.gz | embedge embed --format jsonl -o passages.npz
      embedge embed -m bge-m3 -i passages.jsonl --dense --sparse -o passages.npz
    """
    kinds = _Kinds(dense=dense or not (sparse or multi_vector), sparse=sparse, multi_vector=multi_vector)
    _check_options(kinds, output_precision, truncate_dim)
    opened = open_input(text, source, form, what="texts", command="embed")
    with opened as items, open_writer(output, only_dense=kinds.only_dense) as writer:
        from embedge.embedder import Embedder

        embedder = Embedder(
            model,
            precision=precision,
            device=device,
            threads=threads,
            local_files_only=local_files_only,
            kernels=False if no_kernels else None,
        )
        writer.begin(_none(embedder, kinds, output_precision, truncate_dim), embedder.dimension)
        shows_vectors = output in (None, "-") and is_terminal(sys.stdout)  # a bar would break into their lines
        with progress(None, False if shows_vectors else None) as advance:
            for item, embedding in _embeddings(embedder, items, kinds, query, output_precision, truncate_dim):
                writer.write(item, embedding)
                advance(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kinds:
    """Which kinds of vectors to write."""

    dense: bool
    sparse: bool
    multi_vector: bool

    @property
    def only_dense(self) -> bool:
        return not (self.sparse or self.multi_vector)


def _check_options(kinds: _Kinds, precision: OutputPrecision, truncate_dim: int | None) -> None:
    """Raise UsageError for options of dense vectors without any, and for types that need all vectors in memory."""
    if not kinds.dense:
        for option, is_given in (("--truncate-dim", truncate_dim), ("--output-precision", precision != "float32")):
            if is_given:
                raise click.UsageError(f"{option} is for dense vectors; add --dense, or leave it out")
    if precision in RANGED and not kinds.only_dense:
        raise click.UsageError(
            f"--output-precision {precision} needs all vectors in memory, so it cannot be combined with --sparse or "
            "--multi-vector; use float32, binary or ubinary, or write the dense vectors alone"
        )


def _none(embedder: "Embedder", kinds: _Kinds, precision: OutputPrecision, truncate_dim: int | None) -> "Embeddings":
    """The vectors of no text, of all kinds; raise BundleError if the model does not have one of them."""
    return embedder.encode_all(
        [],
        dense=kinds.dense,
        sparse=kinds.sparse,
        multi_vector=kinds.multi_vector,
        truncate_dim=truncate_dim,
        precision=precision,
    )


def _embeddings(
    embedder: "Embedder",
    items: Iterable[Item],
    kinds: _Kinds,
    query: bool,
    precision: Literal["float32", "binary", "ubinary"],
    truncate_dim: int | None,
) -> Iterator[tuple[Item, "Embedding"]]:
    """Yield every item with its vectors, in order.

    Only a window of them is in memory, except for int8 and uint8, which need the value range of all vectors.
    """
    from embedge.inference.embeddings import Embedding

    prompt = embedder.prompts.get("query" if query else "document", "")
    waiting: deque[Item] = deque()

    def texts() -> Iterator[str]:
        for item in items:
            waiting.append(item)
            yield item.text

    if not kinds.only_dense:
        for embedding in embedder._stream_all(
            texts(),
            dense=kinds.dense,
            sparse=kinds.sparse,
            multi_vector=kinds.multi_vector,
            prompt=prompt,
            truncate_dim=truncate_dim,
            precision=precision,
        ):
            yield waiting.popleft(), embedding
    elif precision in RANGED:
        vectors = embedder.encode(texts(), prompt=prompt, truncate_dim=truncate_dim, precision=precision)
        for item, vector in zip(waiting, vectors, strict=True):
            yield item, Embedding(dense=vector)
    else:
        for vector in embedder.stream(texts(), prompt=prompt, truncate_dim=truncate_dim, precision=precision):
            yield waiting.popleft(), Embedding(dense=vector)
