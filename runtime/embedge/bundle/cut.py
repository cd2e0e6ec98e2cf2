"""Cuts a bundle to some of its precisions: the manifest that is left, and the files whose content changes with it."""

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from embedge.bundle.json_checksum import parse, seal
from embedge.bundle.manifest import LARGEST_MANIFEST
from embedge.bundle.transformers_js import CONFIG, parse_config, with_transformers_js
from embedge.bundle.write_files import ReadFile, check_content, select_precisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What is left of a bundle.

    Attributes:
        text: the JSON of its manifest.
        changed: the content of the files that differ from the whole bundle's, by name.
    """

    text: str
    changed: Mapping[str, bytes]

    def reads(self, read: ReadFile) -> ReadFile:
        """Return a function that reads a file of the cut bundle; ``read`` reads one of the whole bundle."""

        def read_cut(name: str) -> Iterable[bytes]:
            return [self.changed[name]] if name in self.changed else read(name)

        return read_cut


def cut(text: str, precisions: Sequence[str], read: ReadFile, *, where: str) -> Cut:
    """Cut a bundle to these precisions. config.json then names the graphs that are left, for transformers.js.

    A bundle that keeps all its precisions stays as it is, even if its config.json names no graphs: its files must equal
    those of the hub's commit. The same cut always gives the same bytes.

    Args:
        text: the whole bundle's manifest, which ``Manifest.from_json`` has accepted.
        precisions: the precisions to keep.
        read: reads a file of the whole bundle.
        where: names the whole bundle in errors.

    Raises:
        BundleCorruptError: config.json differs from the manifest.
    """
    left = select_precisions(text, precisions)
    data = parse(left)
    record = data["files"].get(CONFIG)
    is_whole = data["precisions"].keys() == parse(text)["precisions"].keys()
    if is_whole or record is None or record["size"] > LARGEST_MANIFEST:  # no model's configuration is that large
        return Cut(text=left, changed={})
    content = _read_config(read(CONFIG), record, where)
    config = parse_config(content)
    new = content if config is None else with_transformers_js(config, data["files"])
    if new == content:
        return Cut(text=left, changed={})
    record |= {"size": len(new), "sha256": hashlib.sha256(new).hexdigest(), "crc32": f"{zlib.crc32(new):08x}"}
    return Cut(text=seal(data), changed={CONFIG: new})


def _read_config(blocks: Iterable[bytes], record: Mapping[str, object], where: str) -> bytes:
    content, size = b"", int(str(record["size"]))
    for block in blocks:
        content += block
        if len(content) > size:
            break  # the rest could be endless
    check_content(
        what=f"{CONFIG} of {where}",
        written=len(content),
        size=size,
        digest=hashlib.sha256(content),
        expected=str(record["sha256"]),
    )
    return content
