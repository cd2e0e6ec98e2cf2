"""Start a peer on a device, and measure what only a new process can show: load, first text, new lengths, memory."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.measure.comparison import BuiltPeer, Comparison, text_of
from benchmarks.measure.device_memory import MemoryGrowth
from benchmarks.peers.process import PeerProcess

# Texts in a batch of sentence-transformers; its default is the first.
_BATCHES = (32, 128, 512)
# Token counts of the texts whose length is new. They differ by more than a multiple of any likely padding.
_LENGTHS = range(70, 512, 70)
QUERY = 10  # tokens of a query, special tokens included


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What one new process of a peer shows.

    Attributes:
        load_seconds: time until the model is loaded, with the library's imports.
        first_ms: the milliseconds of the first text, a query.
        new_ms: the milliseconds of one text each of lengths that the process has not seen.
        again_ms: those of the same texts again.
        batch: the batch size that is the fastest, by the kind of text; None is the library's default.
        memory_loaded: the device's memory that the process takes once the model is loaded, in bytes; None where it is
            not measured.
        memory_peak: the most that it takes up to the end of all texts of both kinds. sentence-transformers' has had
            batches of each size by then, and torch gives nothing back.
    """

    load_seconds: float
    first_ms: float
    new_ms: tuple[float, ...]
    again_ms: tuple[float, ...]
    batch: Mapping[str, int | None]
    memory_loaded: int | None
    memory_peak: int | None


def start(
    stack: ExitStack, comparison: Comparison, built: BuiltPeer, kinds: Mapping[str, str]
) -> tuple[PeerProcess, Start]:
    """Start a process that ``stack`` ends, and measure it while it is new.

    Args:
        stack: ends the process.
        comparison: the model and the folder of texts.
        built: the peer.
        kinds: the file of each kind of text.

    Raises:
        PeerFailedError: the process ended.
    """
    query = comparison.write_texts("query", [text_of(comparison, QUERY)])
    lengths = [tokens for tokens in _LENGTHS if tokens <= comparison.max_tokens]
    new = comparison.write_texts("new-lengths", [text_of(comparison, tokens) for tokens in lengths])
    memory = MemoryGrowth(built.kit.device)
    process = stack.enter_context(PeerProcess(built.peer, built.kit))
    loaded = memory.now()
    (first,) = process.ask("each", texts=query)["milliseconds"]
    times = [tuple(process.ask("each", texts=new)["milliseconds"]) for _ in range(2)]
    batch = {kind: _best_batch(process, built, path) for kind, path in kinds.items()}
    with memory:
        for kind, path in kinds.items():
            process.ask("encode_batches", texts=path, batch=batch[kind])
        memory.now()
    return process, Start(
        load_seconds=process.load_seconds,
        first_ms=first,
        new_ms=times[0],
        again_ms=times[1],
        batch=batch,
        memory_loaded=loaded,
        memory_peak=memory.peak,
    )


def _best_batch(process: PeerProcess, built: BuiltPeer, path: str) -> int | None:
    """The fastest batch size for the texts of a file, each tried twice; the first time warms up."""
    candidates = (None,) if built.peer.module == "embedge" else _BATCHES

    def seconds(batch: int | None) -> float:
        passes: list[float] = [process.ask("encode_batches", texts=path, batch=batch)["seconds"] for _ in range(2)]
        return passes[-1]

    times = {batch: seconds(batch) for batch in candidates}
    return min(times, key=lambda batch: times[batch])
