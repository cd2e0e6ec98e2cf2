"""A head of bge-m3 that is exported wrongly, which the export and verify must notice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge.bundle.manifest import Precision
from embedge.errors import QualityError
from embedge_export import export
from embedge_export.checkpoint.tensors import Tensors
from embedge_export.verify.checks import verify_bundle

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def check_a_wrong_head_is_noticed(
    checkpoint: Path, folder: Path, *, precision: Precision, tensor: str, change: Change, message: str
) -> None:
    """Export with a changed tensor: the export fails and leaves nothing. Verify fails on an export without verifying.

    Args:
        checkpoint: bge-m3's, tiny.
        folder: where the bundle goes.
        precision: of the graph.
        tensor: its name for the exporter. The reference has other names for it, so it stays right.
        change: what is wrong with it.
        message: matches that of the QualityError.
    """
    real = Tensors.get

    def wrong(tensors: Tensors, name: str, *shape: int) -> NDArray[np.float32]:
        values = real(tensors, name, *shape)
        return change(values) if name == tensor else values

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Tensors, "get", wrong)
        with pytest.raises(QualityError, match=message):
            export(checkpoint, folder / "m3", precisions=(precision,))
        assert not (folder / "m3").exists()
        bundle = export(checkpoint, folder / "m3", precisions=(precision,), verify=False)
        with pytest.raises(QualityError, match=message):
            list(verify_bundle(bundle, checkpoint=str(checkpoint), cache=folder))
