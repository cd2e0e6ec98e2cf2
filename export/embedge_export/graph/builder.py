"""Collect the nodes and constants of one ONNX graph."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from embedge_export.checkpoint.table import Table
from embedge_export.graph.piece import table_constant

# Opset 20 is the first with Gelu. ONNX Runtime reads opset 21 and IR version 10 since version 1.18.
OPSET = 21
IR_VERSION = 10
CONTRIB = "com.microsoft"


class Builder:
    """Collects nodes and initializers.

    Each method that adds one returns its name, by which later nodes refer to it.

    Args:
        has_data: whether its constants have data; without, a graph can be checked in little time and memory.
    """

    INT32 = TensorProto.INT32
    INT64 = TensorProto.INT64
    BOOL = TensorProto.BOOL

    def __init__(self, *, has_data: bool = True) -> None:
        self._has_data = has_data
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._taken = 0  # nodes of earlier pieces

    def constant(self, name: str, values: NDArray[Any] | Table) -> str:
        """Add an initializer; return ``name``. That of a table has no data."""
        if isinstance(values, Table):
            self._constants[name] = table_constant(name, values)
        elif self._has_data:
            self._constants[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def ints(self, values: list[int]) -> str:
        """Add an int64 vector [n]. Equal vectors are one initializer."""
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        """Add an int64 scalar []. Equal scalars are one initializer."""
        return self.constant(f"int_{value}", np.array(value, np.int64))

    def op(self, kind: str, inputs: list[str], *, name: str = "", domain: str = "", **attributes: Any) -> str:
        """Add a node with one output; see ``ops``."""
        return self.ops(kind, inputs, outputs=1, name=name, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, inputs: list[str], *, outputs: int, name: str = "", domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node; return the names of its outputs.

        Args:
            kind: the ONNX operator.
            inputs: the names of what it reads.
            outputs: how many it has.
            name: the name of the node and, if it has one output, of the output. The default is the operator and a
                number.
            domain: the domain of the operator; the default is ONNX's own.
            **attributes: the operator's attributes.
        """
        name = name or f"{kind}_{self._taken + len(self._nodes)}"
        names = [name if outputs == 1 else f"{name}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, name=name, domain=domain, **attributes))
        return names

    def branch(self, kind: str, inputs: list[str], *, width: int, name: str, domain: str, num_heads: int) -> GraphProto:
        """Return a branch of an ``If``: one attention node that reads tensors of the outer graph."""
        node = helper.make_node(kind, inputs, [name], name=name, domain=domain, num_heads=num_heads)
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, width])
        return helper.make_graph([node], name, [], [output])

    def model(self, outputs: Mapping[str, list[str | int]]) -> ModelProto:
        """Return the whole model, with the two inputs of every bundle's graph.

        Args:
            outputs: the shape of each output by its name; all are float32.
        """
        return self._model(self.inputs(), outputs)

    def take(
        self, inputs: Sequence[ValueInfoProto] = (), outputs: Mapping[str, list[str | int]] | None = None
    ) -> ModelProto:
        """Return a model of what was added since the last call.

        Args:
            inputs: the inputs of the whole graph, for its first piece.
            outputs: as for ``model``, for its last piece.
        """
        model = self._model(inputs, outputs or {})
        self._taken += len(self._nodes)
        self._nodes, self._constants = [], {}
        return model

    @staticmethod
    def inputs() -> list[ValueInfoProto]:
        """Return the two inputs of every bundle's graph."""
        return [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
            for name in ("input_ids", "attention_mask")
        ]

    def _model(self, inputs: Sequence[ValueInfoProto], outputs: Mapping[str, list[str | int]]) -> ModelProto:
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self._nodes, "embedge", inputs, results, list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="embedge")
