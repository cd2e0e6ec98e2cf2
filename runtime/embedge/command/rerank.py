"""`embedge rerank`: documents -> the same, sorted by their relevance to a query."""

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
from embedge.command.write_vectors import json_line
from embedge.text_files import Format


@click.command()
@click.argument("query")
@click.argument("document", nargs=-1)
@model_option("bge-reranker-base")
@input_option
@format_option
@click.option(
    "-k", "--top-k", type=click.IntRange(min=1), metavar="N", help="Print only the N best documents. Default: all."
)
@click.option(
    "--normalize",
    is_flag=True,
    help="Apply the sigmoid, so that scores are between 0 and 1. Default: logits. The order is the same.",
)
@precision_option
@device_option
@threads_option
@kernels_option
@local_files_only_option
def rerank(
    query: str,
    document: tuple[str, ...],
    model: str,
    source: str | None,
    form: Format | None,
    top_k: int | None,
    normalize: bool,
    precision: Precision | None,
    device: str,
    threads: int | None,
    no_kernels: bool,
    local_files_only: bool,
) -> None:
    """Sort documents by their relevance to QUERY, best first.

    The documents are the arguments, or the lines of a file or of stdin. A line of a .jsonl file is an object with a
    "text"; a "title" is prepended to the text. The output has a JSON line for each document: its "index" in the input,
    its "id" if it has one, its "score" with all digits, and its "text".

    \b
    Examples:
      embedge rerank "how do I bake bread?" "Yeast makes dough rise." "The bike has a flat tyre."
      embedge rerank "how do I bake bread?" -i passages.jsonl --top-k 10
      cat passages.txt | embedge rerank "how do I bake bread?" --normalize
    """
    with open_input(document, source, form, what="documents", command="rerank") as lines:
        items = list(lines)
    from embedge.reranker import Reranker

    reranker = Reranker(
        model,
        precision=precision,
        device=device,
        threads=threads,
        local_files_only=local_files_only,
        kernels=False if no_kernels else None,
    )
    for index, score in reranker.rank(query, [item.text for item in items], top_k=top_k, normalize=normalize):
        item = items[index]
        head = {"index": index} if item.id is None else {"index": index, "id": item.id}
        exact = float(f"{score:.9g}")  # nine significant digits give a float32 back
        click.echo(json_line({**head, "score": exact, "text": item.text}).encode())
