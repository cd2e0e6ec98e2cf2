"""Writes the files of a bundle other than its graphs: the side files, and the manifest with a hash of every file."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from embedge.bundle import staging
from embedge.bundle.checksum import crc32, sha256
from embedge.bundle.directory import Bundle
from embedge.bundle.files import delete_existing
from embedge.bundle.manifest import GRAPHS, TOKENIZER, WEIGHTS_SUFFIX, FileRecord, Manifest
from embedge.bundle.transformers_js import CONFIG, with_transformers_js
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.sentence_settings import LENGTH_FILES, PROMPT_FILE
from embedge_export.checkpoint.tokenizer_settings import SETTINGS, SPECIAL_TOKENS

_MODULES = "modules.json"
_POOLING = "1_Pooling/config.json"
_LENGTH = LENGTH_FILES[0]
_SIDE_FILES = (TOKENIZER, CONFIG, _MODULES, _POOLING, _LENGTH, PROMPT_FILE, SETTINGS, SPECIAL_TOKENS)
_POOLING_KEYS = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "lasttoken": "last"}


def write_side_files(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the tokenizer, the configs and sentence-transformers' modules into a folder.

    With them, other libraries load the bundle's directory too.
    """
    write_tokenizer(checkpoint, folder)
    delete_existing(folder / CONFIG).write_bytes((checkpoint.directory / CONFIG).read_bytes())
    contents = _tokenizer_configs(checkpoint)
    if checkpoint.task == "embed":  # a cross-encoder has no modules
        contents |= _sentence_transformers_configs(checkpoint)
    for name, value in contents.items():
        _write_json(folder / name, value)


def write_tokenizer(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write the bundle's tokenizer.json into a folder, and return its path."""
    path = delete_existing(folder / TOKENIZER)
    path.write_bytes(checkpoint.tokenizer.data)
    return path


def name_graphs(checkpoint: Checkpoint, folder: Path, graphs: Iterable[str]) -> None:
    """Write config.json with the names of these graphs, which are in the folder, for transformers.js."""
    files = [file for name in graphs for file in (name, name + WEIGHTS_SUFFIX) if (folder / file).is_file()]
    delete_existing(folder / CONFIG).write_bytes(with_transformers_js(checkpoint.config, files))


def _tokenizer_configs(checkpoint: Checkpoint) -> dict[str, object]:
    """Contents of the tokenizer's side files, by name."""
    tokenizer = checkpoint.tokenizer
    return {
        # Libraries that do not read sentence_bert_config.json truncate at model_max_length.
        SETTINGS: {**tokenizer.settings, "model_max_length": checkpoint.max_tokens},
        SPECIAL_TOKENS: tokenizer.special,  # transformers 5 no longer writes this file; fastembed reads it
    }


def _sentence_transformers_configs(checkpoint: Checkpoint) -> dict[str, object]:
    """Contents of sentence-transformers' files, by name."""
    kinds = {"Transformer": "", "Pooling": "1_Pooling"} | ({"Normalize": "2_Normalize"} if checkpoint.normalize else {})
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(kinds.items())
    ]
    pooling = {f"pooling_mode_{key}": mode == checkpoint.pooling for key, mode in _POOLING_KEYS.items()}
    return {
        _MODULES: modules,
        _POOLING: {"word_embedding_dimension": checkpoint.dimension, **pooling},
        _LENGTH: {"max_seq_length": checkpoint.max_tokens, "do_lower_case": False},
        PROMPT_FILE: {
            "prompts": {"query": "", "document": "", **checkpoint.prompts},
            "default_prompt_name": checkpoint.default_prompt,
            "similarity_fn_name": checkpoint.similarity,
        },
    }


def record_files(folder: Path, *, known: Mapping[str, FileRecord], fused: Iterable[str] = ()) -> dict[str, FileRecord]:
    """Return the size and checksums of every file of a bundle, by name.

    Args:
        folder: the bundle's directory.
        known: the records of files that are not read again.
        fused: the names of its fused graphs.
    """
    records = dict(known)
    graphs = [name + suffix for name in GRAPHS.values() for suffix in ("", WEIGHTS_SUFFIX)]
    for name in (*_SIDE_FILES, *graphs, *fused):
        if name not in known and (folder / name).is_file():
            path = folder / name
            records[name] = FileRecord(size=path.stat().st_size, sha256=sha256(path), crc32=crc32(path))
    return dict(sorted(records.items()))


def write_manifest(folder: Path, manifest: Manifest) -> Bundle:
    """Write the manifest of a bundle that is being built, and return the bundle as it reads back."""
    return staging.write_manifest(folder, manifest.to_json())


def _write_json(path: Path, value: object) -> None:
    delete_existing(path).write_text(
        json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8"
    )
