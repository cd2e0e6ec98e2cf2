"""A machine that seems to have CUDA, without a card: what a model asks of it can be tested, its vectors cannot."""

from typing import Any

import pytest

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
AVAILABLE = [CUDA, CPU]
# For a process of its own, before its own lines.
PRETEND = f"""
import onnxruntime, embedge.model, embedge.inference.device.prepare
def pretend(bundle, load=embedge.model.load_engine, **options):
    return load(bundle, **options) if options["providers"][0].name == "{CPU}" else None
onnxruntime.get_available_providers = lambda: {AVAILABLE}
embedge.model.load_engine = pretend
embedge.inference.device.prepare.prepare_providers = lambda providers: None
"""


def pretend_cuda(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Let ONNX Runtime name CUDA, and load no engine; return the options that each model would load its engine with."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: AVAILABLE)
    monkeypatch.setattr("embedge.inference.device.prepare.prepare_providers", lambda providers: None)
    monkeypatch.setattr("embedge.model.load_engine", lambda bundle, **options: asked.append(options))
    return asked
