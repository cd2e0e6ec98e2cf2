"""Unreasonable texts, types and options for an undamaged bundle.

embedge must raise one of its errors, or return vectors of length 1 that do not depend on batch or order. The token ids
must be those of the whole text, truncated.
"""

import io
import re
import resource
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from campaign.hostile import long_text, some_texts, surrogate
from campaign.objects import NumbersError, options, tables
from campaign.tokenizer_files import KINDS, check_ids, tokenizer_json
from campaign.trial import Bench, FaultError, OwnError, check_unit, embedder
from embedge import Embedder, InputTypeError

_LONG_LIMIT = 2.0  # seconds that the longest text may take
_LONG_MEMORY = 600 << 20  # bytes by which the process may grow for it
_LENGTHS = ("ignore", "warn")


def _batches(bench: Bench, random: Random, model: Embedder) -> None:
    """The vectors are the same alone, in any order, in batches of any size, and with any ``np.errstate``."""
    texts = some_texts(random, random.choice((1, 2, 5, 12)))
    with np.errstate(all=random.choice(("warn", "raise", "ignore"))):
        whole = model.encode(texts, on_truncate="ignore")
        order = random.sample(range(len(texts)), len(texts))
        shuffled = model.encode(
            [texts[index] for index in order],
            on_truncate="ignore",
            batch_tokens=random.choice((None, 1, 64, 10_000)),
            batch_size=random.choice((None, 1, 3)),
        )
        alone = [model.encode(text, on_truncate="ignore") for text in texts[:3]]
    check_unit(whole, len(texts), model.dimension, f"{len(texts)} texts")
    for index, vector in [*zip(order, shuffled, strict=True), *enumerate(alone)]:
        if vector.tobytes() != whole[index].tobytes():
            raise FaultError(f"a vector depends on batch or order: {texts[index][:60]!r}")


@cache
def _tokenizer(name: str, bundle: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_bytes(tokenizer_json(name, bundle))
    return path


def _ids(bench: Bench, random: Random, model: Embedder) -> None:
    """The ids are the library's ids of the whole text, truncated, for each kind of tokenizer."""
    kind = random.choice(KINDS)
    path = _tokenizer(kind, bench.bundle, bench.folder.parent / "tokenizers")
    check_ids(path, some_texts(random, random.choice((1, 3, 8))), random.choice((4, 8, 64)), kind)


def _surrogates(bench: Bench, random: Random, model: Embedder) -> None:
    """A lone surrogate in a text or a prompt is not valid Unicode: embedge raises an error.

    The part of a long text after the limit need not be read. Then the vector must be the same without the surrogate and
    all that follows it.
    """
    texts = some_texts(random, 3)
    texts.insert(place := random.randrange(4), surrogate(random))
    how: Any = random.choice(("texts", "prompt", "stream", "count"))
    if how == "prompt":
        model.encode("a cat", prompt=surrogate(random))
    elif how == "count":
        model.count_tokens(texts)
    elif how == "texts":
        _check_unread(model, texts, place, model.encode(texts, on_truncate="ignore")[place])
        return
    else:
        vectors = list(model.stream(iter(texts), window=random.choice((1, 2, 100)), on_truncate="ignore"))
        _check_unread(model, texts, place, vectors[place])
        return
    raise FaultError(f"a lone surrogate in a {how} is taken: {texts[place][:60]!r}")


def _check_unread(model: Embedder, texts: list[str], place: int, found: NDArray[np.float32]) -> None:
    """Raise FaultError where the vector of a text depends on its lone surrogate."""
    before = re.split("[\ud800-\udfff]", texts[place])[0]
    if model.count_tokens(before) < model.max_tokens or model.encode(before, on_truncate="ignore").tobytes() != (
        found.tobytes()
    ):
        raise FaultError(f"a lone surrogate in a text is taken: {texts[place][:60]!r}")


def _types(bench: Bench, random: Random, model: Embedder) -> None:
    """Objects that are not lists of strings."""
    what, texts, expected = random.choice(tables())()
    try:
        found = model.encode(texts, on_truncate="ignore")
    except OwnError:
        if expected is not OwnError:
            raise FaultError(f"{what}: an error of the caller's came from nowhere") from None
        return
    except InputTypeError:
        if isinstance(expected, list):
            raise FaultError(f"{what} is refused") from None
        raise
    if not isinstance(expected, list):
        raise FaultError(f"{what} is taken for texts: {np.shape(found)}")
    if found.tobytes() != model.encode(expected, on_truncate="ignore").tobytes():
        raise FaultError(f"{what} has other vectors than its list")


def _options(bench: Bench, random: Random, model: Embedder) -> None:
    """An option of a wrong type, or a huge, negative or non-numeric value."""
    texts = ["the cat", "a dog ran away"]
    name, value = options(random)
    method = random.choice(("encode", "encode_query", "encode_document"))
    try:
        found = getattr(model, method)(texts, **{name: value})
    except NumbersError:
        return
    if not isinstance(found, np.ndarray) or len(found) != 2 or not np.isfinite(found.astype(np.float32)).all():
        raise FaultError(f"an option makes no vectors: {method}({name}={value!r:.60}), {np.shape(found)}")


def _long(bench: Bench, random: Random, model: Embedder) -> None:
    """One text of some megabytes stays within the limits of time and memory."""
    text = long_text(random)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    vector = model.encode(text, on_truncate="ignore")
    seconds = time.monotonic() - start
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    check_unit(vector[None], 1, model.dimension, "a long text")
    if seconds > _LONG_LIMIT or more > _LONG_MEMORY:
        found = f"{seconds:.1f} s and {more >> 20} MB"
        raise FaultError(f"a long text takes too much: {found}, {text[:12]!r} of {len(text) // 1000}k characters")


class _Odd(io.StringIO):
    """A stream that lacks methods of a file, or behaves as if closed."""

    def isatty(self) -> bool:
        raise ValueError("I/O operation on closed file")


class _Bare:
    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def _stderr(stream: Any) -> Any:
    kept, sys.stderr = sys.stderr, stream
    try:
        yield
    finally:
        sys.stderr = kept


def _streams(bench: Bench, random: Random, model: Embedder) -> None:
    """Many texts while stderr is None, closed or not a file, with a progress bar and without."""
    closed = io.StringIO()
    closed.close()
    stream = random.choice((None, closed, _Odd(), _Bare(), io.StringIO()))
    texts = ["the cat sat"] * random.choice((3, 64, 200))
    with _stderr(stream):
        found = model.encode(texts, show_progress_bar=random.choice((None, True, False)), on_truncate="ignore")
    check_unit(found, len(texts), model.dimension, "where stderr is odd")


# The number of trials of each kind, out of about 100.
_SHARES: dict[Callable[[Bench, Random, Embedder], None], int] = {
    _batches: 30, _ids: 34, _surrogates: 5, _types: 12, _options: 14, _streams: 4,
}  # fmt: skip


def trial(bench: Bench, random: Random) -> None:
    """Make one call."""
    model = embedder(bench.bundle, random.choice(("int8", "fp32")), random.choice((1, 2)))
    random.choices(list(_SHARES), list(_SHARES.values()))[0](bench, random, model)


def long_trial(bench: Bench, random: Random) -> None:
    """Embed one text of some megabytes."""
    _long(bench, random, embedder(bench.bundle, "int8"))
