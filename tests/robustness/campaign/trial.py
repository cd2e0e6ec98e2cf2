"""One trial: what a kind of attack is, what it works on, and what counts as a fault."""

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

# C0 and C1 controls, and the ones that turn the direction of what follows: a terminal obeys them.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
TEXTS = ("the cat sat on the mat", "how do i bake bread?", "a dog ran far away over the blue river", "東京")


class FaultError(Exception):
    """What embedge did is wrong; says what, and behind a colon where: what stands before the first is one cause."""


class OwnError(Exception):
    """Raised by objects that are handed in: that one the caller must see as it is."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What trials work on.

    Attributes:
        checkpoint: a small one; only to be copied.
        bundle: of the checkpoint, int8 and fp32; only to be copied or loaded.
        folder: empty, for the trial alone.
    """

    checkpoint: Path
    bundle: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of attack.

    Attributes:
        name: of it.
        trial: makes one; returns where embedge did well, raises FaultError, or lets out what embedge raised.
        share: of the campaign's time, beside the others'.
        limit: seconds after which a trial hangs.
    """

    name: str
    trial: Callable[[Bench, Random], None]
    share: float
    limit: float = 20


def run_trial(kind: Kind, bench: Bench, *, seed: int, index: int) -> str | None:
    """What was wrong in one trial, in one line; None where nothing was.

    The same kind, seed and index make the same trial. Right is one of embedge's errors, in one line without control
    characters, or a right result.
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
    except BaseException as error:  # a Rust panic is no Exception
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
    """The last line of embedge's that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/embedge" in frame.filename]
    return f" [{Path(frames[-1].filename).name}:{frames[-1].lineno}]" if frames else ""


def shown(text: str) -> str:
    """A text in one line that any terminal can show, and not a long one.

    >>> shown("a\\nb\\x1b")
    'a\\\\nb\\\\x1b'
    """
    escaped = text.encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= 300 else f"{escaped[:140]} ... {escaped[-155:]}"


@contextmanager
def unheard(stream: int) -> Iterator[None]:
    """What another library writes to stdout (1) or stderr (2), by C or Rust too, is not embedge's."""
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
    """The bundle, loaded once a process."""
    return Embedder(bundle, precision=precision, threads=threads)  # type: ignore[arg-type]  # a plain string


@cache
def _expected(bundle: Path, precision: str) -> bytes:
    return encoded(embedder(bundle, precision)).tobytes()


def encoded(model: Embedder) -> NDArray[Any]:
    """Vectors of TEXTS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        return model.encode(list(TEXTS))


def check_same(found: Embedder, bench: Bench, what: str) -> None:
    """Raises FaultError where a model's vectors are not those of the bench's bundle, bitwise."""
    if encoded(found).tobytes() != _expected(bench.bundle, found.precision):
        raise FaultError(f"what is damaged is taken, and the vectors are others: {what}")


def check_unit(vectors: NDArray[Any], count: int, dimension: int, what: str) -> None:
    """Raises FaultError where vectors are no float32 [count, dimension] of length 1; a zero vector may be one."""
    if not isinstance(vectors, np.ndarray) or vectors.shape != (count, dimension) or vectors.dtype != np.float32:
        found = f"{getattr(vectors, 'dtype', type(vectors))} {np.shape(vectors)}"
        raise FaultError(f"{found} instead of vectors: {count} of them, {what}")
    if not np.isfinite(vectors).all():
        raise FaultError(f"a vector with NaN or infinity: {what}")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1)
    if wrong := [length for length in lengths if length != 0 and abs(length - 1) > 1e-5]:
        raise FaultError(f"a vector of another length than 1: {wrong[0]:.6g}, {what}")
