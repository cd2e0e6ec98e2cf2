"""Write a Unigram tokenizer as a SentencePiece model, the file from which bge-m3-lite reads its vocabulary.

The format is that of ``sentencepiece_model.proto`` in https://github.com/google/sentencepiece: field 1 of the file is a
piece, with its text (1), score (2) and type (3); field 2 is the trainer's options, of which 3 is the type of the model.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3  # types of a piece
_UNIGRAM = 1  # type of a model
_FIRST = 4  # XLM-RoBERTa's ids 0 to 3 are <s>, <pad>, </s> and <unk>; a SentencePiece model begins in another order
_MASK = "<mask>"  # is behind the pieces, and is none


def write_sentence_piece(tokenizer: Tokenizer, path: Path) -> None:
    """Write the pieces of a Unigram tokenizer with XLM-RoBERTa's order of ids, and their scores."""
    path.write_bytes(b"".join(_pieces(tokenizer)) + _field(2, _number(3, _UNIGRAM)))


def _pieces(tokenizer: Tokenizer) -> Iterator[bytes]:
    for text, kind in (("<unk>", _UNKNOWN), ("<s>", _CONTROL), ("</s>", _CONTROL)):
        yield _piece(text, 0.0, kind)
    for text, score in json.loads(tokenizer.to_str())["model"]["vocab"][_FIRST:]:
        if text != _MASK:
            yield _piece(text, score, _NORMAL)


def _piece(text: str, score: float, kind: int) -> bytes:
    return _field(1, _field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + _number(3, kind))


def _field(number: int, content: bytes) -> bytes:
    """A field of protobuf with a length."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    """A field of protobuf with a whole number."""
    return bytes([number << 3]) + _varint(value)


def _varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first.

    >>> _varint(300).hex()
    'ac02'
    """
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
