"""Nodes and constants of one ONNX graph, as they are added."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

# Gelu is new in opset 20; ONNX Runtime reads opset 21 and IR version 10 since 1.18.
OPSET = 21
IR_VERSION = 10
CONTRIB = "com.microsoft"


class Builder:
    """Collects nodes and initializers; every method returns the name that later nodes refer to."""

    INT32 = TensorProto.INT32
    INT64 = TensorProto.INT64
    BOOL = TensorProto.BOOL

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """An initializer of that name."""
        self._constants[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def ints(self, values: list[int]) -> str:
        """An int64 vector, shared by all who ask for the same one."""
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        """An int64 of no dimensions, shared by all who ask for the same one."""
        return self.constant(f"int_{value}", np.array(value, np.int64))

    def op(self, kind: str, inputs: list[str], *, name: str = "", domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        return self.ops(kind, inputs, outputs=1, name=name, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, inputs: list[str], *, outputs: int, name: str = "", domain: str = "", **attributes: Any
    ) -> list[str]:
        """A node with several outputs. ``attributes`` are the ONNX operator's own."""
        name = name or f"{kind}_{len(self._nodes)}"
        made = [name if outputs == 1 else f"{name}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, made, name=name, domain=domain, **attributes))
        return made

    def branch(self, kind: str, inputs: list[str], *, width: int, name: str, domain: str, num_heads: int) -> GraphProto:
        """A branch of an ``If``: one attention node over tensors of the outer graph."""
        node = helper.make_node(kind, inputs, [name], name=name, domain=domain, num_heads=num_heads)
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, width])
        return helper.make_graph([node], name, [], [output])

    def model(self, outputs: Mapping[str, list[str | int]]) -> ModelProto:
        """The finished model, with the inputs that every bundle's graph has, and float32 outputs of those shapes."""
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
            for name in ("input_ids", "attention_mask")
        ]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self._nodes, "embedge", inputs, results, list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="embedge")
