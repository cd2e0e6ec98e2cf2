"""Configs: a checkpoint with wrong values in its JSON files.

embedge must raise one of its errors, such as CheckpointError, or export a bundle that opens and returns unit vectors.
``peer_trial`` also compares with sentence-transformers, where that library can load the checkpoint.
"""

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from campaign.mutate import change_json
from campaign.tokenizer_files import LONGEST
from campaign.trial import TEXTS, Bench, FaultError, check_unit, unheard
from embedge import Bundle, Embedder
from embedge_export import export

# Further files that a repository may have, with valid contents for the bench's checkpoint.
_MORE: dict[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "sentence_bert_config.json": {"max_seq_length": 48, "do_lower_case": False},
    "config_sentence_transformers.json": {
        "__version__": {"sentence_transformers": "3.0.0", "transformers": "4.41.0", "pytorch": "2.3.0"},
        "prompts": {"query": "how do i ", "document": ""},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    },
}
_INDEX = {"metadata": {"total_size": 100_000}, "weight_map": {}}


def _checkpoint(bench: Bench, random: Random) -> tuple[str, Path]:
    """Copy the checkpoint and change one JSON file. Return the change and the folder."""
    folder = Path(shutil.copytree(bench.checkpoint, bench.folder / "checkpoint"))
    for name, value in _MORE.items():
        (folder / name).write_text(json.dumps(value))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    if random.random() < 0.08:
        names = ["model.safetensors.index.json"]
        index = {**_INDEX, "weight_map": {"embeddings.LayerNorm.bias": "model.safetensors"}}
        (folder / names[0]).write_text(json.dumps(index))
    name = random.choice([*names, "config.json", "tokenizer_config.json"])
    longest = {"longest": LONGEST} if name == "tokenizer.json" else {}
    what, data = change_json((folder / name).read_bytes(), random, **longest)
    (folder / name).write_bytes(data)
    return f"{name}: {what}", folder


def _exported(bench: Bench, random: Random) -> tuple[str, Path, Embedder]:
    what, folder = _checkpoint(bench, random)
    place = bench.folder / "bundle"
    export(folder, place, precisions=("fp32",), verify=False, cache_dir=bench.folder / "cache", local_files_only=True)
    try:
        Bundle.open(place).check()
        return what, folder, Embedder(place, threads=1)
    except Exception as error:
        raise FaultError(f"exported, and cannot be opened: {what}, {error}") from error


def trial(bench: Bench, random: Random) -> None:
    """Export one changed checkpoint and embed with it."""
    what, _, model = _exported(bench, random)
    vectors = model.encode(list(TEXTS), normalize=True, on_truncate="ignore")
    check_unit(vectors, len(TEXTS), model.dimension, what)


def peer_trial(bench: Bench, random: Random) -> None:
    """Export one changed checkpoint, and compare the vectors with those of sentence-transformers."""
    what, folder, model = _exported(bench, random)
    texts = [*TEXTS, "The CAT", "the cat " * 40]
    from sentence_transformers import SentenceTransformer

    try:
        with unheard(1):  # transformers prints
            peer = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
            expected = peer.encode(texts, normalize_embeddings=True)
    except Exception:
        return  # the library cannot load this checkpoint, so there is nothing to compare
    found = model.encode(texts, normalize=True, on_truncate="ignore")
    if found.shape != expected.shape or not np.isfinite(expected).all():
        raise FaultError(f"sentence-transformers gives another shape: {expected.shape}, not {found.shape}, {what}")
    if (difference := float(np.abs(found - expected).max())) > 1e-4:
        raise FaultError(f"vectors are others than sentence-transformers': {difference:.2g} an element, {what}")
