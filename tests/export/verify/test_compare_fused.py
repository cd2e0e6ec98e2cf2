"""compare_fused.py: how the fused graph is compared with the plain one, and what makes an export or a verify fail.

The operators run in numpy here, so no kernels are needed; ``test_fused_kernels.py`` runs the real ones.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from embedge import Bundle, MissingExtraError, QualityError
from embedge.command.verify import verify
from embedge_export import export, extras
from embedge_export.graph.cpu_session import CpuSession
from embedge_export.verify import compare_fused, floors
from embedge_export.verify.checks import verify_fused
from fused_interpreter import run_fused
from seeded_roberta import write_roberta

MakeCheckpoint = Callable[..., Path]
SIZES: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}
NOT_THERE = "embedge_kernels is not installed; run `pip install 'embedge\\[fast\\]'`"


class Interpreter:
    """Runs a fused graph as a session with the library would. ``disturb`` changes what it gives."""

    def __init__(self, graph: Path, disturb: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self._model = onnx.load(graph)
        self._disturb = disturb

    def run(self, outputs: Sequence[str], feed: Mapping[str, NDArray[np.int64]]) -> list[NDArray[np.float32]]:
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in outputs}
        ids, mask = feed["input_ids"], feed["attention_mask"]
        for row, count in zip(ids, mask.sum(axis=1), strict=True):  # alone: numpy's sums depend on padding
            for name, values in run_fused(self._model, row[None, :count]).items():
                missing = len(row) - count if values.shape[1:2] == (count,) else 0
                padding = [(0, 0), (0, missing), (0, 0)][: values.ndim]
                found[name].append(np.pad(values, padding))
        return [self._disturb(np.concatenate(found[name])) for name in outputs]


@pytest.fixture
def interpret(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts numpy in the place of the library."""

    def use(disturb: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda values: values) -> None:
        def opened(graph: Path, *, optimise: bool, library: Path | None = None) -> Any:
            return CpuSession(graph, optimise=optimise) if library is None else Interpreter(graph, disturb)

        monkeypatch.setattr(compare_fused, "require_kernels", lambda: Path("numpy"))
        monkeypatch.setattr(compare_fused, "CpuSession", opened)

    return use


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    real = extras._is_importable
    monkeypatch.setattr(extras, "_is_importable", lambda module: module != "embedge_kernels" and real(module))


@pytest.fixture(scope="module")
def bundle(make_checkpoint: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    checkpoint = make_checkpoint(config=SIZES, pooling="mean")
    return export(checkpoint, tmp_path_factory.mktemp("fused") / "b", verify=False)


def test_the_figures_are_those_of_the_pooled_vectors(interpret: Callable[..., None], bundle: Bundle) -> None:
    interpret()
    quality = verify_fused(bundle)
    assert quality is not None
    assert quality.reference == "the plain int8 graph"
    assert quality.texts == 125
    assert 0.9999 < quality.cosine_min <= quality.cosine_mean <= 1.0000001
    assert (quality.lexical_mean, quality.multi_vector_mean) == (None, None)


@pytest.mark.parametrize("rerank", [True, False])
def test_the_outputs_of_heads_are_compared(
    interpret: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rerank: bool
) -> None:
    """A reranker scores every twelfth passage here, to save time: 5 with each of 10 questions."""
    interpret()
    monkeypatch.setattr(compare_fused, "_EVERY", 12)
    checkpoint = write_roberta(tmp_path / "checkpoint", rerank=rerank, config=SIZES)
    quality = compare_fused.compare_fused(export(checkpoint, tmp_path / "b", verify=False))
    assert quality is not None
    assert quality.texts == (50 if rerank else 125)
    assert quality.cosine_mean > 0.99
    if not rerank:
        assert 0.99 < float(quality.lexical_min or 0) <= float(quality.lexical_mean or 0) <= 1
        assert 0.99 < float(quality.multi_vector_min or 0) <= float(quality.multi_vector_mean or 0) <= 1.0000001


def test_a_wrong_graph_is_below_the_floor(interpret: Callable[..., None], bundle: Bundle) -> None:
    interpret(lambda values: values[..., ::-1])
    with pytest.raises(QualityError, match="vectors of the fused graph agree .* `pip uninstall embedge-kernels`"):
        verify_fused(bundle)


def test_a_result_that_changes_with_the_batch_is_an_error(interpret: Callable[..., None], bundle: Bundle) -> None:
    """By the last bit, if a text is not alone."""
    interpret(lambda values: np.nextafter(values, np.float32(9)) if len(values) > 1 else values)
    with pytest.raises(QualityError, match="the fused graph gives for a text changes by .* in its batch"):
        verify_fused(bundle)


@pytest.mark.parametrize(("name", "figure"), [("lexical", "lexical weights"), ("multi_vector", "multi-vectors")])
def test_the_outputs_of_heads_have_floors(bundle: Bundle, name: str, figure: str) -> None:
    from embedge.bundle.manifest import Quality

    figures: Any = {f"{name}_mean": 0.9, f"{name}_min": 0.9}
    quality = Quality(reference="the plain int8 graph", texts=1, cosine_mean=1, cosine_min=1, **figures)
    with pytest.raises(QualityError, match=f"{figure} of the fused graph agree"):
        floors.check_fused_floors(bundle.manifest, quality)


def test_a_bundle_without_one_is_not_compared(tiny_bundle: Bundle) -> None:
    assert verify_fused(tiny_bundle) is None


@pytest.mark.usefixtures("without_kernels")
def test_without_the_package_the_command_is_named(bundle: Bundle) -> None:
    with pytest.raises(MissingExtraError, match=NOT_THERE):
        verify_fused(bundle)


@pytest.mark.usefixtures("without_kernels")
def test_an_export_without_the_package_says_so_in_one_line(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "embedge")
    export(make_checkpoint(config=SIZES), tmp_path / "b")
    lines = [line for line in caplog.messages if "int8 fused: not compared: embedge_kernels is not installed" in line]
    assert len(lines) == 1


def test_an_export_reports_the_comparison(
    interpret: Callable[..., None], make_checkpoint: MakeCheckpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interpret()
    caplog.set_level(logging.INFO, "embedge")
    export(make_checkpoint(config=SIZES), tmp_path / "b")
    (line,) = [line for line in caplog.messages if "int8 fused" in line]
    assert re.search(r"int8 fused: cosine to the plain graph (0.9999\d|1.00000) mean, (0.9999\d|1.00000) min", line)


def test_an_export_of_a_wrong_graph_writes_nothing(
    interpret: Callable[..., None], make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    interpret(np.negative)
    with pytest.raises(QualityError, match="of the fused graph agree"):
        export(make_checkpoint(config=SIZES), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_verify_prints_the_comparison(interpret: Callable[..., None], bundle: Bundle) -> None:
    interpret()
    done = CliRunner().invoke(verify, [str(bundle.path)])
    assert done.exit_code == 0, done.output
    last = done.output.splitlines()[-1]
    assert re.match(r"int8 fused: cosine to the plain int8 graph (0.9999\d|1.00000) mean, ", last)
    assert "over 125 texts, changes with the batch: " in last


@pytest.mark.usefixtures("without_kernels")
def test_verify_without_the_package_says_so_in_one_line(bundle: Bundle) -> None:
    done = CliRunner().invoke(verify, [str(bundle.path)])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == (
        "int8 fused: vectors not compared: embedge_kernels is not installed; run `pip install 'embedge[fast]'`"
    )
