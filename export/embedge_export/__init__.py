"""The exporter of embedge: it turns a checkpoint into a bundle.

    from embedge_export import export

    bundle = export("bge-small-en-v1.5")

The packages follow the data. ``checkpoint`` reads a checkpoint's files. ``graph`` builds the float32 graph and ``int8``
quantises it; ``optimum`` traces the graph instead, for architectures that ``graph`` does not know. ``verify`` compares
the new graphs with a reference. ``pipeline`` runs these steps in order and writes the bundle: start reading there.

``job`` checks the options, ``existing`` finds what an older bundle lacks, ``convert`` makes the graphs, and
``bundle_files``, ``new_manifest`` and ``read_back`` write the bundle and read it again. ``exporter`` is what the
runtime loads, and ``command`` holds the subcommands.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedge_export.pipeline import export

__all__ = ["export"]


def __getattr__(name: str) -> Any:
    if name == "export":
        from embedge_export.pipeline import export

        return export
    raise AttributeError(f"module 'embedge_export' has no attribute {name!r}")
