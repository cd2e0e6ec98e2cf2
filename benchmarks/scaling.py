"""Measure how embedge scales: throughput by number of texts and of cores, and memory along a stream.

python -m benchmarks.scaling --help
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import click

from benchmarks.measure.comparison import Comparison, open_comparison, short_and_long
from benchmarks.measure.options import Setup, comparison_options, kernel_options
from benchmarks.peers.process import PeerProcess
from benchmarks.report.machine_info import Machine, describe, this_machine
from benchmarks.report.tables import align, write_json

_COUNTS = (100, 1_000, 10_000, 100_000)
_BY_CORES = {"short": 1024, "long": 256}
_SAMPLES = 10  # measurements of memory along a stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """One run of the benchmark.

    Attributes:
        model: the name of the model.
        threads: the number of cores, except for ``by_cores``.
        by_count: texts per second in each round, by the number of short texts in one call.
        by_cores: texts per second in each round, by the kind of text and the number of cores.
        stream: the number of texts in the stream.
        resident: resident bytes of the process, at equal distances along the stream.
        documents: the number of long texts in one call.
        peak: the peak bytes of a process that makes only this call.
        machine: where the run took place.
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
@comparison_options
@kernel_options
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option(
    "--most",
    type=click.IntRange(min=100),
    default=100_000,
    show_default=True,
    help="Largest number of texts in one call.",
)
@click.option(
    "--stream", type=click.IntRange(min=10), default=1_000_000, show_default=True, help="Number of texts in a stream."
)
@click.option(
    "--documents",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Number of documents in one call.",
)
def main(setup: Setup, rounds: int, most: int, stream: int, documents: int) -> None:
    """Measure texts per second by the size of a call and by the number of cores, and memory along a stream.

    The texts are STS-B's sentences, repeated as needed. For cores, and for one call of documents, they are Cranfield's
    documents, too. All sizes of calls run in turn, and so do all numbers of cores. A stream of a million texts
    takes ten minutes or more.

    \b
    python -m benchmarks.scaling
    python -m benchmarks.scaling --most 10000 --stream 50000
    """
    with open_comparison(replace(setup, patterns=(setup.baseline,), instruction_sets=())) as comparison:
        texts = short_and_long(comparison, {"short": 100_000, "long": 1_400})
        random.Random(0).shuffle(texts["short"])  # STS-B's first sentences are the shortest
        result = Scaling(
            model=comparison.model,
            threads=setup.threads,
            by_count=_by_count(comparison, texts["short"], [count for count in _COUNTS if count <= most], rounds),
            by_cores={
                kind: _by_cores(comparison, kind, texts[kind][:count], rounds) for kind, count in _BY_CORES.items()
            },
            stream=stream,
            resident=_along_stream(comparison, texts["short"], stream),
            documents=documents,
            peak=_peak(comparison, texts["long"], documents),
            machine=this_machine(),
        )
    _print(result)
    if setup.json_file:
        write_json(result, setup.json_file)


def _by_count(
    comparison: Comparison, texts: Sequence[str], counts: Sequence[int], rounds: int
) -> dict[int, list[float]]:
    rates: dict[int, list[float]] = {count: [] for count in counts}
    (built,) = comparison.peers
    path = comparison.write_texts("short", texts)
    with PeerProcess(built.peer, built.kit) as process:
        process.ask("encode", texts=path)
        for number in range(1, rounds + 1):
            for count in counts:
                rates[count].append(count / process.ask("encode", texts=path, count=count)["seconds"])
                click.echo(f"round {number}: {count} texts, {rates[count][-1]:.0f} per second", err=True)
    return rates


def _by_cores(comparison: Comparison, kind: str, texts: Sequence[str], rounds: int) -> dict[int, list[float]]:
    (built,) = comparison.peers
    path = comparison.write_texts(kind, texts)
    by_cores: dict[int, list[float]] = {cores: [] for cores in range(1, built.kit.threads + 1)}
    for number in range(1, rounds + 1):
        for cores, rates in by_cores.items():
            with PeerProcess(built.peer, replace(built.kit, threads=cores)) as process:
                process.ask("encode", texts=path)
                rates.append(len(texts) / process.ask("encode", texts=path)["seconds"])
            click.echo(f"round {number}: {kind}, {cores} cores, {rates[-1]:.0f} texts per second", err=True)
    return by_cores


def _along_stream(comparison: Comparison, texts: Sequence[str], count: int) -> list[int]:
    (built,) = comparison.peers
    click.echo(f"a stream of {count} texts", err=True)
    with PeerProcess(built.peer, built.kit) as process:
        answer = process.ask("stream", texts=comparison.write_texts("short", texts), count=count, samples=_SAMPLES)
    resident: list[int] = answer["resident"]
    return resident


def _peak(comparison: Comparison, texts: Sequence[str], count: int) -> int:
    (built,) = comparison.peers
    click.echo(f"{count} documents in one call", err=True)
    with PeerProcess(built.peer, built.kit) as process:
        process.ask("encode", texts=comparison.write_texts("long", texts), count=count)
        peak: int = process.ask("memory")["peak"]
    return peak


def _print(result: Scaling) -> None:
    click.echo(f"{result.model}, {result.threads} cores\n{describe(result.machine)}\n")
    first = median(result.by_count[min(result.by_count)])
    rows = [(f"{n:,}", f"{median(rates):.0f}", f"{median(rates) / first:.2f}") for n, rates in result.by_count.items()]
    click.echo(align([("texts in a call", "texts/s", "relative to the smallest"), *rows]) + "\n")
    for kind, by_cores in result.by_cores.items():
        one = by_cores[1]
        rows = [
            (str(cores), f"{median(rates):.4g}", f"{median(b / a for a, b in zip(one, rates, strict=True)):.2f}")
            for cores, rates in by_cores.items()
        ]
        click.echo(align([(f"cores, {kind} texts", "texts/s", "speed-up over one core"), *rows]) + "\n")
    megabytes = [f"{resident / 1e6:.0f}" for resident in result.resident]
    click.echo(f"memory along a stream of {result.stream:,} texts, MB: {', '.join(megabytes)}")
    click.echo(f"peak memory for {result.documents:,} documents in one call, MB: {result.peak / 1e6:.0f}")


if __name__ == "__main__":
    main()
