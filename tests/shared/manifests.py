"""Change manifests in tests, with a correct checksum, which is computed here independently from its definition."""

import binascii
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def canonical(value: Any) -> str:
    """The canonical text of a value, as ``embedge.bundle.json_checksum`` defines it."""
    match value:
        case dict():
            members = (
                f"{canonical(name)}:{canonical(value[name])}" for name in sorted(value, key=lambda n: list(map(ord, n)))
            )
            return "{" + ",".join(members) + "}"
        case list():
            return "[" + ",".join(map(canonical, value)) + "]"
        case str():
            return '"' + "".join(_SHORT.get(c) or (c if c >= " " else f"\\u{ord(c):04x}") for c in value) + '"'
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case _:
            return repr(value)


def sealed(data: dict[str, Any]) -> str:
    """The JSON of a manifest with its checksum, in one line, with the members in the order of ``data``."""
    bare = {name: value for name, value in data.items() if name != "crc32"}
    return json.dumps({"crc32": f"{binascii.crc32(canonical(bare).encode()):08x}", **bare})


def change(folder: Path, changing: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest of a bundle."""
    path = folder / "embedge.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    changing(data)
    path.write_text(sealed(data), encoding="utf-8")
