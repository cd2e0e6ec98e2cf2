"""A checkpoint's folder as sentence-transformers saves it, read by embedge and by sentence-transformers."""

import json
from pathlib import Path
from typing import Any

import pytest

from embedge import Bundle
from embedge.bundle.manifest import TOKENIZER
from embedge.inference.tokenise import Tokeniser
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint

OLD, NEW = "sentence_transformers.models", "sentence_transformers.sentence_transformer.modules"
STANDARD = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}


def read(folder: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=folder, local_files_only=True))


def put(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def modules(kinds: dict[str, str]) -> list[dict[str, Any]]:
    """The content of modules.json, for classes by name and their folders."""
    names = [kind if "." in kind else f"{OLD}.{kind}" for kind in kinds]
    return [
        {"idx": n, "name": str(n), "type": name, "path": path}
        for n, (name, path) in enumerate(zip(names, kinds.values(), strict=True))
    ]


def token_ids(bundle: Bundle, text: str) -> list[int]:
    """The ids that the bundle's tokenizer gives a text, cut to the model's length."""
    tokeniser = Tokeniser(bundle.path / TOKENIZER, max_tokens=bundle.manifest.max_tokens)
    (ids,) = tokeniser.encode([text]).ids
    return [int(index) for index in ids]


def theirs(folder: Path, **options: Any) -> Any:
    library = pytest.importorskip("sentence_transformers")
    return library.SentenceTransformer(str(folder), device="cpu", **options)
