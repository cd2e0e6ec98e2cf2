"""Measure quality: every encoder that can be built from one checkpoint, on the same texts.

python -m benchmarks.quality --help
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from benchmarks.data.datasets import DataNotFoundError, data_folder, read_collection, read_pairs
from benchmarks.measure.evaluate import Score, Texts, Vectors, embed, prepare, score
from benchmarks.peers.table import BASELINE, PEERS, Peer, choose
from benchmarks.peers.workbench import Workbench, open_workbench
from benchmarks.report.charts import draw, require_matplotlib
from benchmarks.report.machine_info import describe, this_machine
from benchmarks.report.quality_report import Result, table
from benchmarks.report.tables import write_json
from embedge.errors import EmbedgeError
from embedge.inference.cpu import usable_cores

_CALIBRATION = 300  # texts of STS-B's dev split; 300 is the default of NNCF and optimum-intel


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-m", "--model", default="all-MiniLM-L6-v2", show_default=True, help="Recipe, hub id or checkpoint directory."
)
@click.option(
    "--like", metavar="RECIPE", help="Recipe of the model that -m was fine-tuned from, for pooling and prompts."
)
@click.option(
    "--only", metavar="NAME", multiple=True, help="Rows to compute, such as 'embedge-*'. You can repeat this."
)
@click.option(
    "--max-tokens", type=click.IntRange(min=8), default=256, show_default=True, help="Truncate texts to so many tokens."
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Cores to use. Default: all.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="File for the results.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="File for a chart, .png or .svg.")
@click.option("--list", "list_rows", is_flag=True, help="List the rows, and the packages that they lack, and exit.")
def main(
    model: str,
    like: str | None,
    only: tuple[str, ...],
    max_tokens: int,
    threads: int | None,
    json_file: Path | None,
    plot: Path | None,
    list_rows: bool,
) -> None:
    """Measure the quality of embedge and other libraries on one checkpoint.

    The metrics are the Spearman correlation of cosines with the gold scores of STS-B's test pairs, and nDCG@10 and
    recall@100 on Cranfield, all times 100; and the cosine with embedge's fp32 vectors of STS-B's sentences. Set
    EMBEDGE_DATA to the folder of the data. The benchmark skips rows whose library is not installed, and lists them. It
    builds all files in a temporary folder.

    \b
    python -m benchmarks.quality
    python -m benchmarks.quality --only 'embedge-*' --only ctranslate2-int8
    python -m benchmarks.quality --model ./my-fine-tune --like bge-small-en-v1.5 --json quality.json --plot quality.png
    """
    try:
        rows = choose(only)
        if list_rows:
            _list(rows)
            return
        if plot:
            require_matplotlib()
        for file in (json_file, plot):  # fail before minutes of work, not after
            if file and not file.parent.is_dir():
                raise click.UsageError(f"{file.parent} is not a directory; create it, or choose another")
        result = run(rows, model, like=like, max_tokens=max_tokens, threads=threads or usable_cores())
    except (EmbedgeError, DataNotFoundError, LookupError) as error:
        raise click.ClickException(" ".join(str(error).split())) from error
    _print(result)
    if json_file:
        write_json(result, json_file)
    if plot:
        draw(result, plot)


def _list(rows: Sequence[Peer]) -> None:
    width = max(len(peer.name) for peer in rows)
    for peer in rows:
        why = peer.why_left_out()
        absent = f" ({why})" if why else ""
        click.echo(f"{peer.name:<{width}}  {peer.about}{absent}")


def run(rows: Sequence[Peer], model: str, *, like: str | None, max_tokens: int, threads: int) -> Result:
    """Compute every row whose packages are installed."""
    folder = data_folder()
    calibration = read_pairs(folder, "dev").sentences[:_CALIBRATION]
    with open_workbench(model, like=like, threads=threads, calibration=calibration) as bench:
        checkpoint = bench.checkpoint
        limit = min(max_tokens, checkpoint.max_tokens)
        texts = prepare(
            read_pairs(folder),
            read_collection(folder),
            bench.tokenizer(),
            max_tokens=limit,
            prompts=checkpoint.prompts,
        )
        absent = {peer.name: why for peer in rows if (why := peer.why_left_out())}
        wanted = [peer for peer in rows if peer.name not in absent]
        scores = dict(_scores(wanted, bench, texts))
    return Result(
        model=checkpoint.fetched.name,
        origin=checkpoint.fetched.origin,
        max_tokens=limit,
        baseline=BASELINE,
        scores=scores,
        about={peer.name: peer.about for peer in rows},
        left_out=absent,
        machine=this_machine(),
    )


def _scores(rows: Sequence[Peer], bench: Workbench, texts: Texts) -> Iterator[tuple[str, Score]]:
    """The rows in order. The baseline is always computed, and is a row only where it is wanted."""
    first = next(peer for peer in PEERS if peer.name == BASELINE)
    baseline, size = _embed(first, bench, texts)
    for peer in rows:
        vectors, bytes_ = (baseline, size) if peer == first else _embed(peer, bench, texts)
        yield peer.name, score(vectors, texts, baseline=baseline, size=bytes_)


def _embed(peer: Peer, bench: Workbench, texts: Texts) -> tuple[Vectors, int]:
    """The vectors and the size of an encoder. Progress goes to stderr."""
    click.echo(f"{peer.name}: built ", err=True, nl=False)
    start = time.perf_counter()
    peer.build(bench)
    encoder = peer.load(bench.kit(peer.variant))
    made = time.perf_counter()
    click.echo(f"in {made - start:.0f} s, embedded ", err=True, nl=False)
    vectors = embed(encoder, texts)
    click.echo(f"in {time.perf_counter() - made:.0f} s", err=True)
    return vectors, encoder.size


def _print(result: Result) -> None:
    click.echo(f"{result.model} ({result.origin}), texts of at most {result.max_tokens} tokens")
    click.echo(describe(result.machine))
    click.echo(table(result.scores))
    for name, why in result.left_out.items():
        click.echo(f"{name}: {why}")


if __name__ == "__main__":
    main()
