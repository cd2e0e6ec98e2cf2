"""The peak multiplication rate of one core: the best rate of ONNX Runtime's matrix products, int8 and float32."""

import time

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# Rows, inputs and outputs: the products of encoders, and squarer ones, which make better use of caches.
_PRODUCTS = ((256, 384, 1536), (256, 1536, 384), (512, 768, 3072), (512, 1024, 1024))
_SECONDS = 0.4  # for each product


def measure_peak(kind: str) -> float:
    """The multiply-adds per second of one core, the best over several sizes and many runs.

    Args:
        kind: ``int8`` multiplies uint8 rows by int8 weights and sums in int32; ``float32`` does all in float32.
    """
    return max(_rate(kind, *sizes) for sizes in _PRODUCTS)


def _rate(kind: str, rows: int, inputs: int, outputs: int) -> float:
    random = np.random.default_rng(0)
    weight: NDArray[np.generic] = random.integers(-64, 64, (inputs, outputs), np.int8)
    left: NDArray[np.generic] = random.integers(0, 256, (rows, inputs), np.uint8)
    if kind == "float32":
        weight, left = weight.astype(np.float32), left.astype(np.float32)
    session = _session(weight, left)
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while (start := time.perf_counter()) < end:
        session.run(None, {"rows": left})
        best = min(best, time.perf_counter() - start)
    return rows * inputs * outputs / best


def _session(weight: NDArray[np.generic], left: NDArray[np.generic]) -> ort.InferenceSession:
    """A single-threaded session of one product with a constant weight, which ONNX Runtime packs when it loads."""
    integer = weight.dtype == np.int8
    kinds = (TensorProto.UINT8, TensorProto.INT32) if integer else (TensorProto.FLOAT, TensorProto.FLOAT)
    node = helper.make_node("MatMulInteger" if integer else "MatMul", ["rows", "weight"], ["product"])
    inputs = [helper.make_tensor_value_info("rows", kinds[0], left.shape)]
    outputs = [helper.make_tensor_value_info("product", kinds[1], None)]
    graph = helper.make_graph([node], "product", inputs, outputs, [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
