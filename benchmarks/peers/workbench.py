"""The workbench: a checkpoint, a folder, and what else an adapter's ``build`` needs."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.peers.base import Kit
from benchmarks.peers.padded import open_tokenizer
from embedge.bundle.cache_paths import cache_home
from embedge.bundle.files import delete_existing
from embedge_export.bundle_files import write_side_files, write_tokenizer
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.checkpoint.recipe import load_recipe
from embedge_export.optimum.trace import trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """A checkpoint, and what an adapter needs to build an encoder from it.

    Attributes:
        checkpoint: the source of every encoder.
        source: the recipe, hub id or directory of the checkpoint.
        like: the recipe of the model that a directory was fine-tuned from, or None.
        folder: the folder for files. An adapter may use files of another.
        threads: the number of cores that an encoder may use.
        calibration: texts for encoders that need calibration; similar to the texts of the benchmark.
    """

    checkpoint: Checkpoint
    source: str
    like: str | None
    folder: Path
    threads: int
    calibration: tuple[str, ...]

    def kit(self, variant: str, *, device: str = "cpu") -> Kit:
        """The kit from which an adapter loads an encoder on a device."""
        return Kit(
            variant=variant,
            folder=self.folder,
            pooling=self.checkpoint.pooling,
            dimension=self.checkpoint.dimension,
            threads=self.threads,
            device=device,
        )

    def traced(self) -> Path:
        """The fp32 graph that optimum traces. Users of other libraries start from it."""
        return trace(self.checkpoint, self.folder / "traced")

    def repository(self) -> Path:
        """The checkpoint as a sentence-transformers repository: weights, tokenizer, pooling and prompts."""
        folder = self.folder / "repository"
        if not folder.is_dir():
            write_side_files(self.checkpoint, folder)
            for file in self.checkpoint.weights:
                delete_existing(folder / file.name).symlink_to(file.resolve())
        return folder

    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer, without the padding and truncation that its file may set."""
        return open_tokenizer(self.folder)


@contextmanager
def open_workbench(
    source: str, *, like: str | None, threads: int, calibration: Sequence[str] = ()
) -> Iterator[Workbench]:
    """Open a workbench in a temporary folder, so that no file of an older version is used.

    Raises:
        CheckpointError: the checkpoint does not exist or cannot be read.
    """
    fetched = fetch(source, cache=cache_home(), local_files_only=False)
    checkpoint = read_checkpoint(fetched, like=load_recipe(like) if like else None)
    with tempfile.TemporaryDirectory(prefix="embedge-bench-", ignore_cleanup_errors=True) as folder:
        write_tokenizer(checkpoint, Path(folder))
        yield Workbench(
            checkpoint=checkpoint,
            source=source,
            like=like,
            folder=Path(folder),
            threads=threads,
            calibration=tuple(calibration),
        )
