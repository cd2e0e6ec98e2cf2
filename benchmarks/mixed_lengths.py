"""Measure what it brings that the kernels skip padding: texts of any lengths share a batch.

python -m benchmarks.mixed_lengths --help
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from time import perf_counter

import click
import numpy as np

from benchmarks.data.mixed_texts import mixed_texts
from benchmarks.report.machine_info import describe, this_machine
from embedge import AsyncEmbedder, Embedder
from embedge.async_model import scheduler_of
from embedge.inference.schedule import CpuSchedule, Schedule
from embedge.inference.unpadded_schedule import UnpaddedSchedule

_SIZES = (1500, 100, 20)  # texts of a call
_CLIENTS = 32


def seconds_of_calls(
    model: Embedder, schedules: Mapping[str, Schedule], texts: Sequence[str], rounds: int
) -> dict[str, float]:
    """Return the median seconds of one call with each schedule; they take turns. Their vectors must be equal."""
    seconds: dict[str, list[float]] = {name: [] for name in schedules}
    vectors = {}
    for turn in range(rounds + 1):
        for name, schedule in schedules.items():
            model._engine.schedule = schedule
            begin = perf_counter()
            vectors[name] = model.encode(texts)
            if turn:  # the first turn warms up
                seconds[name].append(perf_counter() - begin)
    first, *others = vectors.values()
    if not all(np.array_equal(first, other) for other in others):
        raise click.ClickException("the vectors depend on the schedule; please report this with `embedge info`")
    return {name: median(found) for name, found in seconds.items()}


async def seconds_of_clients(model: Embedder, texts: Sequence[str]) -> tuple[float, float]:
    """Return the seconds in which 32 coroutines embed all texts, each one at a time, and the texts of a batch."""
    queue = AsyncEmbedder.from_embedder(model)
    rows: list[int] = []
    scheduler_of(queue).observe(lambda count, tokens: rows.append(count))
    left: Iterator[str] = iter(texts)

    async def client() -> None:
        for text in left:
            await queue.encode(text)

    begin = perf_counter()
    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    seconds = perf_counter() - begin
    await queue.close()
    return seconds, mean(rows)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", type=click.IntRange(min=1), default=8, show_default=True, help="Turns of each way.")
def main(bundle: Path, rounds: int) -> None:
    """Compare batches of texts of equal token count with batches of texts of any length, for BUNDLE with the kernels.

    Each line has one call with so many texts of 5 to 60 words, both ways in turns, and the ratio of their times. The
    last lines have 32 coroutines that ask for one text at a time: their rate as a share of that of one call, and the
    texts of a batch. The vectors of both ways are compared, bit for bit.

    \b
    python -m benchmarks.mixed_lengths ./bundle
    """
    model = Embedder(bundle, kernels=True)
    schedules = {"equal": CpuSchedule(), "any": UnpaddedSchedule(model._engine.workers.cores)}
    texts = mixed_texts(max(_SIZES))
    click.echo(f"{describe(this_machine())}, kernels {model.kernels}")
    for size in _SIZES:
        found = seconds_of_calls(model, schedules, texts[:size], rounds)
        times = ", ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in found.items())
        click.echo(f"{size:5} texts in one call: {times}, ratio {found['equal'] / found['any']:.2f}")
    for name, schedule in schedules.items():
        model._engine.schedule = schedule
        shares, rows = [], []
        for _ in range(3):
            begin = perf_counter()
            model.encode(texts)
            in_one_call = perf_counter() - begin
            seconds, texts_of_batch = asyncio.run(seconds_of_clients(model, texts))
            shares.append(in_one_call / seconds)
            rows.append(texts_of_batch)
        share, in_a_batch = median(shares), median(rows)
        click.echo(f"{_CLIENTS} coroutines, {name} length: {share:.2f} of one call, {in_a_batch:.1f} texts in a batch")


if __name__ == "__main__":
    main()
