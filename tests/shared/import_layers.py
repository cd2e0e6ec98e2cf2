"""Which room of embedge and embedge_export may import which: the layers, the lowest first.

A room is a package or module directly below embedge or embedge_export; see ``import_graph``.

A room may import the rooms of lower layers, and none of its own layer. ``tests/test_boundaries.py`` checks it.
"""

from collections.abc import Mapping, Sequence

# By package; a package's own name stands for its __init__, which re-exports from every room.
LAYERS: Mapping[str, Sequence[Sequence[str]]] = {
    "embedge": (
        ("errors", "version", "background"),
        ("progress", "text_files"),
        ("bundle",),
        ("inference", "hub"),
        ("model", "tokenizer"),
        ("embed_jobs",),
        ("heads",),
        ("embedder", "reranker", "ship", "async_model"),
        ("async_embedder", "async_reranker"),
        ("server",),
        ("command", "integrations", "function", "__pyinstaller"),
        ("embedge", "__main__", "serverless"),
    ),
    "embedge_export": (
        ("errors", "extras", "steps", "data", "code_version"),
        ("checkpoint",),
        ("graph",),
        ("int8", "optimum"),
        ("job",),
        ("existing", "bundle_files"),
        ("convert", "verify", "read_back", "new_manifest", "kept"),
        ("pipeline",),
        ("command", "exporter", "embedge_export"),
    ),
}


def level_of(package: str) -> dict[str, int]:
    """The layer of each room of a package, from 0, by the room's full name."""
    return {
        room if room == package else f"{package}.{room}": level
        for level, layer in enumerate(LAYERS[package])
        for room in layer
    }
