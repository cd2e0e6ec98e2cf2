"""Write the fused graph beside an int8 graph. Both read the weights from one file."""

from pathlib import Path

import onnx

from embedge.bundle.files import delete_existing
from embedge_export.int8.fuse import fuse, why_not_fused


def write_fused(graph: Path, path: Path) -> str | None:
    """Write the fused graph of an int8 graph, whose weights it refers to; return None.

    If the operators cannot express the graph, return the reason, and write no file.

    Args:
        graph: the file of a graph from ``quantise``, as ``write_graph`` wrote it.
        path: the new file, in the same folder: references to external data are relative to it.
    """
    delete_existing(path)
    plain = onnx.load(graph, load_external_data=False)
    if reason := why_not_fused(plain):
        return reason
    path.write_bytes(fuse(plain, graph.parent).SerializeToString())
    return None
