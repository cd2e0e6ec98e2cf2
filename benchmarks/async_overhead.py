"""Measure what AsyncEmbedder adds to one request when nothing else is asked.

python -m benchmarks.async_overhead --help
"""

import asyncio
from statistics import median
from time import perf_counter

import click

from embedge import AsyncEmbedder, Embedder

TEXTS = {"short": "how do I bake bread?", "long": "the cat sat on the mat and looked at the dog in the garden. " * 8}
_WARM_UP = 50


async def times(model: AsyncEmbedder, text: str, count: int) -> tuple[list[float], list[float]]:
    """Return the seconds of ``encode`` and of the awaited one, ``count`` times each, one after the other."""
    plain: list[float] = []
    awaited: list[float] = []
    for run in range(_WARM_UP + count):
        begin = perf_counter()
        model.embedder.encode(text)
        middle = perf_counter()
        await model.encode(text)
        end = perf_counter()
        if run >= _WARM_UP:
            plain.append(middle - begin)
            awaited.append(end - middle)
    return plain, awaited


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model")
@click.option("--threads", type=click.IntRange(min=1), help="Cores to use. Default: all.")
@click.option("--count", type=click.IntRange(min=1), default=500, show_default=True, help="Requests of each text.")
def main(model: str, threads: int | None, count: int) -> None:
    """Measure p50 of `AsyncEmbedder.encode` and of `Embedder.encode`, which take turns.

    MODEL is a recipe's name or a bundle's path.

    \b
    python -m benchmarks.async_overhead ./bundle
    """
    opened = AsyncEmbedder.from_embedder(Embedder(model, threads=threads))
    click.echo("text   tokens  Embedder ms  AsyncEmbedder ms  added ms")
    for name, text in TEXTS.items():
        plain, awaited = (1000 * median(seconds) for seconds in asyncio.run(times(opened, text, count)))
        tokens = opened.embedder.count_tokens(text)
        click.echo(f"{name:6} {tokens:6}  {plain:11.3f}  {awaited:16.3f}  {awaited - plain:8.3f}")


if __name__ == "__main__":
    main()
