"""Compare peers: build their files once, then measure them in rounds, each measurement in a new process.

A new process does not inherit the memory of another peer. In rounds, noise of the machine affects all peers alike.
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

from benchmarks.data.datasets import DataNotFoundError, cut, data_folder, read_collection, read_pairs
from benchmarks.data.seeded import write_seeded
from benchmarks.data.seeded_m3 import write_seeded_m3
from benchmarks.measure.options import M3, Setup
from benchmarks.peers.base import Kit
from benchmarks.peers.padded import open_tokenizer
from benchmarks.peers.process import PeerFailedError
from benchmarks.peers.table import OWN, SPEED_PEERS, Peer, choose, fused_peer
from benchmarks.peers.virtual_environment import EnvironmentFailedError, python_with
from benchmarks.peers.workbench import Workbench, open_workbench
from embedge.errors import CheckpointError, EmbedgeError

_MODEL = "bge-small-en-v1.5"  # the folder of test data has its config and tokenizer
_CALIBRATION = 300  # texts of STS-B's dev split, as in quality.py


@dataclass(frozen=True, slots=True)
class BuiltPeer:
    """A peer, and the files from which it is loaded."""

    peer: Peer
    kit: Kit


@dataclass(frozen=True, slots=True)
class PairedRuns:
    """One figure of every peer in every round, each paired with embedge's figure from just before.

    Attributes:
        values: the figures of each round, by peer; embedge has one for each figure of the others.
        own: embedge's figures from just before, by peer, so that noise of the machine affects both of a pair.
        baseline: the name of the peer that is embedge's figure.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    own: dict[str, list[float]] = field(default_factory=dict)
    baseline: str = OWN

    def add(self, name: str, theirs: float, own: float) -> None:
        """Add the figure of a peer in one round, and embedge's."""
        self.values.setdefault(self.baseline, []).append(own)
        if name != self.baseline:
            self.values.setdefault(name, []).append(theirs)
            self.own.setdefault(name, []).append(own)

    def times_better(self, *, lower_is_better: bool) -> dict[str, float]:
        """How many times better embedge is than each peer: the median of the ratios of the pairs.

        >>> runs = PairedRuns()
        >>> runs.add("other", 5, 10), runs.add("other", 10, 30)
        (None, None)
        >>> runs.times_better(lower_is_better=False)
        {'embedge-int8': 1.0, 'other': 2.5}
        """
        pairs = {name: zip(self.own.get(name, theirs), theirs, strict=True) for name, theirs in self.values.items()}
        return {
            name: median(theirs / own if lower_is_better else own / theirs for own, theirs in paired)
            for name, paired in pairs.items()
        }


@dataclass(slots=True)
class Comparison:
    """The peers to compare, and those that cannot be compared.

    Attributes:
        model: the model of all peers.
        config: its config.json.
        max_tokens: the number of tokens at which it truncates a text.
        peers: the peers in order, with their files.
        left_out: the reason for each peer that is left out, by name.
        folder: the folder for files of texts.
        own: the name of the peer with which all others are compared.
    """

    model: str
    config: Mapping[str, Any]
    max_tokens: int
    peers: list[BuiltPeer]
    left_out: dict[str, str]
    folder: Path
    own: str = OWN

    def run_rounds(self, rounds: int, measure: Callable[[BuiltPeer], Mapping[str, float]]) -> dict[str, PairedRuns]:
        """Measure every peer in every round, and embedge just before it. A peer that fails is left out.

        Args:
            rounds: the number of rounds.
            measure: measures one peer, and returns its figures by name; raises PeerFailedError where its process ends.

        Returns:
            The paired runs of each figure, by the name of the figure.

        Raises:
            ClickException: embedge itself fails, or all other peers do.
        """
        figures: dict[str, PairedRuns] = {}
        embedge = next(built for built in self.peers if built.peer.name == self.own)
        for number in range(1, rounds + 1):
            for built in [built for built in self.peers if built is not embedge] or [embedge]:
                try:
                    own = measure(embedge)
                except PeerFailedError as error:
                    raise click.ClickException(str(error)) from error
                try:
                    theirs = own if built is embedge else measure(built)
                except PeerFailedError as error:
                    self.leave_out(built, str(error), figures)
                    continue
                for name, figure in theirs.items():
                    figures.setdefault(name, PairedRuns(baseline=self.own)).add(built.peer.name, figure, own[name])
                shown = ", ".join(f"{name} {figure:.4g} ({own[name]:.4g})" for name, figure in theirs.items())
                click.echo(f"round {number} of {rounds}: {built.peer.name}: {shown}", err=True)
        if not figures:
            raise click.ClickException(f"no peer could be measured: {'; '.join(self.left_out.values())}")
        return figures

    def leave_out(self, built: BuiltPeer, why: str, figures: Mapping[str, PairedRuns]) -> None:
        """Compare a peer no more, and forget its figures."""
        click.echo(f"{built.peer.name}: {why}", err=True)
        self.left_out[built.peer.name] = why
        self.peers.remove(built)
        for runs in figures.values():
            runs.values.pop(built.peer.name, None)

    def write_texts(self, name: str, texts: Sequence[str]) -> str:
        """Write the texts to a file from which processes read them, and return its path."""
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(texts), encoding="utf-8")
        return str(path)


@contextmanager
def open_comparison(
    setup: Setup, *, own: str | None = None, table: Sequence[Peer] = SPEED_PEERS
) -> Iterator[Comparison]:
    """Build the files of embedge, and of the peers that the setup names.

    Args:
        setup: the shared options.
        own: the name of the peer with which all others are compared; None means the one that the setup names.
        table: the peers to choose from. Those for the setup's instruction sets are added.

    Raises:
        ClickException: a pattern names no peer, or the test data or the checkpoint are missing, or what embedge's own
            row needs is not installed.
    """
    try:
        own = own or setup.baseline
        forced = tuple(map(fused_peer, setup.instruction_sets))
        peers = (*choose([] if "all" in setup.patterns else setup.patterns, table), *forced)
        if all(peer.name != own for peer in peers):
            peers = (*choose([own], table), *peers)
        with tempfile.TemporaryDirectory(prefix="embedge-bench-", ignore_cleanup_errors=True) as folder:
            source = setup.model or str(_write_seeded(setup.shape, Path(folder) / f"bge-{setup.shape}-seeded"))
            calibration = read_pairs(data_folder(), "dev").sentences[:_CALIBRATION]
            with open_workbench(source, like=setup.like, threads=setup.threads, calibration=calibration) as bench:
                checkpoint = bench.checkpoint
                comparison = Comparison(
                    checkpoint.fetched.name, checkpoint.config, checkpoint.max_tokens, [], {}, Path(folder), own
                )
                for peer in peers:
                    _build(comparison, peer, bench, setup.device)
                yield comparison
    except (EmbedgeError, LookupError, DataNotFoundError) as error:
        raise click.ClickException(" ".join(str(error).split())) from error


def _write_seeded(shape: str, folder: Path) -> Path:
    return write_seeded_m3(folder) if shape == M3 else write_seeded(shape, _published(), folder)


def _published() -> Path:
    folder = data_folder() / _MODEL
    if not (folder / "tokenizer.json").is_file():
        raise DataNotFoundError(
            f"{folder} has no tokenizer.json; copy the config and tokenizer of BAAI/{_MODEL} there, or pass `-m MODEL`"
        )
    return folder


def _build(comparison: Comparison, peer: Peer, bench: Workbench, device: str) -> None:
    """Build the files of a peer, or record why that is not possible."""
    if why := peer.why_left_out():
        if peer.name == comparison.own:
            raise click.ClickException(f"{peer.name}: {why}")
        comparison.left_out[peer.name] = why
        return
    click.echo(f"{peer.name}: building", err=True)
    try:
        python_with(peer.environment, peer.without)
    except EnvironmentFailedError as error:
        comparison.left_out[peer.name] = str(error)
        return
    try:
        peer.build(bench)
    except CheckpointError as error:  # some libraries have one shape only
        if peer.name == comparison.own:
            raise
        comparison.left_out[peer.name] = " ".join(str(error).split())
        return
    comparison.peers.append(BuiltPeer(peer, bench.kit(peer.variant, device=device)))


def short_and_long(comparison: Comparison, count: Mapping[str, int]) -> dict[str, list[str]]:
    """STS-B's sentences (about 14 tokens) and Cranfield's documents (about 215 tokens), ``count`` of each kind.

    All texts are truncated to the model's limit here, because some libraries fail on longer ones.
    """
    folder, tokenizer = data_folder(), open_tokenizer(comparison.peers[0].kit.folder)
    texts = {"short": read_pairs(folder).sentences, "long": read_collection(folder).documents}
    return {kind: cut(texts[kind][: count[kind]], tokenizer, max_tokens=comparison.max_tokens) for kind in texts}


def text_of(comparison: Comparison, tokens: int) -> str:
    """Cranfield's documents, joined and truncated to ``tokens`` tokens."""
    documents = short_and_long(comparison, {"short": 0, "long": 8})["long"]
    (text,) = cut([" ".join(documents)], open_tokenizer(comparison.peers[0].kit.folder), max_tokens=tokens)
    return text
