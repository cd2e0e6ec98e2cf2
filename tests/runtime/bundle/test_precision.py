"""precision.py: an unknown precision is the same error everywhere, and one that a bundle lacks names the command."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, InputValueError, PrecisionNotFoundError
from embedge.bundle.cache_paths import cached_path
from embedge.bundle.copy import copy_bundle
from embedge.bundle.precision import check_precision, pick_precisions
from embedge.hub.pull import pull

GOLDEN = Path(__file__).parents[2] / "golden" / "format-1" / "release-0.1.0"
CALLS: dict[str, Callable[[Path, Any], object]] = {
    "Embedder": lambda target, precision: Embedder(GOLDEN, precision=precision),
    "an Embedder of a cached name": lambda target, precision: Embedder("someone/tiny", precision=precision),
    "pull": lambda target, precision: pull(GOLDEN, precisions=(precision,)),
    "copy_bundle": lambda target, precision: copy_bundle(Bundle.open(GOLDEN), target, precisions=(precision,)),
    "pick_precision": lambda target, precision: Bundle.open(GOLDEN).pick_precision(precision),
}


@pytest.fixture(autouse=True)
def _cached() -> None:
    shutil.copytree(GOLDEN, cached_path("someone/tiny"))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("precision", ["int4", "", 8, ["int8"], np.array(["int8", "fp32"])], ids=repr)
def test_an_unknown_precision_is_one_error_everywhere(tmp_path: Path, call: str, precision: object) -> None:
    with pytest.raises(InputValueError, match="^precision must be one of int8, fp32, fp16, found "):
        CALLS[call](tmp_path / "copy", precision)


@pytest.mark.parametrize("call", CALLS)
def test_a_missing_precision_names_the_command_everywhere(tmp_path: Path, call: str) -> None:
    command = "pull someone/tiny" if "cached" in call else "export CHECKPOINT -o .*"
    message = f" holds int8, fp32, not fp16; run `embedge {command} --precision fp16` to get it$"
    with pytest.raises(PrecisionNotFoundError, match=message):
        CALLS[call](tmp_path / "copy", "fp16")


def test_several_are_picked_in_a_fixed_order() -> None:
    manifest = Bundle.open(GOLDEN).manifest
    options: Any = {"where": "here", "command": str}
    assert pick_precisions(manifest, ("fp32", "int8", "fp32"), **options) == ("int8", "fp32")
    assert pick_precisions(manifest, None, **options) == pick_precisions(manifest, (), **options) == ("int8",)


def test_a_string_of_numpys_is_a_string() -> None:
    assert type(check_precision(np.str_("int8"))) is str
