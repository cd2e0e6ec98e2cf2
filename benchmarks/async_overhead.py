"""What AsyncEmbedder adds to one request when nothing else is asked: its p50 against Embedder.encode, interleaved."""

import argparse
import asyncio
from collections.abc import Sequence
from statistics import median
from time import perf_counter

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the p50 in milliseconds of each text, and the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a recipe's name or a bundle's path")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--count", type=int, default=500)
    options = parser.parse_args(arguments)
    model = AsyncEmbedder.from_embedder(Embedder(options.model, threads=options.threads))
    print("text   tokens  Embedder ms  AsyncEmbedder ms  added ms")
    for name, text in TEXTS.items():
        plain, awaited = (1000 * median(seconds) for seconds in asyncio.run(times(model, text, options.count)))
        tokens = model.embedder.count_tokens(text)
        print(f"{name:6} {tokens:6}  {plain:11.3f}  {awaited:16.3f}  {awaited - plain:8.3f}")


if __name__ == "__main__":
    main()
