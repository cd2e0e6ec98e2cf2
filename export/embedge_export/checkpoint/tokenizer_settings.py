"""Applies the settings beside a tokenizer.json to it, so that a bundle needs this one file.

In transformers, and so in sentence-transformers, tokenizer_config.json and the defaults of the tokenizer's class
override tokenizer.json. A runtime that reads only tokenizer.json would give other ids.
Source: transformers 4.57, models/bert/tokenization_bert_fast.py and tokenization_utils_fast.py.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from tokenizers import Tokenizer

from embedge.bundle.manifest import TOKENIZER, Side
from embedge.errors import CheckpointError
from embedge_export.checkpoint.added_tokens import FLAGS, SPECIAL, TokenFiles, add_tokens, merge_settings
from embedge_export.checkpoint.json_file import read_json
from embedge_export.checkpoint.open_tokenizer import open_tokenizer, tokenizer_errors
from embedge_export.checkpoint.python_line import python_line
from embedge_export.checkpoint.sentence_settings import LengthSettings
from embedge_export.checkpoint.tokenizer_classes import TokenizerClass, tokenizer_class
from embedge_export.checkpoint.tokenizer_steps import apply_normalizer, apply_prefix_space, prepend_lowercase

SETTINGS = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
_ADDED = "added_tokens.json"
FILES = (SETTINGS, SPECIAL_TOKENS, _ADDED)
# Settings that a tokenizer.json cannot express, or that name another file to use instead of it.
_UNSUPPORTED = ("split_special_tokens", "from_slow", "fast_tokenizer_files")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFile:
    """A checkpoint's tokenizer with its settings applied.

    Attributes:
        data: content of the bundle's tokenizer.json: the checkpoint's own bytes if no setting changes them.
        settings: content of the bundle's tokenizer_config.json; it does not change ``data`` any further.
        special: the special tokens by name, for special_tokens_map.json.
        truncation_side: the end of a long text that is cut off.
        max_tokens: longest text in tokens; None if the settings do not state it.
    """

    data: bytes = field(repr=False)
    settings: Mapping[str, Any]
    special: Mapping[str, Any]
    truncation_side: Side
    max_tokens: int | None


def read_tokenizer(folder: Path, config: Mapping[str, Any], sentences: LengthSettings) -> TokenizerFile:
    """Read the tokenizer in a folder, and apply the settings beside it.

    Args:
        folder: the encoder's folder.
        config: config.json.
        sentences: sentence-transformers' settings, which override the others.

    Raises:
        CheckpointError: there is no tokenizer, a setting cannot be applied, or an id has no embedding in the model.
    """
    path = folder / TOKENIZER
    _check_exists(path)
    settings = {**(read_json(folder / SETTINGS) or {}), **sentences.tokenizer}
    _check_settings(folder, settings)
    special = read_json(folder / SPECIAL_TOKENS) or {}
    kind = tokenizer_class(settings, config, where=folder)
    files = TokenFiles(settings=settings, special=special, added=read_json(folder / _ADDED) or {})
    rows = int(config.get("vocab_size", 0))
    data, tokenizer = open_tokenizer(path)
    with tokenizer_errors(path, f"does not go with {SETTINGS} and {SPECIAL_TOKENS}"):
        before = _changeable_members(tokenizer)
        applied = _apply(files, kind, sentences, path, tokenizer, rows=rows)
        after = _changeable_members(tokenizer)
        truncation_side = (tokenizer.truncation or {}).get("direction", "right")
        added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    length = settings.get("model_max_length", settings.get("max_len"))
    named = {} if special else _special_by_name(settings, added)
    own = {name: value for name, value in merge_settings(files).items() if name != "tokenizer_file"}
    return TokenizerFile(
        data=data if after == before else _with_members(data, after),
        settings={**{name: token for name, token in named.items() if name not in own}, **own, **applied},
        special=special or named,
        truncation_side=settings.get("truncation_side", truncation_side),
        max_tokens=None if length is None else int(length),
    )


def _apply(
    files: TokenFiles, kind: TokenizerClass, sentences: LengthSettings, path: Path, tokenizer: Tokenizer, *, rows: int
) -> dict[str, bool | None]:
    """Apply all settings to the tokenizer, in place; return the flags in effect, with the defaults of its class."""
    _check_ids(path, tokenizer, rows)
    applied = apply_normalizer(tokenizer, kind, files.settings, path.parent)
    applied |= apply_prefix_space(tokenizer, files.settings)
    add_tokens(tokenizer, files, kind, rows=rows)
    if sentences.lowercases:
        prepend_lowercase(tokenizer)
    _check_ids(path, tokenizer, rows)
    return applied


def _check_exists(path: Path) -> None:
    if not path.is_file():
        code = f"from transformers import AutoTokenizer as T; f = {str(path.parent)!r}; "
        code += "T.from_pretrained(f).save_pretrained(f)"
        raise CheckpointError(f"{path.parent} holds no {TOKENIZER}; run {python_line(code)} to make one")


def _changeable_members(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the members of tokenizer.json that settings may change, with their present values.

    ``Tokenizer.to_str`` would give all members, but it writes the whole vocabulary, and prints on stdout that ids are
    missing if the vocabulary leaves some out.
    """
    steps = {"normalizer": tokenizer.normalizer, "pre_tokenizer": tokenizer.pre_tokenizer}
    added = sorted(tokenizer.get_added_tokens_decoder().items())
    tokens = [{"id": index, **{flag: getattr(token, flag) for flag in FLAGS}} for index, token in added]
    return {
        **{name: None if step is None else json.loads(step.__getstate__()) for name, step in steps.items()},
        "added_tokens": tokens,
    }


def _with_members(data: bytes, members: Mapping[str, Any]) -> bytes:
    """Return the content of a tokenizer.json with some members replaced."""
    return json.dumps({**json.loads(data), **members}, ensure_ascii=False, indent=2).encode()


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    where = folder / SETTINGS
    if unsupported := [name for name in _UNSUPPORTED if settings.get(name)]:
        raise CheckpointError(f"{where} sets {unsupported[0]}, which cannot be exported; choose another checkpoint")
    if (side := settings.get("truncation_side", "right")) not in get_args(Side):
        raise CheckpointError(f"{where}: truncation_side must be right or left, found {side!r}; correct the file")
    own = settings.get("auto_map")
    if own and (not isinstance(own, dict) or "AutoTokenizer" in own):
        raise CheckpointError(
            f"{where} names a tokenizer whose code is in the checkpoint (auto_map), and the exporter does not run it; "
            "delete auto_map there if tokenizer.json gives the same ids"
        )


def _check_ids(path: Path, tokenizer: Tokenizer, rows: int) -> None:
    """Raise CheckpointError if the model has no embedding for an id that the tokenizer can give."""
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if highest >= rows:
        raise CheckpointError(
            f"{path} gives ids up to {highest}, but config.json has vocab_size {rows}; they must agree: download or "
            "copy the checkpoint again"
        )


def _special_by_name(settings: Mapping[str, Any], added: Collection[str]) -> dict[str, Any]:
    """Return the special tokens that the settings name; if they name none, the added tokens with BERT's usual names."""
    usual = {key: f"[{key[: 4 if key == 'mask_token' else 3].upper()}]" for key in SPECIAL}
    named = {key: _untyped(settings[key]) for key in SPECIAL if settings.get(key)}
    return named or {key: token for key, token in usual.items() if token in added}


def _untyped(token: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """Return a token in the form of special_tokens_map.json."""
    return token if isinstance(token, str) else {key: flag for key, flag in token.items() if key != "__type"}
