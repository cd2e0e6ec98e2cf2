"""Run a fused graph without embedge-kernels: its operators in numpy, the other nodes by onnx's reference evaluator."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from tests.kernels import reference

_OPERATORS: dict[str, Callable[..., Any]] = {
    "EmbedLayerNorm": reference.embed_layer_norm,
    "EncoderLayer": reference.encoder_layer,
    "RowLinear": reference.row_linear,
    "RowDot": reference.row_dot,
}


def run_fused(model: ModelProto, ids: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """Return the outputs of a fused graph, by name; no token is padding.

    Args:
        model: the graph, with all its weights.
        ids: token ids, [batch, tokens].
    """
    evaluator = ReferenceEvaluator(model, new_ops=[_class_of(*item) for item in _OPERATORS.items()])
    names = [output.name for output in model.graph.output]
    values = evaluator.run(names, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return dict(zip(names, values, strict=True))


def _class_of(name: str, function: Callable[..., Any]) -> type:
    """Make the class that onnx's evaluator wants for an operator of ours."""

    def run(_: object, *inputs: Any, **attributes: Any) -> tuple[Any]:
        return (function(*inputs, **attributes),)

    return type(name, (OpRun,), {"op_domain": "embedge", "_run": run})
