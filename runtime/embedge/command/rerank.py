"""`embedge rerank`: documents by how well they answer a query, as JSON lines."""

import sys
from contextlib import nullcontext

import click

from embedge.bundle.manifest import PRECISIONS, Precision
from embedge.command.write_vectors import json_line
from embedge.progress import is_terminal
from embedge.text_files import FORMATS, Format, Item, open_items


@click.command()
@click.argument("query")
@click.argument("document", nargs=-1)
@click.option("-m", "--model", default="bge-reranker-base", show_default=True, help="Recipe's name, hub id or bundle.")
@click.option("-i", "--input", "source", metavar="FILE", help='One text per line, or .jsonl with "text"; - is stdin.')
@click.option("--format", "form", type=click.Choice(FORMATS), help="Of the input; by the name's ending without it.")
@click.option("-k", "--top-k", type=click.IntRange(min=1), metavar="N", help="Only the N best; all by default.")
@click.option(
    "--normalize",
    is_flag=True,
    help="Scores between 0 and 1, by the sigmoid; logits without it. The order is the same.",
)
@click.option("--precision", type=click.Choice(PRECISIONS), help="Of the graph; int8 if the bundle holds it.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Cores to use; all by default.")
@click.option("--local-files-only", is_flag=True, help="Never touch the network.")
def rerank(
    query: str,
    document: tuple[str, ...],
    model: str,
    source: str | None,
    form: Format | None,
    top_k: int | None,
    normalize: bool,
    precision: Precision | None,
    threads: int | None,
    local_files_only: bool,
) -> None:
    """Sort documents by how well they answer QUERY, best first.

    Reads DOCUMENTs, or a file: one text per line, or JSON lines with "text" (and "title", joined to it by a space).
    Writes a JSON line for each: its "index" in the input, its "id" where it has one, its exact "score" and "text".

    \b
    embedge rerank "how do I bake bread?" "Yeast makes dough rise." "The bike has a flat tyre."
    embedge rerank "how do I bake bread?" -i passages.jsonl --top-k 10
    cat passages.txt | embedge rerank "how do I bake bread?" --normalize
    """
    if document and (source or form):
        raise click.UsageError("give documents or -i FILE, not both" if source else "--format is for -i FILE and stdin")
    if not document and not source and is_terminal(sys.stdin):
        raise click.UsageError("give documents, or -i FILE; `embedge rerank --help` has examples")
    opened = nullcontext(map(Item, document)) if document else open_items(source or "-", format=form)
    with opened as lines:
        items = list(lines)
    from embedge.reranker import Reranker

    reranker = Reranker(model, precision=precision, threads=threads, local_files_only=local_files_only)
    for index, score in reranker.rank(query, [item.text for item in items], top_k=top_k, normalize=normalize):
        item = items[index]
        head = {"index": index} if item.id is None else {"index": index, "id": item.id}
        exact = float(f"{score:.9g}")  # nine significant digits give a float32 back
        click.echo(json_line({**head, "score": exact, "text": item.text}).encode())
