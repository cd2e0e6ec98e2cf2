"""Applies settings to the steps of a tokenizer: its normalizer and its pre-tokenizer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers, pre_tokenizers

from embedge.bundle.manifest import TOKENIZER
from embedge.errors import CheckpointError
from embedge_export.checkpoint.tokenizer_classes import TokenizerClass


def apply_normalizer(
    tokenizer: Tokenizer, kind: TokenizerClass, settings: Mapping[str, Any], folder: Path
) -> dict[str, bool | None]:
    """Apply BERT's settings to the normalizer, in place; return the applied settings, with the defaults."""
    if not kind.sets_normalizer:
        return {}
    if tokenizer.normalizer is None:
        raise CheckpointError(
            f"{folder / TOKENIZER} has no normalizer, and its class in transformers needs one; set "
            '"tokenizer_class": "PreTrainedTokenizerFast" in tokenizer_config.json to use a class that needs none'
        )
    wanted = {"lowercase": settings.get("do_lower_case", True), "strip_accents": settings.get("strip_accents")}
    cjk = settings.get("tokenize_chinese_chars", True)
    _check_flags({**wanted, "tokenize_chinese_chars": cjk}, folder)
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


def _check_flags(flags: Mapping[str, Any], folder: Path) -> None:
    """Raise CheckpointError if a flag is not a bool; strip_accents may also be None."""
    for name, value in flags.items():
        if not isinstance(value, bool) and (value is not None or name != "strip_accents"):
            file = folder / "tokenizer_config.json"
            raise CheckpointError(f"{file}: {name} must be true or false, found {value!r}; correct the file")


def apply_prefix_space(tokenizer: Tokenizer, settings: Mapping[str, Any]) -> dict[str, bool]:
    """Set whether byte-level BPE puts a space in front of a text, in place; return the applied setting."""
    if not isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):
        return {}
    wanted = bool(settings.get("add_prefix_space", False))
    state = json.loads(tokenizer.pre_tokenizer.__getstate__())
    if state.pop("add_prefix_space") != wanted:
        state.pop("type")
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=wanted, **state)
    return {"add_prefix_space": wanted}


def prepend_lowercase(tokenizer: Tokenizer) -> None:
    """Put a lowercase step in front of the normalizer, in place.

    sentence-transformers does so if its own config sets do_lower_case (base/modules/transformer.py). A normalizer that
    converts to lower case itself stays as it is, because a second conversion changes nothing.
    """
    before = tokenizer.normalizer
    if before is not None and before.normalize_str("A") == "a":
        return
    steps = list(before) if isinstance(before, normalizers.Sequence) else [] if before is None else [before]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])
