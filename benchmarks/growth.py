"""Does embedge keep its pace and its memory as the work grows, and use every core that it is given?

python benchmarks/growth.py --help
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import click

from contest import OWN, Contest, open_contest, short_and_long
from machine import Machine, describe, this_machine
from options import Setup, contest_options
from peers.process import PeerProcess
from report import align, write_json

_COUNTS = (100, 1_000, 10_000, 100_000)
_BY_CORES = {"short": 1024, "long": 256}
_SAMPLES = 10  # of memory along a stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A run.

    Attributes:
        model: what was measured.
        threads: cores, but for ``by_cores``.
        by_count: texts per second of each round, by the number of short texts in one call.
        by_cores: texts per second of each round, by the number of cores and the kind of text.
        stream: texts in the stream.
        resident: bytes of the process, at equal distances along it.
        documents: long texts in one call.
        peak: the most bytes that a process held which made that call alone.
        machine: where it was measured.
    """

    model: str
    threads: int
    by_count: Mapping[int, Sequence[float]]
    by_cores: Mapping[str, Mapping[int, Sequence[float]]]
    stream: int
    resident: Sequence[int]
    documents: int
    peak: int
    machine: Machine


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@contest_options
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--most", type=click.IntRange(min=100), default=100_000, show_default=True, help="Texts of one call.")
@click.option("--stream", type=click.IntRange(min=10), default=1_000_000, show_default=True, help="Texts in a stream.")
@click.option("--documents", type=click.IntRange(min=1), default=10_000, show_default=True, help="In one call.")
def main(setup: Setup, rounds: int, most: int, stream: int, documents: int) -> None:
    """Measure texts per second of calls of growing size and of one core to all, and memory along a stream.

    Texts are STS-B's sentences, over and over; for the cores and the one call of documents, Cranfield's too. Calls of
    all sizes, and then of all numbers of cores, take turns. A million texts in the stream take a while.

    \b
    python benchmarks/growth.py
    python benchmarks/growth.py --most 10000 --stream 50000
    """
    with open_contest(replace(setup, patterns=(OWN,))) as contest:
        texts = short_and_long(contest, {"short": 100_000, "long": 1_400})
        random.Random(0).shuffle(texts["short"])  # STS-B's first sentences are the shortest
        result = Growth(
            model=contest.model,
            threads=setup.threads,
            by_count=_by_count(contest, texts["short"], [count for count in _COUNTS if count <= most], rounds),
            by_cores={kind: _by_cores(contest, kind, texts[kind][:count], rounds) for kind, count in _BY_CORES.items()},
            stream=stream,
            resident=_along_stream(contest, texts["short"], stream),
            documents=documents,
            peak=_peak(contest, texts["long"], documents),
            machine=this_machine(),
        )
    _print(result)
    if setup.json_file:
        write_json(result, setup.json_file)


def _by_count(contest: Contest, texts: Sequence[str], counts: Sequence[int], rounds: int) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {count: [] for count in counts}
    (entrant,) = contest.entrants
    path = contest.write_texts("short", texts)
    with PeerProcess(entrant.peer, entrant.kit) as process:
        process.ask("encode", texts=path)
        for turn in range(rounds):
            for count in counts:
                found[count].append(count / process.ask("encode", texts=path, count=count)["seconds"])
                click.echo(f"round {turn + 1}: {count} texts, {found[count][-1]:.0f} a second", err=True)
    return found


def _by_cores(contest: Contest, kind: str, texts: Sequence[str], rounds: int) -> dict[int, list[float]]:
    (entrant,) = contest.entrants
    path = contest.write_texts(kind, texts)
    found: dict[int, list[float]] = {cores: [] for cores in range(1, entrant.kit.threads + 1)}
    for turn in range(rounds):
        for cores, rates in found.items():
            with PeerProcess(entrant.peer, replace(entrant.kit, threads=cores)) as process:
                process.ask("encode", texts=path)
                rates.append(len(texts) / process.ask("encode", texts=path)["seconds"])
            click.echo(f"round {turn + 1}: {kind}, {cores} cores, {rates[-1]:.0f} texts a second", err=True)
    return found


def _along_stream(contest: Contest, texts: Sequence[str], count: int) -> list[int]:
    (entrant,) = contest.entrants
    click.echo(f"a stream of {count} texts", err=True)
    with PeerProcess(entrant.peer, entrant.kit) as process:
        answer = process.ask("stream", texts=contest.write_texts("short", texts), count=count, samples=_SAMPLES)
    resident: list[int] = answer["resident"]
    return resident


def _peak(contest: Contest, texts: Sequence[str], count: int) -> int:
    (entrant,) = contest.entrants
    click.echo(f"{count} documents in one call", err=True)
    with PeerProcess(entrant.peer, entrant.kit) as process:
        process.ask("encode", texts=contest.write_texts("long", texts), count=count)
        peak: int = process.ask("memory")["peak"]
    return peak


def _print(result: Growth) -> None:
    click.echo(f"{result.model}, {result.threads} cores\n{describe(result.machine)}\n")
    first = median(result.by_count[min(result.by_count)])
    rows = [(f"{n:,}", f"{median(rates):.0f}", f"{median(rates) / first:.2f}") for n, rates in result.by_count.items()]
    click.echo(align([("texts in a call", "texts/s", "of the smallest"), *rows]) + "\n")
    for kind, by_cores in result.by_cores.items():
        one = by_cores[1]
        rows = [
            (str(cores), f"{median(rates):.4g}", f"{median(b / a for a, b in zip(one, rates, strict=True)):.2f}")
            for cores, rates in by_cores.items()
        ]
        click.echo(align([(f"cores, {kind} texts", "texts/s", "times one core"), *rows]) + "\n")
    megabytes = [f"{resident / 1e6:.0f}" for resident in result.resident]
    click.echo(f"MB along a stream of {result.stream:,} texts: {', '.join(megabytes)}")
    click.echo(f"MB at most for {result.documents:,} documents in one call: {result.peak / 1e6:.0f}")


if __name__ == "__main__":
    main()
