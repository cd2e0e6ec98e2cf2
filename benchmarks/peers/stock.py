"""ONNX Runtime's own dynamic quantisation of optimum's graph: the int8 model that most people use.

``quantize_dynamic`` stores the weights of matrix multiplications and of the embeddings as int8, and uses one activation
scale for a whole batch. ONNX Runtime runs the graph with all its optimisations, which is the default.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.peers.base import TUNED, Encoder, Kit
from benchmarks.peers.padded import Ids, Run, load_padded

if TYPE_CHECKING:
    from benchmarks.peers.workbench import Workbench

_PER_CHANNEL = {"int8-tensor": False, "int8-channel": True}


def build(bench: "Workbench", variant: str) -> None:
    """Quantise: ``int8-tensor`` with the function's defaults, ``int8-channel`` with one weight scale per channel."""
    quantised(bench, variant.removesuffix(TUNED))


def load(kit: Kit) -> Encoder:
    """Open a session of the variant's graph."""
    path = kit.folder / f"stock-{kit.variant.removesuffix(TUNED)}.onnx"
    tuned = kit.variant.endswith(TUNED)
    run = run_graph(path, threads=1 if tuned else kit.threads)
    return load_padded(kit, run, size=path.stat().st_size, tuned=tuned)


def quantised(bench: "Workbench", variant: str) -> Path:
    """The file of the quantised graph, which is written if it does not exist."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from embedge_export.optimum.load import quiet

    path = bench.folder / f"stock-{variant}.onnx"
    if not path.is_file():
        with quiet():
            quantize_dynamic(bench.traced(), path, per_channel=_PER_CHANNEL[variant], weight_type=QuantType.QInt8)
    return path


def run_graph(path: Path, *, threads: int) -> Run:
    """A session of a graph, as a function of padded ids and their mask."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    named = {tensor.name for tensor in session.get_inputs()}

    def run(ids: Ids, mask: Ids) -> NDArray[Any]:
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden: NDArray[Any] = session.run(["last_hidden_state"], {k: v for k, v in feed.items() if k in named})[0]
        return hidden

    return run
