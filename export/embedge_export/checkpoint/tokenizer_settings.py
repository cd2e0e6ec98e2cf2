"""A tokenizer.json, and the files beside it that say otherwise, to the one file that a bundle runs.

transformers, and so sentence-transformers, lets tokenizer_config.json overrule tokenizer.json, the class's own defaults
included. A runtime that reads tokenizer.json alone would give other ids.
Source: transformers 4.57, models/bert/tokenization_bert_fast.py and tokenization_utils_fast.py.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers, pre_tokenizers

from embedge.bundle.manifest import TOKENIZER, Side
from embedge.errors import CheckpointError
from embedge_export.checkpoint.added_tokens import FLAGS, SPECIAL, TokenFiles, add_tokens, merged
from embedge_export.checkpoint.json_file import read_json
from embedge_export.checkpoint.open_tokenizer import open_tokenizer, tokenizer_errors
from embedge_export.checkpoint.sentence_settings import LengthSettings
from embedge_export.checkpoint.tokenizer_classes import TokenizerClass, tokenizer_class
from embedge_export.python_line import python_line

SETTINGS = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
_ADDED = "added_tokens.json"
FILES = (SETTINGS, SPECIAL_TOKENS, _ADDED)
# What a tokenizer.json cannot say, or that takes another file in its place.
_REFUSED = ("split_special_tokens", "from_slow", "fast_tokenizer_files")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFile:
    """A checkpoint's tokenizer, with all that its files say of it.

    Attributes:
        data: what a bundle's tokenizer.json holds; the checkpoint's own bytes where nothing overrules them.
        settings: what a bundle's tokenizer_config.json says; they change nothing of ``data``.
        special: the special tokens by name, for special_tokens_map.json.
        truncation_side: the end of a long text that is cut off.
        max_tokens: the length that the settings name; None where they name none.
    """

    data: bytes = field(repr=False)
    settings: Mapping[str, Any]
    special: Mapping[str, Any]
    truncation_side: Side
    max_tokens: int | None


def read_tokenizer(folder: Path, config: Mapping[str, Any], sentences: LengthSettings) -> TokenizerFile:
    """The tokenizer in a folder, with the settings beside it applied.

    Args:
        folder: of the encoder.
        config: ``config.json``.
        sentences: what sentence-transformers sets on top.

    Raises:
        CheckpointError: there is none, a setting cannot be applied, or the model lacks an embedding for an id.
    """
    path = folder / TOKENIZER
    if not path.is_file():
        code = (
            f"from transformers import AutoTokenizer as T; f = {str(folder)!r}; T.from_pretrained(f).save_pretrained(f)"
        )
        raise CheckpointError(f"{folder} holds no {TOKENIZER}; {python_line(code)} makes one")
    settings = {**(read_json(folder / SETTINGS) or {}), **sentences.tokenizer}
    _check_settings(folder, settings)
    special = read_json(folder / SPECIAL_TOKENS) or {}
    kind = tokenizer_class(settings, config, where=folder)
    files = TokenFiles(settings=settings, special=special, added=read_json(folder / _ADDED) or {})
    rows = int(config.get("vocab_size", 0))
    data, tokenizer = open_tokenizer(path)
    with tokenizer_errors(path, f"does not go with {SETTINGS} and {SPECIAL_TOKENS}"):
        _check_ids(path, tokenizer, rows)
        before = _overruled(tokenizer)
        applied = _apply_normalizer(tokenizer, kind, settings, folder) | _apply_prefix(tokenizer, settings)
        add_tokens(tokenizer, files, kind, rows=rows)
        if sentences.lowercases:
            _lowercase_first(tokenizer)
        after = _overruled(tokenizer)
        _check_ids(path, tokenizer, rows)
        cut = (tokenizer.truncation or {}).get("direction", "right")
        added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    length = settings.get("model_max_length", settings.get("max_len"))
    usual = {} if special else _special_by_name(settings, added)
    kept = {name: value for name, value in merged(files).items() if name != "tokenizer_file"}
    return TokenizerFile(
        data=data if after == before else _with(data, after),
        settings={**{name: token for name, token in usual.items() if name not in kept}, **kept, **applied},
        special=special or usual,
        truncation_side=settings.get("truncation_side", cut),
        max_tokens=None if length is None else int(length),
    )


def _overruled(tokenizer: Tokenizer) -> dict[str, Any]:
    """The members of a tokenizer.json that settings may overrule, as they stand.

    Not all of them, by ``Tokenizer.to_str``: that writes each id of the vocabulary up to the highest, and tells of
    those that are missing on stdout.
    """
    steps = {"normalizer": tokenizer.normalizer, "pre_tokenizer": tokenizer.pre_tokenizer}
    added = sorted(tokenizer.get_added_tokens_decoder().items())
    tokens = [{"id": index, **{flag: getattr(token, flag) for flag in FLAGS}} for index, token in added]
    return {
        **{name: None if step is None else json.loads(step.__getstate__()) for name, step in steps.items()},
        "added_tokens": tokens,
    }


def _with(data: bytes, members: Mapping[str, Any]) -> bytes:
    """A tokenizer.json with other members."""
    return json.dumps({**json.loads(data), **members}, ensure_ascii=False, indent=2).encode()


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    where = folder / SETTINGS
    if refused := [name for name in _REFUSED if settings.get(name)]:
        raise CheckpointError(f"{where} sets {refused[0]}, which cannot be exported; choose another checkpoint")
    if (side := settings.get("truncation_side", "right")) not in ("right", "left"):
        raise CheckpointError(f"{where}: truncation_side must be right or left, found {side!r}; mend it")
    own = settings.get("auto_map")
    if own and (not isinstance(own, dict) or "AutoTokenizer" in own):
        raise CheckpointError(
            f"{where} names a tokenizer of the checkpoint's own code (auto_map), which is not run; if tokenizer.json "
            "is right without it, delete auto_map there"
        )


def _apply_normalizer(
    tokenizer: Tokenizer, kind: TokenizerClass, settings: Mapping[str, Any], folder: Path
) -> dict[str, bool | None]:
    """BERT's settings of its normalizer, in place; returns what was applied, defaults included."""
    if not kind.sets_normalizer:
        return {}
    if tokenizer.normalizer is None:
        raise CheckpointError(
            f"{folder / TOKENIZER} has no normalizer, and transformers wants one for its class; set "
            f'"tokenizer_class": "PreTrainedTokenizerFast" in {SETTINGS} to do without'
        )
    wanted = {"lowercase": settings.get("do_lower_case", True), "strip_accents": settings.get("strip_accents")}
    cjk = settings.get("tokenize_chinese_chars", True)
    for name, value in (*wanted.items(), ("tokenize_chinese_chars", cjk)):
        if not isinstance(value, bool) and (value is not None or name != "strip_accents"):
            raise CheckpointError(f"{folder / SETTINGS}: {name} must be true or false, found {value!r}; mend it")
    if kind.sets_cjk:
        wanted["handle_chinese_chars"] = cjk
    state = json.loads(tokenizer.normalizer.__getstate__())
    if any(state.get(name, value) != value for name, value in wanted.items()):
        # Only a BertNormalizer has such fields.
        state |= wanted
        state.pop("type")
        tokenizer.normalizer = normalizers.BertNormalizer(**state)
    return {
        "do_lower_case": wanted["lowercase"],
        "strip_accents": wanted["strip_accents"],
        "tokenize_chinese_chars": cjk,
    }


def _apply_prefix(tokenizer: Tokenizer, settings: Mapping[str, Any]) -> dict[str, bool]:
    """Whether byte-level BPE puts a blank in front of a text, in place; returns what was applied."""
    if not isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):
        return {}
    wanted = bool(settings.get("add_prefix_space", False))
    state = json.loads(tokenizer.pre_tokenizer.__getstate__())
    if state.pop("add_prefix_space") != wanted:
        state.pop("type")
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=wanted, **state)
    return {"add_prefix_space": wanted}


def _lowercase_first(tokenizer: Tokenizer) -> None:
    """As sentence-transformers does where its own config says do_lower_case (base/modules/transformer.py), in place.

    A tokenizer that lowercases by itself stays: lowercasing twice is lowercasing once.
    """
    before = tokenizer.normalizer
    if before is not None and before.normalize_str("A") == "a":
        return
    steps = list(before) if isinstance(before, normalizers.Sequence) else [] if before is None else [before]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])


def _check_ids(path: Path, tokenizer: Tokenizer, rows: int) -> None:
    """Raises CheckpointError where the model has no embedding for an id that the tokenizer can give."""
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if highest >= rows:
        raise CheckpointError(
            f"{path} gives ids up to {highest}, but config.json has vocab_size {rows}; they must agree"
        )


def _special_by_name(settings: Mapping[str, Any], added: Collection[str]) -> dict[str, Any]:
    """The special tokens that the settings name; or of BERT's own names, those that there are."""
    usual = {key: f"[{key[: 4 if key == 'mask_token' else 3].upper()}]" for key in SPECIAL}
    named = {key: _untyped(settings[key]) for key in SPECIAL if settings.get(key)}
    return named or {key: token for key, token in usual.items() if token in added}


def _untyped(token: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """A token as special_tokens_map.json has it."""
    return token if isinstance(token, str) else {key: flag for key, flag in token.items() if key != "__type"}
