"""Writes what a bundle consists of, but for its graphs: side files, and the manifest with every file's hash."""

import json
from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer

from embedge import place
from embedge.bundle import Bundle
from embedge.checksum import crc32, sha256
from embedge.manifest import GRAPHS, TOKENIZER, WEIGHTS_SUFFIX, FileRecord, Manifest
from embedge.place import fresh
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
    """Size and checksums of every file that a bundle consists of; records in ``keep`` are taken over unread."""
    records = dict(keep)
    graphs = [name + suffix for name in GRAPHS.values() for suffix in ("", WEIGHTS_SUFFIX)]
    for name in (*_COPIED, *_GENERATED, *graphs):
        if name not in keep and (folder / name).is_file():
            path = folder / name
            records[name] = FileRecord(size=path.stat().st_size, sha256=sha256(path), crc32=crc32(path))
    return dict(sorted(records.items()))


def write_manifest(folder: Path, manifest: Manifest) -> Bundle:
    """The manifest into a bundle that is being built."""
    return place.write_manifest(folder, manifest.to_json())


def _write_json(path: Path, value: object) -> None:
    fresh(path).write_text(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8")
