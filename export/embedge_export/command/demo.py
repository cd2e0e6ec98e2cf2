"""`embedge demo`: downloads and exports a model, then answers questions with it, and shows how long each step takes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from embedge.bundle.directory import Bundle
from embedge.command.options import model_option
from embedge.errors import BundleNotFoundError, MissingExtraError

if TYPE_CHECKING:
    from embedge_export.verify.passages import Passage

QUESTIONS = (
    "why did my bread come out flat and heavy?",
    "something is eating my salad plants at night",
    "how can I get better wifi in every room?",
    "which flying mammals use sonar to find insects?",
)


@click.command()
@click.argument("question", required=False)
@model_option("all-MiniLM-L6-v2")
@click.option(
    "--top",
    type=click.IntRange(1, 60),
    metavar="N",
    default=3,
    show_default=True,
    help="Number of passages to show for each question.",
)
def demo(question: str | None, model: str, top: int) -> None:
    """Download and export a small model, and try it.

    The command embeds sixty passages and shows those that are nearest to QUESTION. Without QUESTION, it asks four
    questions of its own. The first run downloads 84 MB and stores the bundle in the cache. Later runs start
    immediately.

    The first run needs `pip install 'embedge[demo]'`.

    \b
    Examples:
      embedge demo
      embedge demo "why is the sky so dark at night?"
    """
    start = time.perf_counter()
    bundle = _bundle(model)
    precision = _answer([question] if question else QUESTIONS, bundle, top)
    seconds = time.perf_counter() - start
    click.echo(f"\n{seconds:.1f} s in total, with {precision} {bundle.manifest.model}, without a GPU or PyTorch.")


def _bundle(model: str) -> Bundle:
    from embedge.hub.cache import find_cached, is_path
    from embedge.hub.pull import pull

    if is_path(model):
        return Bundle.open(model)
    if cached := find_cached(model, None):
        click.echo(f"bundle {cached.path}")
        return cached
    click.echo(f"{model} is not in the cache: downloading it, and exporting it to int8 if it is a checkpoint.")
    try:
        return pull(model)
    except BundleNotFoundError as error:
        if isinstance(error.__cause__, ImportError):
            reason = str(error.__cause__).partition("; ")[0]
            raise MissingExtraError(
                f"{model} cannot be exported here ({reason}); run `pip install 'embedge[demo]'`"
            ) from error
        raise


def _answer(questions: Sequence[str], bundle: Bundle, top: int) -> str:
    """Print the nearest passages for each question, and return the precision of the graph."""
    from embedge.embedder import Embedder
    from embedge_export.verify.passages import passages

    with _timed("load"):
        embedder = Embedder(bundle.path)
    corpus = passages()
    with _timed(f"embed {len(corpus)} passages"):
        documents = embedder.encode_document(passage.joined for passage in corpus)
    with _timed(f"embed {len(questions)} question{'s' if len(questions) > 1 else ''}"):
        queries = embedder.encode_query(questions)
    for question, scores in zip(questions, embedder.similarity(queries, documents), strict=True):
        click.echo(f"\n{question}")
        for index in scores.argsort()[::-1][:top]:
            click.echo(f"  {scores[index]:.3f}  {_shorten(corpus[index])}")
    return embedder.precision


@contextmanager
def _timed(what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    click.echo(f"{what} ({time.perf_counter() - start:.2f} s)")


def _shorten(passage: "Passage") -> str:
    text = f"{passage.title}: {passage.text}"
    return text if len(text) <= 100 else text[:97].rsplit(" ", 1)[0] + " ..."
