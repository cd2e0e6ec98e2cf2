"""The process that measures the memory of one long text with one library: prints a line of JSON.

``benchmarks.m3`` starts it, with the row, the folder of the files, the file of the text and the threads as arguments.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.base import Kit
from benchmarks.peers.child import memory

KERNELS, PLAIN, LITE_INT8, LITE_FP32 = "embedge-int8-fused", "embedge-int8", "bge-m3-lite-int8", "bge-m3-lite-fp32"
ROWS = (KERNELS, PLAIN, LITE_INT8, LITE_FP32)


def main() -> None:
    """Load a library, embed a short text and then the long one, and print bytes and seconds."""
    row, folder, file, threads = sys.argv[1:]
    text = Path(file).read_text(encoding="utf-8")
    encode = _load(row, Path(folder), int(threads))
    encode("a short text")
    loaded = memory()["now"]
    start = time.perf_counter()
    vectors = encode(text)
    seconds = time.perf_counter() - start
    print(json.dumps({"loaded": loaded, "peak": memory()["peak"], "seconds": seconds, "vectors": vectors}))


def _load(row: str, folder: Path, threads: int) -> Callable[[str], int]:
    """A function that embeds one text in one run, with all kinds of vectors, and returns how many vectors it has."""
    if row in (KERNELS, PLAIN):
        from embedge import Embedder

        own = Embedder(folder / "bundle", precision="int8", threads=threads, kernels=row == KERNELS)
        # The limit is that of the shape, so the text is read whole, as an error would say.
        return lambda text: len(own.encode_all([text], multi_vector=True, on_truncate="error").multi_vector[0]) + 1  # type: ignore[index]
    from benchmarks.peers import bge_m3_lite

    kit = Kit(variant=row.rpartition("-")[2], folder=folder, pooling="cls", dimension=1024, threads=threads)
    lite = bge_m3_lite.load(kit).model  # type: ignore[attr-defined]
    kinds = {"return_dense": True, "return_sparse": True, "return_colbert_vecs": True}
    return lambda text: len(lite.encode([text], **kinds)["colbert_vecs"][0]) + 1


if __name__ == "__main__":
    main()
