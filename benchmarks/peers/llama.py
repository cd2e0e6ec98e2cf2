"""llama.cpp by llama-cpp-python, compiled where it is installed: its own format, tokenizer and pooling.

Q8_0 weights meet activations that llama.cpp quantises to int8 as it goes, 32 of a token's to a scale. It is run with
the settings that were fastest: flash attention; for one text, and to start, one context over all cores; tuned, which is
for many texts, a context of one thread for every core, since threads wait for each other after every operation.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from peers.base import TUNED, Encoder, Kit

if TYPE_CHECKING:
    from peers.workbench import Workbench

_TOKENS = 512  # of a batch; of the longest text too, since a text is not divided
_TEXTS = 16  # to a batch: each token attends to all of a batch's, masked, so a full batch of short texts is slower


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaEncoder:
    """Llamas, each with a context.

    Attributes:
        size: bytes of the file, which they map.
        idle: those that wait for a batch.
        pool: a thread for each of them.
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
    """The GGUF file; ``variant`` is ``q8-0``, or that tuned."""
    from peers.gguf_bert import write_gguf

    path = _path(bench.folder, variant)
    if not path.is_file():
        write_gguf(bench.checkpoint, path)


def load(kit: Kit) -> Encoder:
    """One context of all threads; tuned, as many contexts as threads."""
    contexts, threads = (kit.threads, 1) if kit.variant.endswith(TUNED) else (1, kit.threads)
    path = _path(kit.folder, kit.variant)
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


def _path(folder: Path, variant: str) -> Path:
    return folder / f"llama-{variant.removesuffix(TUNED)}.gguf"
