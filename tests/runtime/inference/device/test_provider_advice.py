"""provider_advice.py: an error about a provider ends with the command or the precision that works."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embedge import Bundle
from embedge.bundle.manifest import Precision
from embedge.inference.device.provider_advice import advise
from embedge.inference.providers import CUDA, ON_CPU

OPENVINO = "OpenVINOExecutionProvider"


def holding(bundle: Bundle, *precisions: Precision, **changes: Any) -> Bundle:
    """The bundle, as if it held these precisions; ``changes`` are those of each record."""
    record = replace(bundle.manifest.precisions["int8"], **changes)
    source = replace(bundle.manifest.source, hub_id="BAAI/bge-small-en-v1.5")
    manifest = replace(bundle.manifest, source=source, precisions=dict.fromkeys(precisions, record))
    return Bundle(Path("bge"), manifest)


def test_int8_alone_gets_the_command_that_adds_fp16(tiny_bundle: Bundle) -> None:
    assert advise(holding(tiny_bundle, "int8"), "int8", CUDA, opened=True) == (
        'run `embedge export BAAI/bge-small-en-v1.5 -o bge --precision fp16`, then load it with precision="fp16"'
    )


def test_the_command_has_the_exporter_of_the_bundle(tiny_bundle: Bundle) -> None:
    bundle = holding(tiny_bundle, "int8", exporter="optimum")
    assert "--exporter optimum -o bge --precision fp16" in advise(bundle, "int8", CUDA, opened=True)


@pytest.mark.parametrize(("held", "picked"), [(("int8", "fp32", "fp16"), "fp16"), (("int8", "fp32"), "fp32")])
def test_a_precision_that_the_bundle_holds_needs_no_export(
    tiny_bundle: Bundle, held: tuple[Precision, ...], picked: str
) -> None:
    assert advise(holding(tiny_bundle, *held), "int8", CUDA, opened=True) == f'load it with precision="{picked}"'


def test_another_precision_does_not_help_where_the_provider_did_not_start(tiny_bundle: Bundle) -> None:
    assert advise(holding(tiny_bundle, "int8"), "int8", "MIGraphXExecutionProvider", opened=False) == ON_CPU


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_part_of_a_float_graph_leaves_only_the_cpu(tiny_bundle: Bundle, precision: Precision) -> None:
    assert advise(holding(tiny_bundle, precision), precision, "QNNExecutionProvider", opened=True) == ON_CPU


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_cuda_runs_a_float_graph_whole_in_later_versions(tiny_bundle: Bundle, precision: Precision) -> None:
    message = f"update onnxruntime-gpu to 1.25 or later, or {ON_CPU}"
    assert advise(holding(tiny_bundle, precision), precision, CUDA, opened=True) == message
    assert advise(holding(tiny_bundle, precision), precision, CUDA, opened=False) == ON_CPU


@pytest.mark.parametrize(("precision", "exported"), [("int8", "fp16"), ("fp16", "fp16"), ("fp32", "fp32")])
def test_openvino_gets_optimum_s_graph_in_a_bundle_of_its_own(
    tiny_bundle: Bundle, precision: Precision, exported: str
) -> None:
    """The native graphs stay where they are: they are the faster ones on the CPU."""
    assert advise(holding(tiny_bundle, precision), precision, OPENVINO, opened=False) == (
        f"run `embedge export BAAI/bge-small-en-v1.5 --exporter optimum -o bge-optimum --precision {exported}`, "
        "then load bge-optimum"
    )


def test_openvino_does_not_get_the_command_that_made_the_bundle(tiny_bundle: Bundle) -> None:
    assert advise(holding(tiny_bundle, "fp32", exporter="optimum"), "fp32", OPENVINO, opened=True) == ON_CPU
