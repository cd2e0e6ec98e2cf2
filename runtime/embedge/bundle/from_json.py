"""JSON to frozen dataclasses, checked field by field: the manifest is data from outside."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from embedge.bundle.json_checksum import CRC32, checksum, parse
from embedge.errors import BundleCorruptError, BundleError, short

T = TypeVar("T")
_LARGEST = 2**63 - 1  # of a number, as of integers in most languages; sizes in bytes stay below
_AGAIN = "get the bundle again, or export it again"


def read_record(kind: type[T], text: str, *, where: str, version: int, bare: frozenset[str]) -> T:
    """A frozen dataclass from JSON text. Unknown fields are left out, so that later embedges can add some.

    Args:
        kind: the dataclass, annotated by types themselves and not by their names: str, int, float, bool, None, Literal,
            Mapping[str, ...], tuple[..., ...] or such dataclasses.
        text: a JSON object with a ``format_version``, and with its checksum; see ``embedge.bundle.json_checksum``.
        where: names the text in errors.
        version: the highest ``format_version`` that is understood.
        bare: the members of objects from before there was a checksum. One without a checksum and with any other member
            has lost it, by damage to its name.

    Raises:
        BundleCorruptError: it has changed since it was written.
        BundleError: not JSON, a newer format, or a field that is missing or of another type.
    """
    try:
        data = parse(text)
    except ValueError as error:
        raise BundleError(f"{where} is not JSON ({error}); {_AGAIN}") from error
    found = data.get("format_version") if isinstance(data, dict) else None
    if isinstance(found, int) and found > version:
        raise BundleError(f"{where} has format {found}, newer than {version}; `pip install -U embedge` reads it")
    try:
        if isinstance(data, dict):
            _check_unchanged(data, where, bare)
        return to_record(kind, data)
    except MismatchError as error:
        raise BundleError(f"{where}: {error}; {_AGAIN}") from error
    except RecursionError as error:
        raise BundleError(f"{where} is nested too deeply; {_AGAIN}") from error


def _check_unchanged(data: Mapping[str, Any], where: str, bare: frozenset[str]) -> None:
    """Raises BundleCorruptError where an object says another thing than when it was written."""
    if CRC32 not in data:
        if later := sorted(data.keys() - bare):
            raise BundleCorruptError(f"{where} has {later[0]!r} and no {CRC32!r}: it has changed; {_AGAIN}")
        return
    found = checksum(data)
    if data[CRC32] != found:
        recorded = short(data[CRC32])
        raise BundleCorruptError(
            f"{where} has changed since it was written (CRC-32 {found!r}, not {recorded}); {_AGAIN}"
        )


class MismatchError(Exception):
    """A value is missing or of another type than the dataclass says."""


def to_record(kind: type[T], data: Any, at: str = "") -> T:
    """A frozen dataclass from plain values; ``at`` is the path to them in errors.

    Raises:
        MismatchError: a field is missing or of another type.
    """
    if not isinstance(data, dict):
        raise MismatchError(f"{at or 'the whole'} must be an object, found {short(data)}")
    values = {}
    for field in fields(kind):  # type: ignore[arg-type]  # kind is a dataclass
        if field.name in data:
            values[field.name] = _value(field.type, data[field.name], f"{at}.{field.name}".lstrip("."))
        elif field.default is MISSING and field.default_factory is MISSING:
            raise MismatchError(f"{at}.{field.name}".lstrip(".") + " is missing")
    return kind(**values)


def _value(hint: Any, data: Any, at: str) -> Any:
    """``data`` as ``hint`` says, or a mismatch."""
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
    # bool is an int to Python, but not to JSON; an int is a float to both.
    accepted = (int, float) if hint is float else (hint,)
    if not isinstance(data, accepted) or (isinstance(data, bool) and hint is not bool):
        raise MismatchError(f"{at} must be {hint.__name__}, found {short(data)}")
    if isinstance(data, int | float) and not -_LARGEST <= data <= _LARGEST:
        raise MismatchError(f"{at} is out of range, found {short(data)}")
    return data
