"""llama.cpp through llama-cpp-python, compiled on this machine: its own format, tokenizer and pooling.

The weights are Q8_0. llama.cpp quantises activations to int8 at run time, with one scale per 32 values of a token. The
settings are the fastest that we measured. All use flash attention. For one text and for a cold start, one context uses
all cores. Tuned, for many texts, there is one single-threaded context per core, because the threads of one context wait
for each other after every operation.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.base import TUNED, Encoder, Kit

if TYPE_CHECKING:
    from benchmarks.peers.workbench import Workbench

_TOKENS = 512  # of a batch, and of the longest text: llama.cpp does not split a text
_TEXTS = 16  # of a batch: llama.cpp computes attention over all tokens of a batch, so more short texts are slower


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaEncoder:
    """One or more Llama objects, each with its own context.

    Attributes:
        size: bytes of the file, which all objects map into memory.
        idle: the objects that wait for a batch.
        pool: one thread per object.
    """

    size: int
    idle: SimpleQueue[Any]
    pool: ThreadPoolExecutor

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order."""
        batches = [list(texts[start : start + _TEXTS]) for start in range(0, len(texts), _TEXTS)]
        vectors = np.concatenate(list(self.pool.map(self._embed, batches)))
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def _embed(self, batch: list[str]) -> NDArray[np.float32]:
        llama = self.idle.get()
        try:
            return np.array(llama.embed(batch, truncate=False), np.float32)
        finally:
            self.idle.put(llama)


def build(bench: "Workbench", variant: str) -> None:
    """Write the GGUF file; ``variant`` is ``q8-0`` or ``q8-0-tuned``."""
    from benchmarks.peers.gguf_bert import write_gguf

    path = path_of(bench.folder, variant)
    if not path.is_file():
        write_gguf(bench.checkpoint, path)


def load(kit: Kit) -> Encoder:
    """Open one context with all threads; tuned, one context per thread."""
    contexts, threads = (kit.threads, 1) if kit.variant.endswith(TUNED) else (1, kit.threads)
    path = path_of(kit.folder, kit.variant)
    idle: SimpleQueue[Any] = SimpleQueue()
    for _ in range(contexts):
        idle.put(_open(path, threads))
    return LlamaEncoder(size=path.stat().st_size, idle=idle, pool=ThreadPoolExecutor(contexts))


def _open(path: Path, threads: int) -> Any:
    from llama_cpp import Llama

    return Llama(
        str(path),
        embedding=True,
        n_ctx=_TOKENS,
        n_batch=_TOKENS,
        n_ubatch=_TOKENS,
        n_threads=threads,
        n_threads_batch=threads,
        flash_attn=True,
        verbose=False,
    )


def path_of(folder: Path, variant: str) -> Path:
    """The file of a variant."""
    return folder / f"llama-{variant.removesuffix(TUNED)}.gguf"
