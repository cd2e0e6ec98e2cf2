"""One trial: the kinds of attack, the bench that they work on, and the definition of a fault."""

import os
import re
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedge import Embedder, EmbedgeError, TruncationWarning

# Characters that a terminal obeys: C0 and C1 controls, marks of text direction, and lone surrogates.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
TEXTS = ("the cat sat on the mat", "how do i bake bread?", "a dog ran far away over the blue river", "東京")


class FaultError(Exception):
    """embedge did something wrong. The message names the cause, then after a colon the details."""


class OwnError(Exception):
    """Raised by objects that a trial passes in. embedge must let it through unchanged."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The files on which trials work.

    Attributes:
        checkpoint: a small checkpoint; trials may only copy it.
        bundle: its bundle, int8 and fp32; trials may only copy or load it.
        folder: an empty folder for the trial.
    """

    checkpoint: Path
    bundle: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of attack.

    Attributes:
        name: the name of the kind.
        trial: runs one trial. It returns where embedge passes, raises FaultError, or lets embedge's error through.
        share: the weight of this kind in the campaign's time.
        limit: the seconds after which a trial counts as a hang.
    """

    name: str
    trial: Callable[[Bench, Random], None]
    share: float
    limit: float = 20


def run_trial(kind: Kind, bench: Bench, *, seed: int, index: int) -> str | None:
    """Run one trial. Return its fault in one line, or None.

    The same kind, seed and index give the same trial. embedge passes with one of its own errors, in one line without
    control characters, or with a correct result.
    """
    folder = bench.folder / f"{kind.name}-{index}"
    folder.mkdir(parents=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            kind.trial(replace(bench, folder=folder), Random(f"{kind.name} {seed} {index}"))
    except FaultError as fault:
        return shown(str(fault))
    except EmbedgeError as error:
        return _wrong_message(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a Rust panic is not an Exception
        return shown(f"{_name(error)}: {error}{_place(error)}")
    finally:
        sys.stdout.flush()
        shutil.rmtree(folder, ignore_errors=True)
    return None


def _wrong_message(error: EmbedgeError) -> str | None:
    message = str(error)
    if found := CONTROL.search(message):
        return shown(f"a message with the character U+{ord(found[0]):04X}: {message}{_place(error)}")
    return None if message else f"a {_name(error)} without a message{_place(error)}"


def _name(error: BaseException) -> str:
    module = type(error).__module__
    return type(error).__name__ if module == "builtins" else f"{module}.{type(error).__name__}"


def _place(error: BaseException) -> str:
    """The last line of embedge's code in the traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/embedge" in frame.filename]
    return f" [{Path(frames[-1].filename).name}:{frames[-1].lineno}]" if frames else ""


def shown(text: str) -> str:
    """Escape a text to one line that any terminal can show, and shorten it.

    >>> shown("a\\nb\\x1b")
    'a\\\\nb\\\\x1b'
    """
    escaped = text.encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= 300 else f"{escaped[:140]} ... {escaped[-155:]}"


@contextmanager
def unheard(stream: int) -> Iterator[None]:
    """Discard what other libraries write to stdout (1) or stderr (2), also from C or Rust."""
    sys.stdout.flush()
    kept, nowhere = os.dup(stream), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, stream)
        os.close(kept)
        os.close(nowhere)


@cache
def embedder(bundle: Path, precision: str, threads: int = 1) -> Embedder:
    """The bundle, loaded once per process."""
    return Embedder(bundle, precision=precision, threads=threads)  # type: ignore[arg-type]  # a plain string


@cache
def _expected(bundle: Path, precision: str) -> bytes:
    return encoded(embedder(bundle, precision)).tobytes()


def encoded(model: Embedder) -> NDArray[Any]:
    """The vectors of TEXTS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        return model.encode(list(TEXTS))


def check_same(found: Embedder, bench: Bench, what: str) -> None:
    """Raise FaultError where a model's vectors are not bitwise those of the bench's bundle."""
    if encoded(found).tobytes() != _expected(bench.bundle, found.precision):
        raise FaultError(f"what is damaged is taken, and the vectors are others: {what}")


def check_unit(vectors: NDArray[Any], count: int, dimension: int, what: str) -> None:
    """Raise FaultError unless vectors are float32 [count, dimension], each of length 1 or 0."""
    if not isinstance(vectors, np.ndarray) or vectors.shape != (count, dimension) or vectors.dtype != np.float32:
        found = f"{getattr(vectors, 'dtype', type(vectors))} {np.shape(vectors)}"
        raise FaultError(f"{found} instead of vectors: {count} of them, {what}")
    if not np.isfinite(vectors).all():
        raise FaultError(f"a vector with NaN or infinity: {what}")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1)
    if wrong := [length for length in lengths if length != 0 and abs(length - 1) > 1e-5]:
        raise FaultError(f"a vector of another length than 1: {wrong[0]:.6g}, {what}")
