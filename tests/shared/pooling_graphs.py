"""The two graphs that pool hidden states on a GPU; see ``embedge.inference.device.pool``.

``python tests/shared/pooling_graphs.py`` writes them to where the runtime reads them. It needs onnx.

Every operator has a CUDA kernel for these types. None of them calls cuDNN, as ReduceSum over the tokens would: ONNX
Runtime 1.31 starts without that library.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

FOLDER = Path(__file__).parents[2] / "runtime" / "embedge" / "inference" / "device" / "pooling_graphs"
# The first opset in which GatherND has batch_dims, and the IR version that came with it.
OPSET, IR_VERSION = 12, 7


def pooling_graphs() -> Mapping[str, ModelProto]:
    """Return the graphs, by the name of their file."""
    # Padding may hold NaN, and NaN * 0 is NaN. So its rows become zeros before they are multiplied by their weights.
    mean = [
        helper.make_node("Where", ["is_token", "hidden", "zero"], ["kept"]),
        helper.make_node("MatMul", ["weights", "kept"], ["pooled"]),
    ]
    row = [helper.make_node("GatherND", ["hidden", "positions"], ["pooled"], batch_dims=1)]
    return {
        "mean.onnx": _model(
            "mean",
            mean,
            helper.make_tensor_value_info("is_token", TensorProto.BOOL, ["batch", "tokens", 1]),
            helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["batch", 1, "tokens"]),
            zero=np.array(0, np.float32),
        ),
        "row.onnx": _model("row", row, helper.make_tensor_value_info("positions", TensorProto.INT64, ["batch", 1, 1])),
    }


def _model(name: str, nodes: list[NodeProto], *inputs: ValueInfoProto, **constants: np.ndarray) -> ModelProto:
    hidden, pooled = (
        helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["batch", rows, "dimension"])
        for tensor, rows in (("hidden", "tokens"), ("pooled", 1))
    )
    initializers = [numpy_helper.from_array(value, constant) for constant, value in constants.items()]
    graph = helper.make_graph(nodes, name, [hidden, *inputs], [pooled], initializers)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="embedge")
    checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    for name, model in pooling_graphs().items():
        (FOLDER / name).write_bytes(model.SerializeToString(deterministic=True))
