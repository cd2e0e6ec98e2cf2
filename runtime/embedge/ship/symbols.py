"""Blanks the symbol tables of Linux libraries, so that they compress to nothing.

A library's ``.symtab`` is for debuggers; the dynamic loader reads ``.dynsym``, which stays. The tables are filled with
zeros and not removed, because `strip` moves what follows them, and breaks numpy's OpenBLAS: auditwheel has moved parts
that the loader needs to the end of that file.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# The format is in elf(5): a 64-bit little-endian file, its section headers, and its program headers.
_MAGIC = b"\x7fELF\x02\x01"
_HEADER, _SECTION, _SEGMENT = (
    struct.Struct("<16sHHIQQQIHHHHHH"),
    struct.Struct("<IIQQQQIIQQ"),
    struct.Struct("<IIQQQQQQ"),
)
_SYMTAB, _STRTAB, _ALLOCATED, _LOAD = 2, 3, 2, 1  # SHT_SYMTAB, SHT_STRTAB, SHF_ALLOC, PT_LOAD


@dataclass(frozen=True, slots=True)
class _Range:
    """A part of the file."""

    start: int
    size: int

    def overlaps(self, other: "_Range") -> bool:
        return self.start < other.start + other.size and other.start < self.start + self.size


def blank_symbols(folder: Path) -> int:
    """Fill the symbol tables of all ELF files of a folder with zeros, and return how many bytes that were."""
    return sum(_blank(path) for path in folder.rglob("*") if ".so" in path.suffixes and path.is_file())


def _blank(path: Path) -> int:
    data = path.read_bytes()
    tables = list(_tables(data)) if data.startswith(_MAGIC) else []
    if tables:
        with path.open("r+b") as file:
            for table in tables:
                file.seek(table.start)
                file.write(bytes(table.size))
    return sum(table.size for table in tables)


def _tables(data: bytes) -> Iterator[_Range]:
    """The symbol tables and the tables of their names, but none of which a part is loaded into memory."""
    _, _, _, _, _, segments, sections, _, _, _, segment_count, _, section_count, names = _HEADER.unpack_from(data)
    headers = [_SECTION.unpack_from(data, sections + index * _SECTION.size) for index in range(section_count)]
    loaded = [
        _Range(offset, size)
        for kind, _, offset, _, _, size, _, _ in (
            _SEGMENT.unpack_from(data, segments + index * _SEGMENT.size) for index in range(segment_count)
        )
        if kind == _LOAD
    ]
    in_use = {header[6] for header in headers if header[1] != _SYMTAB} | {names}  # the indices of other sections' names
    for _, kind, flags, _, offset, size, link, *_ in headers:
        if kind != _SYMTAB or flags & _ALLOCATED:
            continue
        found = [_Range(offset, size)]
        if link not in in_use and headers[link][1] == _STRTAB and not headers[link][2] & _ALLOCATED:
            found.append(_Range(headers[link][4], headers[link][5]))
        yield from (table for table in found if not any(map(table.overlaps, loaded)))
