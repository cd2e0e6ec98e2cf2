"""The optimum exporter: traced, fused by onnxruntime.transformers, quantised per channel; for what native lacks."""

import tempfile
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto, helper

from embedge.bundle.manifest import Precision
from embedge.errors import CheckpointError
from embedge_export.checkpoint.model_config import hidden_size
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.graph.builder import CONTRIB
from embedge_export.optimum.trace import quiet

# The encoders whose traced attention onnxruntime.transformers recognises; others stay as they were traced.
_FUSED = ("bert", "camembert", "distilbert", "roberta", "xlm-roberta")


def fuse_traced(traced: Path, checkpoint: Checkpoint) -> ModelProto:
    """The traced graph, its attention, normalisation and GELU fused, token types no longer an input."""
    if checkpoint.architecture in _FUSED:
        with quiet():
            from onnxruntime.transformers.optimizer import optimize_model

            heads = int(checkpoint.config.get("num_attention_heads") or checkpoint.config.get("n_heads") or 0)
            fused = optimize_model(
                str(traced), model_type="bert", num_heads=heads, hidden_size=hidden_size(checkpoint.config), opt_level=0
            )
        model: ModelProto = fused.model
    else:
        model = onnx.load(traced)
    _drop_token_types(model, checkpoint)
    if {tensor.name for tensor in model.graph.input} != {"input_ids", "attention_mask"}:
        names = ", ".join(tensor.name for tensor in model.graph.input)
        raise CheckpointError(
            f"{checkpoint.directory} needs more than token ids ({names}); only encoders can be exported"
        )
    if all(
        opset.domain != CONTRIB for opset in model.opset_import
    ):  # the fused nodes' own, which the optimiser leaves out
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    return model


def convert_traced(model: ModelProto, precision: Precision) -> ModelProto:
    """The graph in another precision, by ONNX Runtime's own tools: per-channel dynamic int8, or float16."""
    if precision == "fp32":
        return model
    with quiet(), tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        if precision == "int8":
            from onnxruntime.quantization import QuantType, quantize_dynamic

            onnx.save(model, before)
            # Shape inference does not know the fused operators; everything that it cannot type is float32.
            options = {"DefaultTensorType": TensorProto.FLOAT}
            quantize_dynamic(before, after, per_channel=True, weight_type=QuantType.QInt8, extra_options=options)
            return onnx.load(after)
        from onnxruntime.transformers.float16 import convert_float_to_float16

        halved: ModelProto = convert_float_to_float16(model, keep_io_types=True)
        return halved


def _drop_token_types(model: ModelProto, checkpoint: Checkpoint) -> None:
    """A bundle's graph has two inputs; token types, always 0 for an embedder, become a node.

    Raises:
        CheckpointError: a reranker tells query and document apart by them.
    """
    graph = model.graph
    for tensor in list(graph.input):
        if tensor.name == "token_type_ids":
            if checkpoint.task == "rerank" and int(checkpoint.config.get("type_vocab_size", 2)) > 1:
                raise CheckpointError(
                    f"{checkpoint.directory} reranks with token types, which a bundle lacks; choose one without, "
                    "such as bge-reranker-base"
                )
            graph.input.remove(tensor)
            node = helper.make_node("Sub", ["input_ids", "input_ids"], ["token_type_ids"], name="token_types")
            graph.node.insert(0, node)
