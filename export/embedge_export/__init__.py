"""embedge's exporter: checkpoint -> graph -> quantise -> verify -> bundle.

    from embedge_export import export

    bundle = export("bge-small-en-v1.5")

It reads in the order that the data flows: ``recipe``, ``fetch``, ``checkpoint``, ``tensors``, ``graph``, then
``quantise`` or ``half``, ``verify``, ``bundle``; ``pipeline`` is that line as code. ``reference`` and ``traced`` are
optimum's side; ``destination`` and ``steps`` keep the pipeline short.
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
