"""Writes a bundle: built whole beside its destination, then put in its place in one step."""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from tokenizers import Tokenizer

from embedge.bundle import GRAPHS, MANIFEST, TOKENIZER, WEIGHTS_SUFFIX, Bundle, FileRecord, Manifest
from embedge.errors import BundleError
from embedge_export.checkpoint import Checkpoint, read_json

_COPIED = (TOKENIZER, "config.json")
_GENERATED = (
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
_OF_TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json")  # all that a cross-encoder has
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def write_side_files(checkpoint: Checkpoint, folder: Path) -> None:
    """Tokenizer, configs and sentence-transformers' modules, so that other libraries load the same directory."""
    for name in _COPIED:
        fresh(folder / name).write_bytes((checkpoint.directory / name).read_bytes())
    for name, value in zip(_GENERATED, _generate(checkpoint), strict=True):
        if checkpoint.task == "embed" or name in _OF_TOKENIZER:
            _write_json(folder / name, value)


def _generate(checkpoint: Checkpoint) -> tuple[object, ...]:
    """Contents of the files of _GENERATED, in that order."""
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(kinds.items())
    ]
    modes = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "lasttoken": "last"}
    pooling = {f"pooling_mode_{key}": mode == checkpoint.pooling for key, mode in modes.items()}
    sentences = {
        "prompts": {"query": "", "document": "", **checkpoint.prompts},
        "default_prompt_name": checkpoint.default_prompt,
        "similarity_fn_name": "cosine",
    }
    saved = read_json(checkpoint.directory / "tokenizer_config.json") or {}
    known = Tokenizer.from_file(str(checkpoint.directory / TOKENIZER)).get_vocab()
    usual = {key: f"[{key[:3].upper()}]" if key != "mask_token" else "[MASK]" for key in _SPECIAL}
    special = read_json(checkpoint.directory / "special_tokens_map.json")
    special = special or {key: saved[key] for key in _SPECIAL if saved.get(key)}
    special = special or {key: token for key, token in usual.items() if token in known}
    return (
        modules,
        {"word_embedding_dimension": checkpoint.dimension, **pooling},
        {"max_seq_length": checkpoint.max_tokens, "do_lower_case": False},
        sentences,
        # Libraries that know no sentence_bert_config.json truncate by this one.
        {**special, **saved, "model_max_length": checkpoint.max_tokens},
        special,  # transformers 5 no longer writes it, fastembed wants it
    )


def record_files(folder: Path, *, keep: Mapping[str, FileRecord]) -> dict[str, FileRecord]:
    """Size and SHA-256 of every file that a bundle consists of; records in ``keep`` are taken over unread."""
    records = dict(keep)
    graphs = [name + suffix for name in GRAPHS.values() for suffix in ("", WEIGHTS_SUFFIX)]
    for name in (*_COPIED, *_GENERATED, *graphs):
        if name not in keep and (folder / name).is_file():
            with (folder / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            records[name] = FileRecord(size=(folder / name).stat().st_size, sha256=digest)
    return dict(sorted(records.items()))


def write_manifest(folder: Path, manifest: Manifest) -> Bundle:
    """The manifest into a bundle that is being built."""
    _write_json(folder / MANIFEST, asdict(manifest))
    return Bundle(folder, manifest)


@contextlib.contextmanager
def staging(destination: Path, *, keep: Bundle | None, drop: Bundle | None) -> Iterator[tuple[Path, Path]]:
    """A folder to build a bundle in, and one for scratch; the first replaces the destination when the block ends well.

    Whenever the process is killed, the destination is what it was before, or the new bundle whole. A folder left behind
    by a killed export is removed by the next one to the same destination.

    Args:
        destination: of the bundle; absent, empty, or a bundle.
        keep: the bundle there, if its files are to go on; they are linked, not copied, where the file system can.
        drop: the bundle there, if its own files are to go; what else is in the directory goes on.
    """
    work = destination.parent / f".{destination.name}.partial"
    if work.exists():
        shutil.rmtree(work)  # of an export that was killed: the caller holds the lock
    folder, scratch = work / "bundle", work / "scratch"
    folder.mkdir(parents=True)
    scratch.mkdir()
    try:
        before = keep or drop
        if before is not None:
            gone = {before.path / name for name in (*drop.manifest.files, MANIFEST)} if drop else set()
            _link_tree(before.path, folder, gone)
        yield folder, scratch
        _sync(folder)
        _put(folder, destination)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _link_tree(source: Path, target: Path, leave_out: set[Path]) -> None:
    for path in source.rglob("*"):
        if path in leave_out:
            continue
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            copy.symlink_to(path.readlink())
            continue
        if path.is_dir():
            copy.mkdir(exist_ok=True)
            continue
        try:
            os.link(path, copy)
        except OSError:  # no hard links here
            shutil.copy2(path, copy)


def fresh(path: Path) -> Path:
    """The path with nothing at it: writing into a linked file would write into the old bundle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path


def _write_json(path: Path, value: object) -> None:
    fresh(path).write_text(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _sync(folder: Path) -> None:
    """Everything in the folder onto the disk, so that a power cut after the swap finds it whole."""
    for path in (*folder.rglob("*"), folder):
        regular = path.is_file() and not path.is_symlink()
        if not regular and (os.name == "nt" or not path.is_dir()):
            continue  # Windows cannot open a directory; a pipe would wait for ever
        handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _put(folder: Path, destination: Path) -> None:
    """The built folder to its destination, in one step."""
    try:
        if not destination.exists():
            folder.rename(destination)
        elif not _exchange(folder, destination):
            _swap_in_two(folder, destination)
    except OSError as error:
        raise BundleError(f"{destination} cannot be replaced ({error.strerror}); close what uses it") from error


def _swap_in_two(folder: Path, destination: Path) -> None:
    """Where the system cannot exchange directories: killed between the two renames, the old one is left as .old."""
    aside = destination.parent / f".{destination.name}.old"
    shutil.rmtree(aside, ignore_errors=True)
    destination.rename(aside)
    try:
        folder.rename(destination)
    except OSError:
        aside.rename(destination)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two directories atomically; False where the system or file system cannot.

    Linux: ``renameat2`` with RENAME_EXCHANGE (2); macOS: ``renamex_np`` with RENAME_SWAP (2). Source: their man pages.
    """
    if sys.platform not in ("linux", "darwin"):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(first), os.fsencode(second)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        at_cwd = -100
        failed = library.renameat2(at_cwd, names[0], at_cwd, names[1], 2)
    elif sys.platform == "darwin":
        failed = library.renamex_np(*names, 2)
    else:
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(second))
