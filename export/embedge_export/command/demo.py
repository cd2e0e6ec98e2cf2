"""The demo: a model from nothing to answers, with what every step took."""

import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from embedge import Embedder
from embedge.bundle.directory import Bundle
from embedge.hub.cache import find_cached, is_path
from embedge.hub.obtain import pull
from embedge_export.verify.passages import Passage, passages

QUESTIONS = (
    "why did my bread come out flat and heavy?",
    "something is eating my salad plants at night",
    "how can I get better wifi in every room?",
    "which flying mammals use sonar to find insects?",
)
Say = Callable[[str], object]


def run_demo(questions: Sequence[str] | None, *, model: str, top: int, say: Say) -> None:
    """Answer questions, or some of our own, with the nearest of the sixty passages.

    Args:
        questions: what to ask; None asks QUESTIONS.
        model: a recipe's name, a hub id or a bundle's path.
        top: how many passages to show for each.
        say: called with every line of output.
    """
    start = time.perf_counter()
    bundle = _bundle(model, say)
    with _timed("load", say):
        embedder = Embedder(bundle.path)
    corpus = passages()
    with _timed(f"embed {len(corpus)} passages", say):
        documents = embedder.encode_document(passage.joined for passage in corpus)
    asked = list(questions or QUESTIONS)
    with _timed(f"embed {len(asked)} question{'s' if len(asked) > 1 else ''}", say):
        queries = embedder.encode_query(asked)
    scores = embedder.similarity(queries, documents)
    for question, row in zip(asked, scores, strict=True):
        say(f"\n{question}")
        for place in row.argsort()[::-1][:top]:
            say(f"  {row[place]:.3f}  {_line(corpus[place])}")
    say(
        f"\n{time.perf_counter() - start:.1f} s in all, with {embedder.precision} {bundle.manifest.model}, "
        "no GPU, no torch."
    )


def _bundle(model: str, say: Say) -> Bundle:
    if is_path(model):
        return Bundle.open(model)
    if (bundle := find_cached(model, None)) is None:
        say(f"{model} is not in the cache yet: fetching it; a checkpoint is exported to int8.")
        bundle = pull(model)
    else:
        say(f"found {bundle.path}")
    return bundle


@contextmanager
def _timed(what: str, say: Say) -> Iterator[None]:
    start = time.perf_counter()
    yield
    say(f"{what} ({time.perf_counter() - start:.2f} s)")


def _line(passage: Passage) -> str:
    return textwrap.shorten(f"{passage.title}: {passage.text}", 100, placeholder=" ...")
