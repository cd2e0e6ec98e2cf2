"""A checkpoint, and what an adapter's ``build`` makes files of it with."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from embedge.bundle.cache_paths import cache_home
from embedge.bundle.files import delete_existing
from embedge_export.bundle_files import write_side_files, write_tokenizer
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.checkpoint.recipe import load_recipe
from embedge_export.optimum.trace import trace
from peers.base import Kit
from peers.padded import open_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """A checkpoint, and what an adapter needs to make an encoder of it.

    Attributes:
        checkpoint: what every encoder is made of.
        source: the recipe, hub id or directory that it was found by.
        like: recipe that a directory's was fine-tuned from; None for none.
        folder: for files; made by one adapter, they may serve the next.
        threads: most cores that an encoder may use.
        calibration: texts like those to come, for encoders that are quantised with a look at some.
    """

    checkpoint: Checkpoint
    source: str
    like: str | None
    folder: Path
    threads: int
    calibration: tuple[str, ...]

    def kit(self, variant: str) -> Kit:
        """What an adapter loads from the folder."""
        return Kit(
            variant=variant,
            folder=self.folder,
            pooling=self.checkpoint.pooling,
            dimension=self.checkpoint.dimension,
            threads=self.threads,
        )

    def traced(self) -> Path:
        """The fp32 graph that optimum traces: what the users of other libraries start from."""
        return trace(self.checkpoint, self.folder / "traced")

    def repository(self) -> Path:
        """The checkpoint's weights, tokenizer, pooling and prompts as a sentence-transformers repository."""
        folder = self.folder / "repository"
        if not folder.is_dir():
            write_side_files(self.checkpoint, folder)
            for file in self.checkpoint.weights:
                delete_existing(folder / file.name).symlink_to(file.resolve())
        return folder

    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer, without the padding and truncation that its file may carry."""
        return open_tokenizer(self.folder)


@contextmanager
def open_workbench(
    source: str, *, like: str | None, threads: int, calibration: Sequence[str] = ()
) -> Iterator[Workbench]:
    """A workbench whose folder is temporary: no file of an older checkout or another library's version gets in.

    Raises:
        CheckpointError: the checkpoint cannot be found or read.
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
