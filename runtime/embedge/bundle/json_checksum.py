r"""JSON objects that carry a checksum of themselves, so that no damage to what they say goes unseen.

The member ``"crc32"`` of such an object is the CRC-32 (as in ZIP and PNG) of all that the object says beside it, as 8
hex digits in lower case. It is taken over the object's canonical text without that member, in UTF-8:

- no whitespace between tokens; the members of every object in the order of their names' code points;
- a string's characters as they are, but for ``\"``, ``\\``, ``\b``, ``\f``, ``\n``, ``\r`` and ``\t``, and ``\u00xx``,
  its digits in lower case, for others below U+0020;
- a number without fraction and exponent as an integer, any other as the shortest decimal that gives the same double
  back, written as Python's ``repr`` does: ``0.5``, ``2.0``, ``1e-05`` (an exponent, of two digits or more, below 1e-4
  and from 1e16 on).

So line ends, indentation and the order of members may change, as tools do, and what is said may not. A flipped bit of
the file is found wherever it changes what is said: always where that is within 32 bits of the canonical text, as in a
string or a number; elsewhere, as where a member moves, but for one case in 2 ** 32. SHA-256 would find no more damage,
and takes 3 ms of a start to import. Against intent neither helps, being in the object itself.
"""

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

CRC32 = "crc32"


def parse(text: str, *, repeats: bool = False) -> Any:
    """What a JSON text says. Stricter than ``json``: what two readers may take for two things is refused.

    Args:
        text: to read.
        repeats: whether an object may have a member twice, of which the last counts, as most readers have it.

    Raises:
        ValueError: it is not JSON, nested too deeply, has a member twice, a number that is none or more than a double
            holds, or a string that UTF-8 cannot hold.
    """
    members = dict if repeats else _members
    try:
        data = json.loads(text, object_pairs_hook=members, parse_float=_finite, parse_constant=_refuse)
        if "\\ud" in text.lower():  # else it cannot spell one
            json.dumps(data, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError as error:
        raise ValueError(f"a string with a lone surrogate, {error.object[error.start]!r}") from None
    return data


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice!r} is there twice")
    return members


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:40]} is too large a number")
    return number


def _refuse(token: str) -> float:
    raise ValueError(f"{token} is no number that JSON has")


def checksum(data: Mapping[str, Any]) -> str:
    """The CRC-32 of what an object says, as its member says it.

    Raises:
        ValueError: a number of it is none of JSON's.

    >>> checksum({"b": 0.5, "a": "東"}) == checksum({"a": "東", "b": 0.50, "crc32": ""})
    True
    """
    bare = {name: value for name, value in data.items() if name != CRC32}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"{zlib.crc32(text.encode()):08x}"


def seal(data: Mapping[str, Any]) -> str:
    """The JSON text of an object, with its checksum.

    Raises:
        ValueError: a number of it is none of JSON's, or a string cannot be UTF-8.
    """
    sealed = {**data, CRC32: checksum(data)}
    return json.dumps(sealed, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
