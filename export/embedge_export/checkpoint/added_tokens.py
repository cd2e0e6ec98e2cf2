"""The tokens that a checkpoint's files add to its tokenizer, as transformers adds them.

Source: transformers 4.57, PreTrainedTokenizerBase._from_pretrained and PreTrainedTokenizerFast.__init__.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer

from embedge.errors import CheckpointError
from embedge_export.checkpoint.tokenizer_classes import TokenizerClass

_LONGEST = 1000  # characters of a token that is added
SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
FLAGS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
_MORE = "additional_special_tokens"
_LISTED = "added_tokens_decoder"


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
    check_lengths((_text(token) for token in new), where="tokenizer_config.json or a file beside it")
    named = {_text(token) for token in special}
    known = tokenizer.get_vocab(with_added_tokens=True)
    of_files = {_text(token) for value in declared.values() for token in _each(value)}
    free = rows - 1 - max(known.values(), default=-1)
    wanted = [token for token in new if _text(token) in known.keys() | of_files | by_text.keys()]
    wanted += [token for token in new if token not in wanted][: max(free, 0)]
    tokenizer.add_tokens([_flagged(token, named) for token in new if token in wanted])


def check_lengths(tokens: Iterable[str], *, where: str) -> None:
    """Raises CheckpointError where an added token is so long that reading the tokenizer takes minutes.

    The time grows with the square of its length: 18 s for 16,000 characters.
    """
    for text in tokens:
        if len(text) > _LONGEST:
            raise CheckpointError(
                f"{where} adds a token of {len(text)} characters, and {_LONGEST} are the most; remove it"
            )


def _texts(tokenizer: Tokenizer) -> list[str]:
    return [token.content for token in tokenizer.get_added_tokens_decoder().values()]


def merged(files: TokenFiles) -> dict[str, Any]:
    """The settings, and what special_tokens_map.json says where that counts; as tokenizer_config.json could say it."""
    settings = dict(files.settings)
    if _LISTED in settings:
        return settings
    named = {key: _as_setting(value) for key, value in files.special.items()}
    more = _each(settings.get(_MORE))
    more += [token for token in _each(named.get(_MORE)) if token not in more]
    return {**settings, **named, **({_MORE: more} if more else {})}


def _as_setting(value: Any) -> Any:
    """A token, or a list of them, of special_tokens_map.json, where one with flags has no type."""
    if isinstance(value, list):
        return [_as_setting(each) for each in value]
    return {**value, "special": True, "__type": "AddedToken"} if isinstance(value, dict) else value


def _listed(tokenizer: Tokenizer, files: TokenFiles) -> tuple[list[AddedToken], dict[str, Any]]:
    """The tokens that are listed by id, in that order; and the special ones that are named."""
    settings = merged(files)
    declared = {key: _typed(settings[key]) for key in (*SPECIAL, _MORE) if key in settings}
    if _LISTED in settings:
        by_id = {int(index): _typed(token) for index, token in settings[_LISTED].items()}
    else:
        special = {_text(token) for value in declared.values() for token in _each(value)}
        by_id = {
            index: AddedToken(text, normalized=text not in special, special=text in special)
            for text, index in files.added.items()
        }
        by_id |= tokenizer.get_added_tokens_decoder()
    extra = settings.get("extra_special_tokens") or {}
    extra = extra if isinstance(extra, dict) else {f"extra {place}": token for place, token in enumerate(extra)}
    declared |= {key: _typed(token) for key, token in extra.items()}
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


def _typed(value: Any) -> Any:
    """A setting's value, its dictionaries made tokens."""
    if isinstance(value, list):
        return [_typed(each) for each in value]
    if isinstance(value, dict):
        # tokenizers tells of any other member on stdout, and takes no notice of it.
        return AddedToken(**{key: flag for key, flag in value.items() if key in FLAGS})
    if value is not None and not isinstance(value, str):
        raise TypeError(f"a special token must be text, found {value!r}")
    return value


def _each(value: Any) -> list[Any]:
    """The tokens in a setting's value: none, one or many."""
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


def _text(token: str | AddedToken | None) -> str:
    return token.content if isinstance(token, AddedToken) else token or ""
