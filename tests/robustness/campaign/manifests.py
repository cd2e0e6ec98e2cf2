"""Manifests: embedge.json with a flipped bit or another value, or not JSON.

embedge must refuse it, or read the same manifest as before, because another value could change the vectors. A manifest
without a digest, as older versions wrote it, may have any value that is possible for a model; then the vectors must be
finite.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from campaign.mutate import change_bytes, change_json
from campaign.trial import TEXTS, Bench, FaultError, check_unit
from embedge import Bundle, Embedder
from embedge.bundle.manifest import Manifest

_OTHER = ("", " ", "null", "[]", "{}", "0", '"x"', "\ufeff{}", "[" * 100_000, '{"a":' * 50_000, "{" * 9, "\0" * 100)
# Possible names of the field with the digest of the rest. Without it, the manifest counts as one of an older version.
_DIGESTS = ("digest", "manifest_sha256", "sha256", "checksum", "crc32")


def _facts(manifest: Manifest) -> dict[str, Any]:
    return {name: value for name, value in asdict(manifest).items() if name not in _DIGESTS}


def trial(bench: Bench, random: Random) -> None:
    """Change a manifest and open it; or remove its digest, change it, open it and embed."""
    path = bench.bundle / "embedge.json"
    whole = Manifest.from_json(path.read_text(encoding="utf-8"))
    data = path.read_bytes()
    aged = random.random() < 0.3
    if aged:
        data = json.dumps({key: value for key, value in json.loads(data).items() if key not in _DIGESTS}).encode()
    way = random.random()
    if way < 0.05:
        what, data = "another text", random.choice(_OTHER).encode(random.choice(("utf-8", "utf-16", "utf-32")))
    else:
        what, data = (change_bytes if way < 0.4 and not aged else change_json)(data, random)
    folder = bench.folder / "bundle"
    folder.mkdir()
    (folder / "embedge.json").write_bytes(data)
    found = Bundle.open(folder).manifest
    if aged:
        _use(bench, folder, random, what)
    elif _facts(found) != _facts(whole):
        changed = [name for name, value in _facts(whole).items() if _facts(found)[name] != value]
        raise FaultError(f"a manifest with another {', '.join(changed)} is taken: {what}")


def _use(bench: Bench, folder: Path, random: Random, what: str) -> None:
    """Load the bundle with that manifest: embedge returns vectors of its dimension, or raises one of its errors."""
    for path in bench.bundle.iterdir():
        if path.name != "embedge.json":
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, folder / path.name)
    model = Embedder(folder, threads=1)
    texts = random.sample(TEXTS, 2)
    vectors = model.encode_query(texts)
    if not getattr(model.bundle.manifest, "normalize", True):  # then vectors may have any length
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    check_unit(vectors, 2, model.dimension, f"a manifest that was changed: {what}")
    model.bundle.check()
