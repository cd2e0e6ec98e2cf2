"""Measure the share of the processor's peak rate of multiplications that embedge and its peers reach.

python -m benchmarks.roofline --help
"""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from benchmarks.measure.comparison import BuiltPeer, Comparison, open_comparison, short_and_long
from benchmarks.measure.options import Setup, comparison_options, kernel_options
from benchmarks.measure.processor_peak import measure_peak
from benchmarks.peers.padded import open_tokenizer
from benchmarks.peers.process import PeerProcess
from benchmarks.report.speed_report import Figures, publish


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@comparison_options
@kernel_options
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--short", type=click.IntRange(min=1), default=512, show_default=True, help="Number of STS-B sentences.")
@click.option(
    "--long", type=click.IntRange(min=1), default=64, show_default=True, help="Number of Cranfield documents."
)
def main(setup: Setup, rounds: int, short: int, long: int) -> None:
    """Measure the share of the int8 peak that each peer reaches.

    The peak is the best rate of ONNX Runtime's product of uint8 rows and int8 weights on one core, times the number of
    cores. The rate of a peer is the number of multiply-adds in the model's linear layers, without padding, divided by
    the whole time, which includes tokenisation, attention and normalisation. Work that an encoder can skip, such as
    most of the last layer with CLS pooling, counts as done. Every round measures the peak, too.

    \b
    python -m benchmarks.roofline --threads 1 --peers '*-tuned'
    """
    peaks: dict[str, list[float]] = {"int8": [], "float32": []}
    with open_comparison(setup) as comparison:
        figures = {}
        for kind, texts in short_and_long(comparison, {"short": short, "long": long}).items():
            work = multiply_adds(comparison.config, _tokens(comparison, texts))
            figures[kind] = _measure(comparison, kind, texts, work, rounds, peaks)
    click.echo(
        ", ".join(
            f"{kind}: {max(rates) / 1e9:.0f} billion multiply-adds per second and core" for kind, rates in peaks.items()
        )
    )
    publish(setup, comparison, what="% of the int8 peak", figures=figures)


def multiply_adds(config: Mapping[str, Any], tokens: int) -> int:
    """The multiply-adds of all linear layers of a BERT encoder for ``tokens`` tokens, without attention's products.

    >>> bge_small = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12}
    >>> multiply_adds(bge_small, 1)
    21233664
    """
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    return int(tokens * config["num_hidden_layers"] * (4 * hidden * hidden + 2 * hidden * wide))


def _tokens(comparison: Comparison, texts: Sequence[str]) -> int:
    tokenizer = open_tokenizer(comparison.peers[0].kit.folder)
    return sum(len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts)))


def _measure(
    comparison: Comparison, kind: str, texts: Sequence[str], work: int, rounds: int, peaks: Mapping[str, list[float]]
) -> Figures:
    path = comparison.write_texts(kind, texts)

    def measure(built: BuiltPeer) -> dict[str, float]:
        for name, rates in peaks.items():
            rates.append(measure_peak(name))
        with PeerProcess(built.peer, built.kit) as process:
            process.ask("encode", texts=path)
            seconds: float = process.ask("encode", texts=path)["seconds"]
        return {"%": 100 * work / seconds / (peaks["int8"][-1] * built.kit.threads)}

    return Figures.of(comparison.run_rounds(rounds, measure)["%"], lower_is_better=False)


if __name__ == "__main__":
    main()
