"""`embedge embed`: texts -> vectors."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
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
from embedge.inference.options import OUTPUT_PRECISIONS
from embedge.progress import is_terminal, progress
from embedge.text_files import Format, Item

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.embedder import Embedder


@click.command()
@click.argument("text", nargs=-1)
@model_option("bge-small-en-v1.5")
@input_option
@format_option
@click.option(
    "-o", "--output", metavar="FILE", help="Output file: .npy, .npz or .jsonl. Default: JSON lines on stdout."
)
@click.option("--query", is_flag=True, help="Treat the texts as queries: prepend the model's query prompt.")
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

    \b
    Examples:
      embedge embed "a sentence" "another"
      embedge embed --query "how do I bake bread?"
      embedge embed -i passages.jsonl -o passages.npy
      embedge embed -i passages.jsonl -o passages.npy --device cuda
      cat texts.txt | embedge embed > vectors.jsonl
      zcat passages.jsonl.gz | embedge embed --format jsonl -o passages.npz
    """
    opened = open_input(text, source, form, what="texts", command="embed")
    with opened as items, open_writer(output) as writer:
        from embedge.embedder import Embedder

        embedder = Embedder(
            model,
            precision=precision,
            device=device,
            threads=threads,
            local_files_only=local_files_only,
            kernels=False if no_kernels else None,
        )
        writer.begin(embedder.encode([], truncate_dim=truncate_dim, precision=output_precision))
        shows_vectors = output in (None, "-") and is_terminal(sys.stdout)  # a bar would break into their lines
        with progress(None, False if shows_vectors else None) as advance:
            for item, vector in _vectors(embedder, items, query, output_precision, truncate_dim):
                writer.write(item, vector)
                advance(1)


def _vectors(
    embedder: "Embedder",
    items: Iterable[Item],
    query: bool,
    precision: Literal["float32", "binary", "ubinary"],
    truncate_dim: int | None,
) -> Iterator[tuple[Item, "NDArray[np.generic]"]]:
    """Yield every item with its vector, in order.

    Only a window of them is in memory, except for int8 and uint8, which need the value range of all vectors.
    """
    prompt = embedder.prompts.get("query" if query else "document", "")
    waiting: deque[Item] = deque()

    def texts() -> Iterator[str]:
        for item in items:
            waiting.append(item)
            yield item.text

    if precision in ("int8", "uint8"):
        vectors = embedder.encode(texts(), prompt=prompt, truncate_dim=truncate_dim, precision=precision)
        yield from zip(waiting, vectors, strict=True)
        return
    for vector in embedder.stream(texts(), prompt=prompt, truncate_dim=truncate_dim, precision=precision):
        yield waiting.popleft(), vector
