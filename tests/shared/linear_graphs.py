"""Graphs with one linear layer, and activations to quantise them with."""

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from embedge_export.graph.builder import Builder
from embedge_export.int8.moments import Activations

Floats = NDArray[np.float32]


def linear_model(weight: Floats, bias: Floats, *, gelu: bool) -> ModelProto:
    """Return the graph rows -> [Gelu ->] MatMul -> Add, with the exporter's names for a linear layer."""
    b = Builder()
    rows = b.op("Gelu", ["rows"], name="active") if gelu else "rows"
    product = b.op("MatMul", [rows, b.constant("layer.weight", weight)], name="layer")
    b.op("Add", [product, b.constant("layer.bias", bias)], name="out")
    model = b.model({"out": ["n", weight.shape[1]]})
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", weight.shape[0]]))
    return model


def normalised_model(weight: Floats, bias: Floats) -> ModelProto:
    """Return the graph rows -> LayerNormalization without gain and bias -> MatMul -> Add."""
    b, inputs = Builder(), len(weight)
    gain, none = (b.constant(name, np.full(inputs, value, np.float32)) for name, value in (("gain", 1), ("none", 0)))
    rows = b.op("LayerNormalization", ["rows", gain, none], axis=-1, epsilon=0.0, name="normal")
    b.op(
        "Add",
        [b.op("MatMul", [rows, b.constant("layer.weight", weight)], name="layer"), b.constant("layer.bias", bias)],
        name="out",
    )
    model = b.model({"out": ["n", weight.shape[1]]})
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", inputs]))
    return model


def plain(inputs: int) -> Activations:
    """Return activations with mean 0 and uncorrelated channels."""
    return of_rows(np.eye(inputs, dtype=np.float32), mean=np.zeros(inputs, np.float32))


def of_rows(rows: Floats, *, mean: Floats | None = None, covariance: Floats | None = None) -> Activations:
    """Return the activations of these rows alone, by default with uncorrelated channels."""
    return Activations(
        mean=rows.mean(axis=0) if mean is None else mean,
        covariance=np.eye(rows.shape[1], dtype=np.float32) if covariance is None else covariance,
        rows=rows,
        lowest=rows.min(axis=0),
        highest=rows.max(axis=0),
    )


def run_rows(model: ModelProto, rows: Floats) -> Floats:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: Floats = session.run(None, {"rows": rows})[0]
    return found
