"""Random changes of bytes and JSON. Each function also returns a description of its change."""

import copy
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

_DEEP = "in place of this there are many brackets"
# Values to put into a JSON file where another value is expected.
VALUES: Sequence[Any] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 100, 2**31, 2**63, 2**64, -(2**70), 10**400, 0.5, -0.5, 1e30, 1e308),
    *(float("nan"), float("inf"), "", " ", "0", "x", "\0", "\x1b[31mred\x1b[0m", "a\nb", "\ud800", "x" * 70_000),
    *("../../etc/passwd", "/dev/zero", "mean", "cls", "left", "[MASK]", [], {}, [[]], [None], {"": ""}, _DEEP),
)


def flip(data: bytes, random: Random) -> tuple[str, bytes]:
    """Flip one bit."""
    if not data:
        return "a byte is added", b"\0"
    position, bit = random.randrange(len(data)), random.randrange(8)
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return f"bit {bit} of byte {position} is flipped", bytes(changed)


def cut(data: bytes, random: Random) -> tuple[str, bytes]:
    """Remove the end."""
    size = random.randrange(len(data) + 1)
    return f"it is cut to {size} bytes", data[:size]


def grow(data: bytes, random: Random) -> tuple[str, bytes]:
    """Add bytes at the end."""
    more = random.choice((b"\0", b"\n", b" ", b"}", data, random.randbytes(random.randrange(1, 5000))))
    return f"{len(more)} bytes are added", data + more


def delete(data: bytes, random: Random) -> tuple[str, bytes]:
    """Remove a part."""
    start = random.randrange(len(data) + 1)
    size = random.choice((1, 2, 16, 1000))
    return f"{size} bytes are gone from {start} on", data[:start] + data[start + size :]


def overwrite(data: bytes, random: Random) -> tuple[str, bytes]:
    """Replace a part by zeros, ones or noise, as a failing disk may."""
    start, size = random.randrange(len(data) + 1), random.choice((1, 4, 64, 4096))
    size = min(size, len(data) - start)
    part = random.choice((bytes(size), b"\xff" * size, random.randbytes(size)))
    return f"{size} bytes are others from {start} on", data[:start] + part + data[start + size :]


def repeat(data: bytes, random: Random) -> tuple[str, bytes]:
    """Repeat a part."""
    start = random.randrange(len(data) + 1)
    end = min(len(data), start + random.choice((1, 8, 200, 4096)))
    return f"bytes {start} to {end} are there twice", data[:end] + data[start:]


BYTES: Sequence[Callable[[bytes, Random], tuple[str, bytes]]] = (flip, flip, flip, cut, grow, delete, overwrite, repeat)


def change_bytes(data: bytes, random: Random) -> tuple[str, bytes]:
    """Change bytes at random; the result differs."""
    for _ in range(20):
        what, changed = random.choice(BYTES)(data, random)
        if changed != data:
            return what, changed
    return flip(data, random)


def change_json(data: bytes, random: Random, *, longest: int = 70_000) -> tuple[str, bytes]:
    """Change one value, key or item of a JSON file; sometimes, and where there is none, change bytes instead.

    New strings have at most ``longest`` characters.
    """
    if random.random() < 0.25:
        return change_bytes(data, random)
    tree = copy.deepcopy(json.loads(data))
    places = list(_places(tree, ()))
    if not places:
        return change_bytes(data, random)
    path, container, key = random.choice(places)
    at, what = "/".join(map(str, path)), _change(container, key, random, longest)
    text = json.dumps(tree).replace(f'"{_DEEP}"', "[" * 60_000 + "]" * 60_000)
    return f"{at} {what}", text.encode()


def _places(tree: Any, path: tuple[Any, ...]) -> Any:
    """Every value inside, with its path, its container and its key."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key), tree, key
        yield from _places(value, (*path, key))


def _change(container: Any, key: Any, random: Random, longest: int) -> str:
    value = container[key]
    way = random.randrange(8)
    if way == 0:
        del container[key]
        return "is gone"
    if way == 1 and isinstance(container, dict):
        container[f"{key}x"] = container.pop(key)
        return "is spelled otherwise"
    if way == 2:
        container[key] = [value]
        return "is in a list"
    if way == 3 and isinstance(container, list):
        container.insert(key, copy.deepcopy(value))
        return "is there twice"
    if way == 4 and isinstance(value, bool | int | float):
        container[key] = random.choice((not value, value + 1, -value, value * 1000, value / 2))
        return f"is {container[key]!r:.40}"
    if way == 5 and isinstance(value, str):
        container[key] = random.choice((value + "x", value[:-1], value.upper(), value[::-1], value * 3, f" {value}"))
        return f"is {container[key]!r:.40}"
    chosen = copy.deepcopy(random.choice(VALUES))
    container[key] = chosen[:longest] if isinstance(chosen, str) else chosen
    return f"is {container[key]!r:.40}"
