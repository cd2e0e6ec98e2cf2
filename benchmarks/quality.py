"""How good are the vectors? Every encoder of a checkpoint, on the same texts, in one run.

python benchmarks/quality.py --help
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from chart import draw, require_matplotlib
from embedge.errors import EmbedgeError
from embedge.inference.cpu import usable_cores
from evaluate import Score, Texts, Vectors, embed, prepare, score
from machine import describe, this_machine
from peers.table import BASELINE, PEERS, Peer, choose
from peers.workbench import Workbench, open_workbench
from report import Result, table, write_json
from tasks import DataNotFoundError, data_folder, read_collection, read_pairs

_CALIBRATION = 300  # texts of STS-B's dev split; NNCF and optimum-intel take as many by default


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-m", "--model", default="all-MiniLM-L6-v2", show_default=True, help="Recipe, hub id or checkpoint's DIR."
)
@click.option("--like", metavar="RECIPE", help="What a directory was fine-tuned from: its pooling and prompts.")
@click.option("--only", metavar="NAME", multiple=True, help="Rows to compute; * stands for anything. Several times.")
@click.option("--max-tokens", type=click.IntRange(min=8), default=256, show_default=True, help="Cut texts to that.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Cores to use; all by default.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the results there.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw them there: .png or .svg.")
@click.option("--list", "list_rows", is_flag=True, help="Show the rows, and which can be computed here; then stop.")
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
    """Measure the quality of embedge's graphs and of other libraries' on one checkpoint.

    STS-B test (Spearman of cosines with the gold scores) and Cranfield (nDCG@10, recall@100), all in points of 100, and
    the cosine to embedge's fp32 vectors of STS-B's sentences. $EMBEDGE_DATA names the folder with the data. Rows of
    libraries that are not installed are left out, and said to be. Everything is made anew, in a temporary folder.

    \b
    python benchmarks/quality.py
    python benchmarks/quality.py --only 'embedge-*' --only ctranslate2-int8
    python benchmarks/quality.py --model ./my-fine-tune --like bge-small-en-v1.5 --json quality.json --plot quality.png
    """
    try:
        rows = choose(only)
        if list_rows:
            _list(rows)
            return
        if plot:
            require_matplotlib()
        for file in (json_file, plot):  # before minutes of work, not after
            if file and not file.parent.is_dir():
                raise click.UsageError(f"{file.parent} is no directory; make it, or name another")
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
        absent = f" (not installed: {', '.join(peer.missing())})" if peer.missing() else ""
        click.echo(f"{peer.name:<{width}}  {peer.about}{absent}")


def run(rows: Sequence[Peer], model: str, *, like: str | None, max_tokens: int, threads: int) -> Result:
    """Every row that can be computed here; the baseline first, since the others are compared with it."""
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
        absent = {peer.name: f"not installed: {', '.join(peer.missing())}" for peer in rows if peer.missing()}
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
    """The rows in order; the baseline is computed in any case, and is a row where it is wanted."""
    first = next(peer for peer in PEERS if peer.name == BASELINE)
    baseline, size = _embed(first, bench, texts)
    for peer in rows:
        found, bytes_ = (baseline, size) if peer == first else _embed(peer, bench, texts)
        yield peer.name, score(found, texts, baseline=baseline, size=bytes_)


def _embed(peer: Peer, bench: Workbench, texts: Texts) -> tuple[Vectors, int]:
    """An encoder's vectors and size, and its progress on stderr."""
    click.echo(f"{peer.name}: made ", err=True, nl=False)
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
        click.echo(f"{name}: {why}; benchmarks/README.md has the line that installs it")


if __name__ == "__main__":
    main()
