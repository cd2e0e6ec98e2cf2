"""Compare embedge on a graphics card with sentence-transformers in half precision, with the same weights.

python -m benchmarks.gpu --help
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

import click

from benchmarks.measure.comparison import BuiltPeer, Comparison, open_comparison, short_and_long, text_of
from benchmarks.measure.device_memory import MemoryGrowth, read_device
from benchmarks.measure.gpu_start import QUERY, Start, start
from benchmarks.measure.gpu_sweep import print_sweep, sweep
from benchmarks.measure.options import Setup, comparison_options
from benchmarks.peers.process import PeerFailedError, PeerProcess
from benchmarks.peers.table import GPU_PEERS
from benchmarks.report.gpu_report import GpuResult, Mixed, print_result
from benchmarks.report.machine_info import this_machine
from benchmarks.report.speed_report import Figures
from benchmarks.report.tables import write_json

OWN = "embedge-fp16"
_CALLS = 50  # with one query, in a round
_PARTS = 10  # of the mixed texts; memory is measured after each
_QUICK = {"rounds": 2, "short": 1024, "long": 256, "mixed": 20_000}
_RESULTS = Path(__file__).parent / "results"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@comparison_options
@click.option("--device", metavar="DEVICE", default="cuda", show_default=True, help="cuda, cuda:N, or cpu for a trial.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--short", type=click.IntRange(min=1), default=2552, show_default=True, help="Number of STS-B sentences.")
@click.option("--long", type=click.IntRange(min=1), default=1200, show_default=True, help="Number of documents.")
@click.option(
    "--mixed",
    type=click.IntRange(min=_PARTS),
    default=100_000,
    show_default=True,
    help="Number of texts along which memory is measured.",
)
@click.option("--quick", is_flag=True, help="Fewer rounds and texts, to see that all works.")
@click.option("--sweep", "only_sweep", is_flag=True, help="Compare token budgets and padding instead of libraries.")
def main(
    setup: Setup, device: str, rounds: int, short: int, long: int, mixed: int, quick: bool, only_sweep: bool
) -> None:
    """Measure embedge in fp16 and fp32, and sentence-transformers in float16 and bfloat16, on one card.

    Each peer starts in a new process, which shows its load time, its first text, texts of new lengths and its memory.
    sentence-transformers gets the fastest of its batch sizes 32, 128 and 512, for each kind of text. Then all processes
    stay, and embed all texts in rounds, embedge-fp16 just before each peer. A speed-up is the median ratio of the
    rounds. At the end, a new process of embedge-fp16 embeds many texts of mixed lengths, and memory is measured along
    the way.

    \b
    python -m benchmarks.gpu --shape base --json benchmarks/results/gpu-bge-base.json
    python -m benchmarks.gpu --quick --sweep
    """
    if device == "cpu" and setup.json_file and setup.json_file.resolve().parent == _RESULTS:
        raise click.UsageError("a trial on the CPU is no result; choose a file outside of benchmarks/results")
    if quick:
        rounds, short, long, mixed = _QUICK["rounds"], _QUICK["short"], _QUICK["long"], min(mixed, _QUICK["mixed"])
    setup = replace(setup, device=device, patterns=(OWN,) if only_sweep else setup.patterns)
    with open_comparison(setup, own=OWN, table=GPU_PEERS) as comparison:
        texts = short_and_long(comparison, {"short": short, "long": long})
        try:
            result = (
                sweep(comparison, texts, rounds, device)
                if only_sweep
                else _compare(comparison, texts, rounds, mixed, setup)
            )
        except PeerFailedError as error:
            raise click.ClickException(str(error)) from error
    if isinstance(result, GpuResult):
        print_result(result)
    else:
        print_sweep(result)
    if setup.json_file:
        write_json(result, setup.json_file)


def _compare(
    comparison: Comparison, texts: Mapping[str, Sequence[str]], rounds: int, mixed: int, setup: Setup
) -> GpuResult:
    kinds = {kind: comparison.write_texts(kind, of_kind) for kind, of_kind in texts.items()}
    with ExitStack() as stack:
        running = _start_all(stack, comparison, kinds)
        figures = _figures(comparison, running, kinds, {kind: len(of_kind) for kind, of_kind in texts.items()}, rounds)
    return GpuResult(
        model=comparison.model,
        device=read_device(setup.device),
        threads=setup.threads,
        figures=figures,
        starts={name: shown for name, (_, shown) in running.items()},
        mixed=_along_mixed(comparison, texts, mixed),
        left_out=comparison.left_out,
        machine=this_machine(),
    )


def _start_all(
    stack: ExitStack, comparison: Comparison, kinds: Mapping[str, str]
) -> dict[str, tuple[PeerProcess, Start]]:
    """Start every peer; one that fails is left out, unless it is embedge."""
    running: dict[str, tuple[PeerProcess, Start]] = {}
    for built in list(comparison.peers):
        click.echo(f"{built.peer.name}: starting", err=True)
        try:
            running[built.peer.name] = start(stack, comparison, built, kinds)
        except PeerFailedError as error:
            if built.peer.name == comparison.own:
                raise
            comparison.leave_out(built, str(error), {})
    return running


def _figures(
    comparison: Comparison,
    running: Mapping[str, tuple[PeerProcess, Start]],
    kinds: Mapping[str, str],
    counts: Mapping[str, int],
    rounds: int,
) -> dict[str, Figures]:
    query = text_of(comparison, QUERY)

    def measure(built: BuiltPeer) -> dict[str, float]:
        process, shown = running[built.peer.name]
        figures = {}
        for kind, path in kinds.items():
            answer = process.ask("encode_batches", texts=path, batch=shown.batch[kind])
            figures[kind] = counts[kind] / answer["seconds"]
        return {**figures, "query": median(process.ask("latency", text=query, count=_CALLS)["milliseconds"])}

    runs = comparison.run_rounds(rounds, measure)
    return {kind: Figures.of(of_kind, lower_is_better=kind == "query") for kind, of_kind in runs.items()}


def _along_mixed(comparison: Comparison, texts: Mapping[str, Sequence[str]], count: int) -> Mixed:
    """A new process of embedge, alone on the device. Each part has other texts, so that new shapes keep coming."""
    own = next(built for built in comparison.peers if built.peer.name == comparison.own)
    click.echo(f"{count:,} mixed texts", err=True)
    part, rates, memory = count // _PARTS, [], []
    growth = MemoryGrowth(own.kit.device)
    with PeerProcess(own.peer, own.kit) as process:
        for number in range(_PARTS):
            path = comparison.write_texts("mixed", mixed_texts(texts, part, seed=number))
            rates.append(part / process.ask("encode", texts=path)["seconds"])
            memory.append(growth.now())
    return Mixed(texts=part * _PARTS, texts_per_second=rates, memory=memory)


def mixed_texts(texts: Mapping[str, Sequence[str]], count: int, *, seed: int) -> list[str]:
    """Half short texts, half long ones that are cut after any number of words; in random order."""
    draw = random.Random(seed)
    mixed = [draw.choice(texts["short"]) for _ in range(count // 2)]
    for words in (draw.choice(texts["long"]).split(" ") for _ in range(count - count // 2)):
        mixed.append(" ".join(words[: draw.randint(1, len(words))]))
    draw.shuffle(mixed)
    return mixed


if __name__ == "__main__":
    main()
