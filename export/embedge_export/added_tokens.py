"""The tokens that a checkpoint's files add to its tokenizer, as transformers adds them.

Source: transformers 4.57, PreTrainedTokenizerBase._from_pretrained and PreTrainedTokenizerFast.__init__.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer

from embedge_export.tokenizer_classes import TokenizerClass

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_MORE = "additional_special_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFiles:
    """What the files beside a tokenizer.json say of tokens.

    Attributes:
        settings: tokenizer_config.json.
        special: special_tokens_map.json, which counts where the settings have no ``added_tokens_decoder``.
        added: added_tokens.json, ids by token, which counts likewise.
    """

    settings: Mapping[str, Any]
    special: Mapping[str, Any]
    added: Mapping[str, int]


def add_tokens(tokenizer: Tokenizer, files: TokenFiles, kind: TokenizerClass, *, rows: int) -> None:
    """Add the tokens that files and class name, in place; those that are there already may change their flags.

    Args:
        tokenizer: of the checkpoint.
        files: beside it.
        kind: the class that they are for.
        rows: of the model's embedding table. A token that only the class names, and that no row is left for, stays out:
            transformers gives it an id at which the model fails.
    """
    listed, declared = _listed(tokenizer, files)
    by_text = {token.content: token for token in listed}
    declared = {key: value if key == _MORE else by_text.get(_text(value), value) for key, value in declared.items()}
    special = _special_tokens(declared, kind)
    there = {*_texts(tokenizer), *by_text}
    # As transformers compares: a token with flags is never the same as a text.
    new = [*listed, *(token for token in special if token not in listed and token not in there)]
    named = {_text(token) for token in special}
    known = tokenizer.get_vocab(with_added_tokens=True)
    of_files = {_text(token) for value in declared.values() for token in _each(value)}
    free = rows - 1 - max(known.values(), default=-1)
    wanted = [token for token in new if _text(token) in known.keys() | of_files | by_text.keys()]
    wanted += [token for token in new if token not in wanted][: max(free, 0)]
    tokenizer.add_tokens([_flagged(token, named) for token in new if token in wanted])


def _texts(tokenizer: Tokenizer) -> list[str]:
    return [token.content for token in tokenizer.get_added_tokens_decoder().values()]


def _listed(tokenizer: Tokenizer, files: TokenFiles) -> tuple[list[AddedToken], dict[str, Any]]:
    """The tokens that are listed by id, in that order; and the special ones that are named."""
    settings = dict(files.settings)
    if "added_tokens_decoder" in settings:
        by_id = {int(index): _token(token) for index, token in settings["added_tokens_decoder"].items()}
    else:
        more = [*_each(settings.get(_MORE)), *_each(_from_map(files.special.get(_MORE)))]
        settings |= {key: _from_map(value) for key, value in files.special.items()} | ({_MORE: more} if more else {})
        special = {_text(token) for key in (*SPECIAL, _MORE) for token in _each(settings.get(key))}
        by_id = {
            index: AddedToken(text, normalized=text not in special, special=text in special)
            for text, index in files.added.items()
        }
        by_id |= tokenizer.get_added_tokens_decoder()
    declared = {key: settings[key] for key in (*SPECIAL, _MORE) if key in settings}
    declared = {key: _typed(value) for key, value in declared.items()}
    extra = settings.get("extra_special_tokens") or {}
    declared |= extra if isinstance(extra, dict) else {f"extra {place}": token for place, token in enumerate(extra)}
    return [by_id[index] for index in sorted(by_id)], declared


def _special_tokens(declared: Mapping[str, Any], kind: TokenizerClass) -> list[str | AddedToken]:
    """All special tokens, by the order of their names; of two with one text, the first."""
    named: dict[str, Any] = dict.fromkeys(SPECIAL) | {_MORE: kind.additional} | dict(kind.special) | dict(declared)
    found: dict[str, str | AddedToken] = {}
    for key, value in named.items():
        for token in _each(value):
            flags = kind.mask if key == "mask_token" else {"normalized": True} if kind.normalized else {}
            plain = isinstance(token, str) and flags and key in SPECIAL
            found.setdefault(_text(token), AddedToken(token, **flags) if plain else token)
    return list(found.values())


def _flagged(token: str | AddedToken, special: Iterable[str]) -> AddedToken:
    """A token that is special where it is named as such."""
    if isinstance(token, str):
        return AddedToken(token, special=token in special)
    token.special = token.special or token.content in special
    return token


def _from_map(value: Any) -> Any:
    """A value of special_tokens_map.json: text, a token as a dictionary, or a list of these."""
    if isinstance(value, list):
        return [_from_map(each) for each in value]
    return _token({**value, "special": True}) if isinstance(value, dict) else value


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return [_typed(each) for each in value]
    return _token(value) if isinstance(value, dict) else value


def _token(value: Mapping[str, Any]) -> AddedToken:
    return AddedToken(**{key: flag for key, flag in value.items() if key not in ("__type", "id")})


def _each(value: Any) -> list[Any]:
    """The tokens in a setting's value: none, one or many."""
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


def _text(token: str | AddedToken | None) -> str:
    return token.content if isinstance(token, AddedToken) else token or ""
