"""Measure what a data engine adds to plain `Embedder.encode`, from Parquet to Parquet.

python -m benchmarks.engines --help
"""

import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import click
import numpy as np

from benchmarks.measure.engine_jobs import Job, daft_native, spark_local
from embedge import Embedder

WORDS = ["bread", "dough", "oven", "yeast", "flour", "water", "salt", "butter", "rice", "beans", "onion", "knife"]
BLOCK_ROWS = 2_500

# Starts an engine with the bundle at a path and a number of cores, and gives its job.
Engine = Callable[[str, int], AbstractContextManager[Job]]


@contextmanager
def plain(model: str, cores: int) -> Iterator[Job]:
    """What the others are compared with: pyarrow reads and writes, and one ``Embedder`` has all cores."""
    import pyarrow.parquet as pq

    from embedge.integrations.tables import embed_rows

    embedder = Embedder(model, threads=cores)

    def run(source: Path, target: Path) -> None:
        target.mkdir()
        pq.write_table(embed_rows(embedder, pq.read_table(source)), target / "vectors.parquet")

    yield run


@contextmanager
def ray_data(model: str, cores: int) -> Iterator[Job]:
    """Ray Data by ``embed_dataset``, in local mode."""
    import ray

    from embedge.integrations.ray import embed_dataset

    ray.init(num_cpus=cores, object_store_memory=500_000_000, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False

    def run(source: Path, target: Path) -> None:
        ds = ray.data.read_parquet(str(source))
        options = {"truncated_column": None}
        embed_dataset(ds, model, cpus=cores, block_rows=BLOCK_ROWS, options=options).write_parquet(str(target))

    try:
        yield run
    finally:
        ray.shutdown()


ENGINES: Mapping[str, Engine] = {"plain": plain, "ray": ray_data, "daft": daft_native, "spark": spark_local}


def write_documents(folder: Path, rows: int) -> None:
    """Write rows of 8 to 24 words in four files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    random = np.random.default_rng(0)
    for number, ids in enumerate(np.array_split(np.arange(rows), 4)):
        texts = [" ".join(random.choice(WORDS, random.integers(8, 25))) for _ in ids]
        pq.write_table(pa.table({"id": ids, "text": texts}), folder / f"{number}.parquet", row_group_size=BLOCK_ROWS)


def vectors_of(folder: Path) -> Any:
    """Return the vectors that a job wrote, in the order of the ids, float32 [rows, dimension]."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder).sort_by("id")
    return rows.column("embedding").combine_chunks().flatten().to_numpy().reshape(len(rows), -1)


def measure_on(cores: Collection[int], names: list[str], model: str, rows: int, rounds: int) -> dict[str, Any]:
    """Return what ``measure`` finds on these cores; in a process of its own.

    The threads and processes of an engine keep the cores that were allowed when they were started: Daft's and Spark's
    outlive a job, and would run the next one on the cores of the first.
    """
    os.sched_setaffinity(0, cores)
    with tempfile.TemporaryDirectory(prefix="engines") as folder:
        return measure(names, model, len(cores), rows, rounds, Path(folder))


def measure(names: list[str], model: str, cores: int, rows: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Return the seconds of each engine's jobs, which take turns, and whether its vectors are those of plain.

    Each engine runs a whole job and one of a quarter of the rows. What the whole one takes longer, it spends on the
    other rows; so the time in which actors start and load the model is not in ``rows_per_second``.
    """
    sizes = {"whole": rows, "quarter": rows // 4}
    for size, count in sizes.items():
        write_documents(folder / size, count)
    seconds: dict[str, dict[str, list[float]]] = {name: {size: [] for size in sizes} for name in names}
    same = {}
    for round_number in range(rounds):
        for name in names:
            with ENGINES[name](model, cores) as job:
                for size in sizes:
                    target = folder / f"{name}-{size}-{round_number}"
                    begin = perf_counter()
                    job(folder / size, target)
                    seconds[name][size].append(perf_counter() - begin)
            found = vectors_of(folder / f"{name}-whole-{round_number}")
            expected = vectors_of(folder / f"plain-whole-{round_number}")
            same[name] = found.tobytes() == expected.tobytes()
    return {name: _figures(seconds[name], sizes, same[name]) for name in names}


def _figures(seconds: dict[str, list[float]], sizes: Mapping[str, int], same: bool) -> dict[str, Any]:
    whole, quarter = median(seconds["whole"]), median(seconds["quarter"])
    rate = (sizes["whole"] - sizes["quarter"]) / (whole - quarter)
    return {
        "job_seconds": whole,
        "rows_per_second": rate,
        "start_seconds": whole - sizes["whole"] / rate,
        "bitwise_equal": same,
        "seconds": seconds,
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model")
@click.option("--only", "only", multiple=True, type=click.Choice(list(ENGINES)), help="Engines beside plain. All.")
@click.option("--cores", multiple=True, type=click.IntRange(min=1), help="Numbers of cores. Default: 1 and 2.")
@click.option("--rows", type=click.IntRange(min=8_000), default=20_000, show_default=True, help="Rows of a job.")
@click.option("--rounds", type=click.IntRange(min=1), default=1, show_default=True, help="Turns of each engine.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write all digits.")
def main(model: str, only: tuple[str, ...], cores: tuple[int, ...], rows: int, rounds: int, path: Path | None) -> None:
    """Measure each engine's job from Parquet to Parquet, and plain `encode` in turn with it.

    MODEL is a bundle's path.

    \b
    python -m benchmarks.engines ./bundle --only ray
    """
    names = ["plain", *(name for name in ENGINES if name in (only or ENGINES) and name != "plain")]
    results = {}
    allowed = sorted(os.sched_getaffinity(0))
    click.echo("engine  cores  rows/s  of plain  start s  job s  job/plain  bitwise equal")
    for count in cores or (1, 2):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            arguments = allowed[:count], names, str(Path(model).absolute()), rows, rounds
            found = results[count] = fresh.submit(measure_on, *arguments).result()
        base = found["plain"]
        for name, one in found.items():
            share, times = one["rows_per_second"] / base["rows_per_second"], one["job_seconds"] / base["job_seconds"]
            click.echo(
                f"{name:6} {count:6} {one['rows_per_second']:7.0f} {share:9.2f} {one['start_seconds']:8.1f} "
                f"{one['job_seconds']:6.1f} {times:10.2f}  {one['bitwise_equal']}"
            )
    if path:
        path.write_text(json.dumps({"rows": rows, "rounds": rounds, "cores": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
