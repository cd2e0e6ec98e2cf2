"""Peers against one another: files built once, then turns, each in a fresh process.

So none is held up by another's memory, and a noisy minute strikes all alike.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import click

from embedge.errors import EmbedgeError
from options import Setup
from peers.base import Kit
from peers.environment import EnvironmentFailedError, python_with
from peers.padded import open_tokenizer
from peers.process import PeerFailedError
from peers.table import SPEED_PEERS, Peer, choose
from peers.workbench import Workbench, open_workbench
from seeded import write_seeded
from tasks import DataNotFoundError, cut, data_folder, read_collection, read_pairs

OWN = "embedge-int8"  # what all others are compared with
_MODEL = "bge-small-en-v1.5"  # in the folder of test data: its config and tokenizer
_CALIBRATION = 300  # texts of STS-B's dev split, as in quality.py


@dataclass(frozen=True, slots=True)
class Entrant:
    """A peer and the files that it is loaded from."""

    peer: Peer
    kit: Kit


@dataclass(frozen=True, slots=True)
class Turns:
    """One figure of every peer in every round.

    Attributes:
        values: by peer; embedge's are those beside all others.
        beside: embedge's figure just before, by peer: a noisy minute then strikes both.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    beside: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, theirs: float, own: float) -> None:
        """One turn of a peer."""
        self.values.setdefault(OWN, []).append(own)
        if name != OWN:
            self.values.setdefault(name, []).append(theirs)
            self.beside.setdefault(name, []).append(own)

    def times_better(self, *, lower_is_better: bool) -> dict[str, float]:
        """How many times better embedge is than each: the median of the ratios of every turn.

        >>> turns = Turns()
        >>> turns.add("other", 5, 10), turns.add("other", 10, 30)
        (None, None)
        >>> turns.times_better(lower_is_better=False)
        {'embedge-int8': 1.0, 'other': 2.5}
        """
        pairs = {name: zip(self.beside.get(name, own), own, strict=True) for name, own in self.values.items()}
        return {
            name: median(theirs / own if lower_is_better else own / theirs for own, theirs in turns)
            for name, turns in pairs.items()
        }


@dataclass(slots=True)
class Contest:
    """Who takes part, and who cannot.

    Attributes:
        model: what all are made of.
        config: its config.json.
        max_tokens: that it reads of a text.
        entrants: in order.
        left_out: the others by name, and why.
        folder: for the texts' files.
    """

    model: str
    config: Mapping[str, Any]
    max_tokens: int
    entrants: list[Entrant]
    left_out: dict[str, str]
    folder: Path

    def in_turns(self, rounds: int, measure: Callable[[Entrant], Mapping[str, float]]) -> dict[str, Turns]:
        """Figures of every entrant in every round, each with embedge's just before; one that fails is left out.

        Args:
            rounds: how many.
            measure: starts a process, and raises PeerFailedError where it ends; its figures by name.

        Returns:
            The turns of each figure, by its name.

        Raises:
            ClickException: embedge itself fails, with which all are compared, or every peer does.
        """
        found: dict[str, Turns] = {}
        own = next(entrant for entrant in self.entrants if entrant.peer.name == OWN)
        for turn in range(rounds):
            for entrant in [entrant for entrant in self.entrants if entrant is not own] or [own]:
                try:
                    beside = measure(own)
                except PeerFailedError as error:
                    raise click.ClickException(str(error)) from error
                try:
                    theirs = beside if entrant is own else measure(entrant)
                except PeerFailedError as error:
                    self._leave_out(entrant, str(error), found)
                    continue
                for name, figure in theirs.items():
                    found.setdefault(name, Turns()).add(entrant.peer.name, figure, beside[name])
                told = ", ".join(f"{name} {figure:.4g} ({beside[name]:.4g})" for name, figure in theirs.items())
                click.echo(f"round {turn + 1} of {rounds}: {entrant.peer.name}: {told}", err=True)
        if not found:
            raise click.ClickException(f"no peer could be measured: {'; '.join(self.left_out.values())}")
        return found

    def _leave_out(self, entrant: Entrant, why: str, found: Mapping[str, Turns]) -> None:
        click.echo(f"{entrant.peer.name}: {why}", err=True)
        self.left_out[entrant.peer.name] = why
        self.entrants.remove(entrant)
        for turns in found.values():
            turns.values.pop(entrant.peer.name, None)

    def write_texts(self, name: str, texts: Sequence[str]) -> str:
        """Path of a file from which processes read the texts."""
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(texts), encoding="utf-8")
        return str(path)


@contextmanager
def open_contest(setup: Setup) -> Iterator[Contest]:
    """Build the files of embedge and of the peers that the setup names.

    Raises:
        ClickException: a pattern names no peer, the data are not there, or the checkpoint cannot be had; says which.
    """
    try:
        peers = choose([] if "all" in setup.patterns else setup.patterns, SPEED_PEERS)
        if all(peer.name != OWN for peer in peers):
            peers = (*choose([OWN], SPEED_PEERS), *peers)
        with tempfile.TemporaryDirectory(prefix="embedge-bench-", ignore_cleanup_errors=True) as folder:
            source = setup.model or str(
                write_seeded(setup.shape, _published(), Path(folder) / f"bge-{setup.shape}-seeded")
            )
            calibration = read_pairs(data_folder(), "dev").sentences[:_CALIBRATION]
            with open_workbench(source, like=setup.like, threads=setup.threads, calibration=calibration) as bench:
                checkpoint = bench.checkpoint
                contest = Contest(
                    checkpoint.fetched.name, checkpoint.config, checkpoint.max_tokens, [], {}, Path(folder)
                )
                for peer in peers:
                    _enter(contest, peer, bench)
                yield contest
    except (EmbedgeError, LookupError, DataNotFoundError) as error:
        raise click.ClickException(" ".join(str(error).split())) from error


def _published() -> Path:
    folder = data_folder() / _MODEL
    if not (folder / "tokenizer.json").is_file():
        raise DataNotFoundError(
            f"{folder} has no tokenizer.json; put the config and tokenizer of BAAI/{_MODEL} there, or give -m MODEL"
        )
    return folder


def _enter(contest: Contest, peer: Peer, bench: Workbench) -> None:
    """Build a peer's files; or note why not."""
    if missing := peer.missing():
        contest.left_out[peer.name] = f"not installed: {', '.join(missing)}"
        return
    click.echo(f"{peer.name}: building", err=True)
    try:
        python_with(peer.environment, peer.without)
    except EnvironmentFailedError as error:
        contest.left_out[peer.name] = str(error)
        return
    peer.build(bench)
    contest.entrants.append(Entrant(peer, bench.kit(peer.variant)))


def short_and_long(contest: Contest, count: Mapping[str, int]) -> dict[str, list[str]]:
    """STS-B's sentences (about 14 tokens) and Cranfield's documents (about 215), so many of each kind.

    What is beyond the model's longest text is cut off here, once: some libraries would do so and some fail.
    """
    folder, tokenizer = data_folder(), open_tokenizer(contest.entrants[0].kit.folder)
    texts = {"short": read_pairs(folder).sentences, "long": read_collection(folder).documents}
    return {kind: cut(texts[kind][: count[kind]], tokenizer, max_tokens=contest.max_tokens) for kind in texts}
