"""Adds tokens to a checkpoint's tokenizer, as transformers does when it reads the files beside tokenizer.json.

Source: transformers 4.57, PreTrainedTokenizerBase._from_pretrained and PreTrainedTokenizerFast.__init__.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer

from embedge.errors import CheckpointError
from embedge_export.checkpoint.tokenizer_classes import TokenizerClass

_LONGEST = 1000  # characters of an added token
SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
FLAGS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
_ADDITIONAL = "additional_special_tokens"
_DECODER = "added_tokens_decoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFiles:
    """The files beside tokenizer.json that name tokens.

    Attributes:
        settings: tokenizer_config.json.
        special: special_tokens_map.json; used only if the settings have no ``added_tokens_decoder``.
        added: added_tokens.json, ids by token; used only in the same case.
    """

    settings: Mapping[str, Any]
    special: Mapping[str, Any]
    added: Mapping[str, int]


def add_tokens(tokenizer: Tokenizer, files: TokenFiles, kind: TokenizerClass, *, rows: int) -> None:
    """Add the tokens that the files and the class name, in place. A token that already exists may get other flags.

    Args:
        tokenizer: the checkpoint's tokenizer.
        files: the files beside it.
        kind: the tokenizer class that the checkpoint uses in transformers.
        rows: number of rows of the model's embedding table. If no row is left for a token that only the class names,
            the token is not added: transformers gives it an id at which the model fails.
    """
    listed, declared = _listed_tokens(tokenizer, files)
    by_text = {token.content: token for token in listed}
    declared = {
        key: value if key == _ADDITIONAL else by_text.get(_text(value), value) for key, value in declared.items()
    }
    special = _special_tokens(declared, kind)
    existing = {token.content for token in tokenizer.get_added_tokens_decoder().values()} | by_text.keys()
    # transformers compares in the same way: a token with flags never equals a plain text.
    new = [*listed, *(token for token in special if token not in listed and token not in existing)]
    check_lengths((_text(token) for token in new), where="tokenizer_config.json or a file beside it")
    special_texts = {_text(token) for token in special}
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    from_files = {_text(token) for value in declared.values() for token in _as_list(value)} | by_text.keys()
    known = vocabulary.keys() | from_files
    free_rows = max(0, rows - 1 - max(vocabulary.values(), default=-1))
    wanted = [token for token in new if _text(token) in known]
    wanted += [token for token in new if token not in wanted][:free_rows]
    tokenizer.add_tokens([_with_special_flag(token, special_texts) for token in new if token in wanted])


def check_lengths(tokens: Iterable[str], *, where: str) -> None:
    """Raise CheckpointError if an added token is so long that the tokenizer takes minutes to load.

    The time grows with the square of the length: 18 s for 16,000 characters.
    """
    for text in tokens:
        if len(text) > _LONGEST:
            raise CheckpointError(
                f"{where} adds a token of {len(text)} characters, and the limit is {_LONGEST}; remove the token"
            )


def merge_settings(files: TokenFiles) -> dict[str, Any]:
    """Return the settings with the tokens of special_tokens_map.json, as tokenizer_config.json could state them."""
    settings = dict(files.settings)
    if _DECODER in settings:
        return settings
    special = {key: _as_setting(value) for key, value in files.special.items()}
    additional = _as_list(settings.get(_ADDITIONAL))
    additional += [token for token in _as_list(special.get(_ADDITIONAL)) if token not in additional]
    return {**settings, **special, **({_ADDITIONAL: additional} if additional else {})}


def _as_setting(value: Any) -> Any:
    """Return a token of special_tokens_map.json, or a list of them, with the type that the settings state."""
    if isinstance(value, list):
        return [_as_setting(each) for each in value]
    return {**value, "special": True, "__type": "AddedToken"} if isinstance(value, dict) else value


def _listed_tokens(tokenizer: Tokenizer, files: TokenFiles) -> tuple[list[AddedToken], dict[str, Any]]:
    """Return the tokens that are listed by id, in the order of their ids, and the special tokens by name."""
    settings = merge_settings(files)
    declared = {key: _as_token(settings[key]) for key in (*SPECIAL, _ADDITIONAL) if key in settings}
    if _DECODER in settings:
        by_id = {int(index): _as_token(token) for index, token in settings[_DECODER].items()}
    else:
        special = {_text(token) for value in declared.values() for token in _as_list(value)}
        by_id = {
            index: AddedToken(text, normalized=text not in special, special=text in special)
            for text, index in files.added.items()
        }
        by_id |= tokenizer.get_added_tokens_decoder()
    extra = settings.get("extra_special_tokens") or {}
    extra = extra if isinstance(extra, dict) else {f"extra {place}": token for place, token in enumerate(extra)}
    declared |= {key: _as_token(token) for key, token in extra.items()}
    return [by_id[index] for index in sorted(by_id)], declared


def _special_tokens(declared: Mapping[str, Any], kind: TokenizerClass) -> list[str | AddedToken]:
    """Return all special tokens, in the order of their names; of two tokens with the same text, the first."""
    named: dict[str, Any] = dict.fromkeys(SPECIAL) | {_ADDITIONAL: kind.additional} | dict(kind.special)
    tokens: dict[str, str | AddedToken] = {}
    for key, value in (named | dict(declared)).items():
        for token in _as_list(value):
            flags = kind.mask if key == "mask_token" else {"normalized": True} if kind.normalized else {}
            plain = isinstance(token, str) and flags and key in SPECIAL
            tokens.setdefault(_text(token), AddedToken(token, **flags) if plain else token)
    return list(tokens.values())


def _with_special_flag(token: str | AddedToken, special: Iterable[str]) -> AddedToken:
    """Return a token that is marked as special if its text is among the special ones."""
    if isinstance(token, str):
        return AddedToken(token, special=token in special)
    token.special = token.special or token.content in special
    return token


def _as_token(value: Any) -> Any:
    """Return a setting's value with each dictionary in it turned into an AddedToken."""
    if isinstance(value, list):
        return [_as_token(each) for each in value]
    if isinstance(value, dict):
        # tokenizers ignores any other member, but prints a warning about it on stdout.
        return AddedToken(**{key: flag for key, flag in value.items() if key in FLAGS})
    if value is not None and not isinstance(value, str):
        raise TypeError(f"a special token must be text, found {value!r}")
    return value


def _as_list(value: Any) -> list[Any]:
    """Return the tokens in a setting's value: none, one or many."""
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


def _text(token: str | AddedToken | None) -> str:
    return token.content if isinstance(token, AddedToken) else token or ""
