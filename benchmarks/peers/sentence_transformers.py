"""sentence-transformers: torch in float32, which is the reference, in half precision, and its exported int8 graphs."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from benchmarks.peers.base import Encoder, Kit
from benchmarks.peers.padded import BATCH

if TYPE_CHECKING:
    from benchmarks.peers.workbench import Workbench

_TARGET = "avx512_vnni"  # int8 weights per channel and uint8 activations; "arm64" differs by int8 activations
_TYPES = {"fp32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_FILES = {"onnx-int8": f"onnx/model_qint8_{_TARGET}.onnx", "openvino-int8": "openvino/openvino_model_qint8.xml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryEncoder:
    """An encoder that is a SentenceTransformer."""

    size: int
    model: SentenceTransformer

    def encode(self, texts: Sequence[str], batch: int | None = None) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order; batches of 32 or ``batch`` texts, longest first."""
        vectors = self.model.encode(
            list(texts), prompt="", batch_size=batch or BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)


def build(bench: "Workbench", variant: str) -> None:
    """Write the repository of a variant.

    ``fp32``, ``float16`` and ``bfloat16`` are the checkpoint. ``onnx-int8`` is optimum's graph after
    ``export_dynamic_quantized_onnx_model``. ``openvino-int8`` is the graph of the row openvino-int8: NNCF quantises it
    as ``export_static_quantized_openvino_model`` does, with the same calibration texts.
    """
    from embedge_export.optimum.load import quiet

    folder = bench.repository()
    with quiet():
        if variant == "onnx-int8":
            _quantise(folder, bench.traced())
        elif variant == "openvino-int8":
            _copy_openvino(folder, bench)


def _quantise(folder: Path, graph: Path) -> None:
    from sentence_transformers import export_dynamic_quantized_onnx_model

    if (folder / _FILES["onnx-int8"]).is_file():
        return
    (folder / "onnx").mkdir(exist_ok=True)
    shutil.copyfile(graph, folder / "onnx" / "model.onnx")
    whole = SentenceTransformer(
        str(folder), backend="onnx", device="cpu", model_kwargs={"file_name": "onnx/model.onnx"}
    )
    export_dynamic_quantized_onnx_model(whole, _TARGET, str(folder))


def _copy_openvino(folder: Path, bench: "Workbench") -> None:
    from benchmarks.peers.openvino import build as build_openvino

    build_openvino(bench, "int8")
    target = folder / _FILES["openvino-int8"]
    target.parent.mkdir(exist_ok=True)
    for suffix in (".xml", ".bin"):
        shutil.copyfile(bench.folder / f"openvino-int8{suffix}", target.with_suffix(suffix))


def load(kit: Kit) -> Encoder:
    """Load the checkpoint or a graph with the library's own backend."""
    folder = kit.folder / "repository"
    torch.set_num_threads(kit.threads)
    if kit.variant in _TYPES:
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        model = SentenceTransformer(str(folder), device=kit.device).to(_TYPES[kit.variant])
        return LibraryEncoder(size=size, model=model)
    file = folder / _FILES[kit.variant]
    weights = file if kit.variant == "onnx-int8" else file.with_suffix(".bin")
    settings: dict[str, Any] = {"file_name": str(file.relative_to(folder)), **_backend_settings(kit)}
    model = SentenceTransformer(str(folder), backend=kit.variant.partition("-")[0], device="cpu", model_kwargs=settings)
    return LibraryEncoder(size=weights.stat().st_size, model=model)


def _backend_settings(kit: Kit) -> dict[str, Any]:
    if kit.variant == "openvino-int8":
        return {"ov_config": {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": kit.threads}}
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = kit.threads
    return {"provider": "CPUExecutionProvider", "session_options": options}
