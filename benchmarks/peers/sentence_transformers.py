"""sentence-transformers: torch in float32, the reference implementation, and the int8 graph that its function makes."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

from embedge_export.reference import quiet
from peers.base import Encoder, Workbench

_TARGET = "avx512_vnni"  # int8 weights per channel, uint8 activations; "arm64" makes the same with int8 activations


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryEncoder:
    """A SentenceTransformer."""

    size: int
    model: SentenceTransformer

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order; batches of 32, longest first."""
        vectors = self.model.encode(list(texts), prompt="", normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)


def make(bench: Workbench, variant: str) -> Encoder:
    """``fp32``: torch. ``onnx-int8``: ``export_dynamic_quantized_onnx_model`` of optimum's graph."""
    folder = bench.repository()
    with quiet():
        if variant == "onnx-int8":
            return _int8(folder, bench)
        torch.set_num_threads(bench.threads)
        size = sum(file.stat().st_size for file in bench.checkpoint.weights)
        return LibraryEncoder(size=size, model=SentenceTransformer(str(folder), device="cpu"))


def _int8(folder: Path, bench: Workbench) -> Encoder:
    (folder / "onnx").mkdir(exist_ok=True)
    shutil.copyfile(bench.traced(), folder / "onnx" / "model.onnx")
    whole = _load(folder, "onnx/model.onnx", bench.threads)
    export_dynamic_quantized_onnx_model(whole, _TARGET, str(folder))
    file = f"onnx/model_qint8_{_TARGET}.onnx"
    return LibraryEncoder(size=(folder / file).stat().st_size, model=_load(folder, file, bench.threads))


def _load(folder: Path, file: str, threads: int) -> SentenceTransformer:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    settings = {"file_name": file, "provider": "CPUExecutionProvider", "session_options": options}
    return SentenceTransformer(str(folder), backend="onnx", device="cpu", model_kwargs=settings)
