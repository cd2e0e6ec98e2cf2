"""The optimum exporter, for architectures that the native one lacks: ONNX Runtime's tools fuse and convert a trace."""

import tempfile
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto, helper

import embedge.inference.onnxruntime_import  # noqa: F401  # before the imports of onnxruntime below
from embedge.bundle.manifest import Precision
from embedge.errors import CheckpointError
from embedge_export.checkpoint.model_config import hidden_size
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.graph.builder import CONTRIB
from embedge_export.optimum.load import quiet

# The architectures whose traced attention onnxruntime.transformers recognises. Others are not fused.
_FUSED = ("bert", "camembert", "distilbert", "roberta", "xlm-roberta")


def fuse_traced(traced: Path, checkpoint: Checkpoint) -> ModelProto:
    """Return a traced graph with its attention, normalisation and GELU fused, and without the input for token types.

    Raises:
        CheckpointError: the graph has inputs that a bundle's graph cannot have.
    """
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
            f"{checkpoint.directory} is not an encoder of token ids: its graph has the inputs {names}; "
            "choose another checkpoint"
        )
    # The fused nodes are of this domain; the optimiser does not import it.
    if all(opset.domain != CONTRIB for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    return model


def convert_traced(model: ModelProto, precision: Precision, scratch: Path) -> ModelProto:
    """Return a graph in another precision: dynamic int8 with a scale for each output channel, or float16.

    ONNX Runtime's own tools convert it; ``scratch`` is a folder for their files.
    """
    if precision == "fp32":
        return model
    with quiet(), tempfile.TemporaryDirectory(dir=scratch) as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        if precision == "int8":
            from onnxruntime.quantization import QuantType, quantize_dynamic

            onnx.save(model, before)
            # Shape inference does not know the fused operators. Each tensor whose type it cannot infer is float32.
            options = {"DefaultTensorType": TensorProto.FLOAT}
            quantize_dynamic(before, after, per_channel=True, weight_type=QuantType.QInt8, extra_options=options)
            return onnx.load(after)
        from onnxruntime.transformers.float16 import convert_float_to_float16

        float16: ModelProto = convert_float_to_float16(model, keep_io_types=True)
        return float16


def _drop_token_types(model: ModelProto, checkpoint: Checkpoint) -> None:
    """Replace the input for token types by zeros: a bundle's graph has two inputs, and an embedder needs type 0 only.

    Raises:
        CheckpointError: the checkpoint is a reranker that distinguishes query and document by their token types.
    """
    graph = model.graph
    for tensor in list(graph.input):
        if tensor.name == "token_type_ids":
            if checkpoint.task == "rerank" and int(checkpoint.config.get("type_vocab_size", 2)) > 1:
                raise CheckpointError(
                    f"{checkpoint.directory} reranks with token types, which a bundle's graph does not take; choose a "
                    "reranker without them, such as bge-reranker-base"
                )
            graph.input.remove(tensor)
            node = helper.make_node("Sub", ["input_ids", "input_ids"], ["token_type_ids"], name="token_types")
            graph.node.insert(0, node)
