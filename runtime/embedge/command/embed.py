"""The runtime's own commands: `embedge embed` and `embedge info`."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal

import click

from embedge.bundle.manifest import PRECISIONS, Precision
from embedge.command.write_vectors import open_writer
from embedge.inference.options import OUTPUT_PRECISIONS
from embedge.progress import is_terminal, progress
from embedge.text_files import FORMATS, Format, Item, open_items

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.embedder import Embedder


@click.command()
@click.argument("text", nargs=-1)
@click.option("-m", "--model", default="bge-small-en-v1.5", show_default=True, help="Recipe's name, hub id or bundle.")
@click.option("-i", "--input", "source", metavar="FILE", help='One text per line, or .jsonl with "text"; - is stdin.')
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Of the input; by the name's ending, and text on stdin, without it.",
)
@click.option("-o", "--output", metavar="FILE", help="A .npy, .npz or .jsonl file; JSON lines on stdout without it.")
@click.option("--query", is_flag=True, help="The texts are queries: put the model's query prompt in front.")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Of the graph; int8 if the bundle holds it.")
@click.option(
    "--output-precision",
    type=click.Choice(OUTPUT_PRECISIONS),
    default="float32",
    show_default=True,
    help="Of the vectors; binary packs 8 dimensions into a byte.",
)
@click.option("--truncate-dim", type=click.IntRange(min=1), metavar="N", help="Keep the first N dimensions.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Cores to use; all by default.")
@click.option("--local-files-only", is_flag=True, help="Never touch the network.")
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
    threads: int | None,
    local_files_only: bool,
) -> None:
    """Turn text into vectors.

    Reads TEXT, or a file: one text per line, or JSON lines with "text" (and "title", joined to it by a space). Writes
    one vector for each, in order, every line counted. An "id" (or "_id") goes into JSON lines as it is, and into "ids"
    of a .npz as a string; a text without one is known by its "index" there, and here by its position.

    \b
    embedge embed "a sentence" "another"
    embedge embed --query "how do I bake bread?"
    embedge embed -i passages.jsonl -o passages.npy
    cat texts.txt | embedge embed > vectors.jsonl
    zcat passages.jsonl.gz | embedge embed --format jsonl -o passages.npz
    """
    if text and (source or form):
        raise click.UsageError("give texts or -i FILE, not both" if source else "--format is for -i FILE and stdin")
    if not text and not source and is_terminal(sys.stdin):
        raise click.UsageError("give a text, or -i FILE; `embedge embed --help` has examples")
    opened = nullcontext(map(Item, text)) if text else open_items(source or "-", format=form)
    with opened as items, open_writer(output) as writer:
        from embedge.embedder import Embedder

        embedder = Embedder(model, precision=precision, threads=threads, local_files_only=local_files_only)
        writer.begin(embedder.encode([], truncate_dim=truncate_dim, precision=output_precision))
        watched = output in (None, "-") and is_terminal(sys.stdout)  # then the vectors themselves show how far it is
        with progress(None, False if watched else None) as advance:
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
    """Every item with its vector, in order; a window of them in memory, unless the type needs the whole set's range."""
    prompt = embedder.prompts.get("query" if query else "document", "")
    waiting: deque[Item] = deque()

    def texts() -> Iterator[str]:
        for item in items:
            waiting.append(item)
            yield item.text

    if precision in ("int8", "uint8"):
        whole = embedder.encode(texts(), prompt=prompt, truncate_dim=truncate_dim, precision=precision)
        yield from zip(waiting, whole, strict=True)
        return
    for vector in embedder.stream(texts(), prompt=prompt, truncate_dim=truncate_dim, precision=precision):
        yield waiting.popleft(), vector
