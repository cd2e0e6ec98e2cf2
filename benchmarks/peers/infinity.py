"""infinity-emb's server, with torch or with optimum and ONNX Runtime.

It joins up to 32 waiting texts in a batch, which is its default and pads them to the longest. Its threads are those of
torch and of ONNX Runtime, which take all cores.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers.base import Kit

if TYPE_CHECKING:
    from benchmarks.peers.workbench import Workbench

_ENGINES = {"torch": "torch", "onnx-fp32": "optimum", "onnx-int8": "optimum"}


def build(bench: "Workbench", variant: str) -> None:
    """Write the repository for a variant: the checkpoint, and the one graph that the engine shall take."""
    import shutil

    folder = _path(bench.folder, variant)
    if folder.is_dir():
        return
    shutil.copytree(bench.repository(), folder)
    if variant != "torch":
        from benchmarks.peers.stock import quantised

        source = bench.traced() if variant == "onnx-fp32" else quantised(bench, "int8-channel")
        name = "model.onnx" if variant == "onnx-fp32" else "model_quantized.onnx"
        shutil.copyfile(source, folder / name)


def serve(kit: Kit) -> list[str]:
    """Return the arguments of Python that run the server, but for its port."""
    # In the folder, which has the graph, because the engine gives its path to optimum 2.1, which takes a name only.
    start = f"import os; os.chdir({str(_path(kit.folder, kit.variant))!r}); from infinity_emb.cli import cli; cli()"
    return [
        *("-c", start, "v2"),
        *("--model-id", "."),
        *("--served-model-name", "model"),
        *("--engine", _ENGINES[kit.variant]),
        *("--device", "cpu"),
        *("--pooling-method", kit.pooling),
        *("--url-prefix", "/v1"),
        *("--host", "127.0.0.1"),
        "--no-model-warmup",  # the benchmark warms up all servers alike
        "--no-compile",  # torch would compile again for minutes while requests wait
        *("--log-level", "error"),
    ]


def _path(folder: Path, variant: str) -> Path:
    return folder / f"infinity-{variant}"
