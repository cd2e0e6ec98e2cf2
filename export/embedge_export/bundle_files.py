"""Writes what a bundle consists of, but for its graphs: side files, and the manifest with every file's hash."""

import json
from collections.abc import Mapping
from pathlib import Path

from embedge.bundle import staging as place
from embedge.bundle.checksum import crc32, sha256
from embedge.bundle.directory import Bundle
from embedge.bundle.files import delete_existing
from embedge.bundle.manifest import GRAPHS, TOKENIZER, WEIGHTS_SUFFIX, FileRecord, Manifest
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.sentence_settings import LENGTH_FILES, PROMPT_FILE
from embedge_export.checkpoint.tokenizer_settings import SETTINGS, SPECIAL_TOKENS

_COPIED = "config.json"
_GENERATED = (
    "modules.json",
    "1_Pooling/config.json",
    LENGTH_FILES[0],
    PROMPT_FILE,
    SETTINGS,
    SPECIAL_TOKENS,
)
_OF_TOKENIZER = (SETTINGS, SPECIAL_TOKENS)  # all that a cross-encoder has


def write_side_files(checkpoint: Checkpoint, folder: Path) -> None:
    """Tokenizer, configs and sentence-transformers' modules, so that other libraries load the same directory."""
    write_tokenizer(checkpoint, folder)
    delete_existing(folder / _COPIED).write_bytes((checkpoint.directory / _COPIED).read_bytes())
    for name, value in zip(_GENERATED, _generate(checkpoint), strict=True):
        if checkpoint.task == "embed" or name in _OF_TOKENIZER:
            _write_json(folder / name, value)


def write_tokenizer(checkpoint: Checkpoint, folder: Path) -> Path:
    """The tokenizer.json that a bundle runs, into a folder; its path."""
    path = delete_existing(folder / TOKENIZER)
    path.write_bytes(checkpoint.tokenizer.data)
    return path


def _generate(checkpoint: Checkpoint) -> tuple[object, ...]:
    """Contents of the files of _GENERATED, in that order."""
    kinds = {"Transformer": "", "Pooling": "1_Pooling"} | ({"Normalize": "2_Normalize"} if checkpoint.normalize else {})
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(kinds.items())
    ]
    modes = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "lasttoken": "last"}
    pooling = {f"pooling_mode_{key}": mode == checkpoint.pooling for key, mode in modes.items()}
    sentences = {
        "prompts": {"query": "", "document": "", **checkpoint.prompts},
        "default_prompt_name": checkpoint.default_prompt,
        "similarity_fn_name": checkpoint.similarity,
    }
    tokenizer = checkpoint.tokenizer
    return (
        modules,
        {"word_embedding_dimension": checkpoint.dimension, **pooling},
        {"max_seq_length": checkpoint.max_tokens, "do_lower_case": False},
        sentences,
        # Libraries that know no sentence_bert_config.json truncate by this one.
        {**tokenizer.settings, "model_max_length": checkpoint.max_tokens},
        tokenizer.special,  # transformers 5 no longer writes it, fastembed wants it
    )


def record_files(folder: Path, *, keep: Mapping[str, FileRecord]) -> dict[str, FileRecord]:
    """Size and checksums of every file that a bundle consists of; records in ``keep`` are taken over unread."""
    records = dict(keep)
    graphs = [name + suffix for name in GRAPHS.values() for suffix in ("", WEIGHTS_SUFFIX)]
    for name in (TOKENIZER, _COPIED, *_GENERATED, *graphs):
        if name not in keep and (folder / name).is_file():
            path = folder / name
            records[name] = FileRecord(size=path.stat().st_size, sha256=sha256(path), crc32=crc32(path))
    return dict(sorted(records.items()))


def write_manifest(folder: Path, manifest: Manifest) -> Bundle:
    """The manifest into a bundle that is being built."""
    return place.write_manifest(folder, manifest.to_json())


def _write_json(path: Path, value: object) -> None:
    delete_existing(path).write_text(
        json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8"
    )
