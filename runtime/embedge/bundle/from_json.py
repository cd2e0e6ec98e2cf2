"""Reads JSON into frozen dataclasses and checks every field, because a manifest may come from anywhere."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from embedge.bundle.json_checksum import CRC32, checksum, parse
from embedge.errors import BundleCorruptError, BundleError, short

T = TypeVar("T")
_LARGEST = 2**63 - 1  # the largest integer of most languages; no size in bytes is larger
_REMEDY = "download or export the bundle again"


def read_record(kind: type[T], text: str, *, where: str, version: int, before_checksum: frozenset[str]) -> T:
    """Read a frozen dataclass from JSON text. Unknown fields are ignored, so that later versions can add some.

    Args:
        kind: the dataclass. Its annotations are types, not strings: str, int, float, bool, None, Literal,
            Mapping[str, ...], tuple[..., ...] or such dataclasses.
        text: a JSON object with a ``format_version`` and a checksum; see ``embedge.bundle.json_checksum``.
        where: names the text in errors.
        version: the highest ``format_version`` that can be read.
        before_checksum: the members that objects had before the checksum existed. An object with any other member and
            no checksum is damaged: a flipped bit has changed the checksum's name.

    Raises:
        BundleCorruptError: the text has changed since it was written.
        BundleError: it is not JSON, has a newer format, or a field is missing or has the wrong type.
    """
    try:
        data = parse(text)
    except ValueError as error:
        raise BundleError(f"{where} is not JSON ({error}); {_REMEDY}") from error
    written = data.get("format_version") if isinstance(data, dict) else None
    if isinstance(written, int) and written > version:
        raise BundleError(
            f"{where} has format {written}, newer than {version}; run `pip install -U embedge` to read it"
        )
    try:
        if isinstance(data, dict):
            _check_unchanged(data, where, before_checksum)
        return to_record(kind, data)
    except MismatchError as error:
        raise BundleError(f"{where}: {error}; {_REMEDY}") from error
    except RecursionError as error:
        raise BundleError(f"{where} is nested too deeply; {_REMEDY}") from error


def _check_unchanged(data: Mapping[str, Any], where: str, before_checksum: frozenset[str]) -> None:
    """Raise BundleCorruptError if an object differs from what was written."""
    if CRC32 not in data:
        if later := sorted(data.keys() - before_checksum):
            raise BundleCorruptError(
                f"{where} has changed since it was written (it has {later[0]!r} but no checksum, {CRC32!r}); {_REMEDY}"
            )
        return
    actual = checksum(data)
    if data[CRC32] != actual:
        recorded = short(data[CRC32])
        raise BundleCorruptError(
            f"{where} has changed since it was written (CRC-32 {actual!r}, not {recorded}); {_REMEDY}"
        )


class MismatchError(Exception):
    """A value is missing, or does not have the type that the dataclass declares."""


def to_record(kind: type[T], data: Any, at: str = "") -> T:
    """Make a frozen dataclass from the values that ``json`` reads; ``at`` is their path, for errors.

    Raises:
        MismatchError: a field is missing or has the wrong type.
    """
    if not isinstance(data, dict):
        raise MismatchError(f"{at or 'the JSON text'} must be an object, found {short(data)}")
    values = {}
    for field in fields(kind):  # type: ignore[arg-type]  # kind is a dataclass
        if field.name in data:
            values[field.name] = _value(field.type, data[field.name], f"{at}.{field.name}".lstrip("."))
        elif field.default is MISSING and field.default_factory is MISSING:
            raise MismatchError(f"{at}.{field.name}".lstrip(".") + " is missing")
    return kind(**values)


def _value(hint: Any, data: Any, at: str) -> Any:
    """Return ``data`` as the type ``hint``; raise MismatchError if it is of another type."""
    if is_dataclass(hint) and isinstance(hint, type):
        return to_record(hint, data, at)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in get_args(hint) if arg is not type(None))
        return None if data is None else _value(inner, data, at)
    if origin is Literal:
        if data not in get_args(hint):
            raise MismatchError(f"{at} must be one of {', '.join(map(str, get_args(hint)))}, found {short(data)}")
        return data
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(data, dict):
            raise MismatchError(f"{at} must be an object, found {short(data)}")
        inner = get_args(hint)[1]
        return {key: _value(inner, item, f"{at}.{key}") for key, item in data.items()}
    if origin is tuple:
        if not isinstance(data, list):
            raise MismatchError(f"{at} must be a list, found {short(data)}")
        return tuple(_value(get_args(hint)[0], item, f"{at}[{index}]") for index, item in enumerate(data))
    # To Python a bool is an int; to JSON it is not. An int is a valid float in both.
    accepted = (int, float) if hint is float else (hint,)
    if not isinstance(data, accepted) or (isinstance(data, bool) and hint is not bool):
        raise MismatchError(f"{at} must be {hint.__name__}, found {short(data)}")
    if isinstance(data, int | float) and not -_LARGEST <= data <= _LARGEST:
        raise MismatchError(f"{at} is out of range, found {short(data)}")
    return data
