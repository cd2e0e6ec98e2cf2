"""Print the memory of a process that embeds, after each step, as lines of JSON in bytes. Linux only.

python tests/emulated/memory.py BUNDLE [THREADS]

It imports nothing but the runtime, so that it runs on a board too. The texts are random words: memory depends on the
number of tokens, not on what they mean.

    resident    RSS: all pages in memory, those of shared files included
    share       PSS: the same, with a page that n processes use counted as 1/n
    private     pages that only this process uses
    anonymous   private pages that are no file's: without swap, the kernel cannot drop them
    peak        the largest RSS so far (VmHWM)
"""

import json
import random
import sys
from pathlib import Path

_WORDS = "the a of and to in for river bread stone history computer little which garden before people water school"
_SHORT, _LONG = 1000, 32  # texts
_FIELDS = {"resident": ("Rss",), "share": ("Pss",), "private": ("Private_Clean", "Private_Dirty")}
_FIELDS |= {"anonymous": ("Anonymous",)}


def main(bundle: str, threads: int | None) -> None:
    """Load a bundle, embed a query, then short texts, then texts of 512 tokens."""
    _report("python")
    from embedge import Embedder

    model = Embedder(bundle, precision="int8", threads=threads)
    _report("load")
    model.encode("how do I bake bread?")
    _report("one query")
    some = random.Random(0)
    short = [" ".join(some.choices(_WORDS.split(), k=some.randint(5, 20))) for _ in range(_SHORT)]
    model.encode(short, show_progress_bar=False)
    _report(f"{_SHORT:,} short texts")
    long = [" ".join(some.choices(_WORDS.split(), k=600)) for _ in range(_LONG)]
    model.encode(long, on_truncate="ignore", show_progress_bar=False)
    _report(f"{_LONG} texts of {model.max_tokens} tokens")


def _report(step: str) -> None:
    pages = _kilobytes(Path("/proc/self/smaps_rollup"))
    found = {name: 1024 * sum(pages[key] for key in keys) for name, keys in _FIELDS.items()}
    found["peak"] = 1024 * _kilobytes(Path("/proc/self/status"))["VmHWM"]
    print(json.dumps({"step": step, **found}), flush=True)


def _kilobytes(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if words[-1] == "kB"}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
