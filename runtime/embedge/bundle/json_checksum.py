r"""JSON objects that contain their own checksum, so that a reader notices when their content has changed.

The member ``"crc32"`` of such an object is the CRC-32 (as in ZIP and PNG) of all its other members, as 8 hex digits in
lower case. It is computed over the object's canonical text without that member, in UTF-8:

- no whitespace between tokens; the members of every object sorted by the code points of their names;
- a string's characters unescaped, except ``\"``, ``\\``, ``\b``, ``\f``, ``\n``, ``\r`` and ``\t``, and ``\u00xx``,
  with digits in lower case, for other characters below U+0020;
- a number without fraction and exponent as an integer; any other as the shortest decimal that gives the same double
  back, as Python's ``repr`` writes it: ``0.5``, ``2.0``, ``1e-05`` (with an exponent of at least two digits below 1e-4
  and from 1e16 on).

So a tool may change line ends, indentation and the order of members, but not the content. A flipped bit in the file is
always noticed if it changes at most 32 adjacent bits of the canonical text, as in a string or a number. Of other
changes, such as a member that moves, all but one in 2 ** 32 are noticed. SHA-256 would find no more damage, and
importing it takes 3 ms at every start. Neither protects against deliberate changes, because the checksum is in the
object itself.
"""

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

from embedge.errors import find_surrogate, short

CRC32 = "crc32"


def parse(text: str, *, repeats: bool = False) -> Any:
    """Read a JSON text. Stricter than ``json``: a text that two readers may understand differently is an error.

    Args:
        text: the JSON.
        repeats: whether an object may have two members of the same name, of which the last counts, as in most readers.

    Raises:
        ValueError: it is not JSON or is nested too deeply, an object has two members of the same name, a number is not
            finite or too large for a double, or a string has a lone surrogate.
    """
    members = dict if repeats else _members
    try:
        data = json.loads(text, object_pairs_hook=members, parse_float=_finite, parse_constant=_refuse)
        # Only an escape \ud800 to \udfff can spell a surrogate.
        surrogate = find_surrogate(json.dumps(data, ensure_ascii=False)) if "\\ud" in text.lower() else None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if surrogate:
        raise ValueError(f"a string with a lone surrogate, {surrogate}")
    return data


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the member {twice!r} is there twice")
    return members


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {short(digits, write=str)} is too large")
    return number


def _refuse(token: str) -> float:
    raise ValueError(f"{token} is not a JSON number")


def checksum(data: Mapping[str, Any]) -> str:
    """Return an object's checksum, as its member ``"crc32"`` has it.

    Raises:
        ValueError: it contains a number that JSON cannot express.

    >>> checksum({"b": 0.5, "a": "東"}) == checksum({"a": "東", "b": 0.50, "crc32": ""})
    True
    """
    bare = {name: value for name, value in data.items() if name != CRC32}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"{zlib.crc32(text.encode()):08x}"


def seal(data: Mapping[str, Any]) -> str:
    """Return an object's JSON text with its checksum.

    Raises:
        ValueError: it contains a number that JSON cannot express, or a string with a lone surrogate.
    """
    sealed = {**data, CRC32: checksum(data)}
    return json.dumps(sealed, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
