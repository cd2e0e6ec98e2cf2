"""The tokens of texts, for ``POST /tokenize``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from embedge.errors import find_surrogate
from embedge.server.request_error import RequestError

# Characters of a text; the model reads no more with a WordPiece tokenizer.
_MOST = 65_536


def list_tokens(path: Path, texts: Sequence[str], *, special_tokens: bool) -> list[list[dict[str, Any]]]:
    """Return the tokens of each text, before truncation: id, text, whether it is special, first and end character.

    Args:
        path: of the file ``tokenizer.json``. It is read once more, the first time: the model's own tokeniser counts no
            characters, and is faster for it.
        texts: the texts.
        special_tokens: whether to add the tokens that the model needs at the ends.

    Raises:
        RequestError: a text is too long, or is not valid Unicode.
    """
    for index, text in enumerate(texts):
        if len(text) > _MOST:
            raise RequestError(f"inputs[{index}] has {len(text)} characters; send at most {_MOST}", "too_long")
        if found := find_surrogate(text):
            raise RequestError(f"inputs[{index}] is not valid Unicode: a lone surrogate, {found}; remove it")
    encodings = _tokenizer(path).encode_batch(list(texts), add_special_tokens=special_tokens)
    return [_describe(encoding) for encoding in encodings]


@cache
def _tokenizer(path: Path) -> Any:
    from embedge.inference.tokenizer_file import load_tokenizer

    return load_tokenizer(path)


def _describe(encoding: Any) -> list[dict[str, Any]]:
    tokens = zip(encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True)
    return [
        {"id": index, "text": text, "special": bool(special), "start": start, "stop": stop}
        for index, text, special, (start, stop) in tokens
    ]
