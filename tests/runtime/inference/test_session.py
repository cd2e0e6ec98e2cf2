"""session.py and graph_outputs.py: what a graph gives is looked at before it passes for a vector."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import Bundle, BundleError, Embedder
from embedge.bundle.checksum import crc32, sha256
from embedge.bundle.manifest import BATCH, HIDDEN, READ_TOKENS, TOKEN_VECTORS, TOKENS, FileRecord, Manifest, Shape
from embedge.inference.providers import CPU_ONLY
from embedge.inference.session import Session
from embedge.inference.token_batch import TokenBatch

pytest.importorskip("onnx", reason="needs onnx, which the extra `export` installs")
import onnx
from onnx import ModelProto, helper, numpy_helper

from constant_graph import graph_of

WIDTH = 4
IDS = np.array([[2, 5, 3], [2, 6, 3]])


def run(graph: Path, shape: Shape = (BATCH, READ_TOKENS, WIDTH), output: str = HIDDEN) -> NDArray[np.float32]:
    session = Session(graph, threads=1, providers=CPU_ONLY, outputs={output: shape}, run_as_is=True)
    return session.run(TokenBatch(range(len(IDS)), IDS), output)


@pytest.mark.parametrize("tokens", [1, 3])
def test_a_graph_may_give_all_tokens_or_the_first_where_no_other_is_read(tmp_path: Path, tokens: int) -> None:
    value = np.arange(2 * tokens * WIDTH, dtype=np.float32).reshape(2, tokens, WIDTH)
    np.testing.assert_array_equal(run(graph_of(value, tmp_path / "g.onnx")), value)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3, WIDTH), (BATCH, TOKENS, WIDTH)),  # one row for many texts
        ((3, 3, WIDTH), (BATCH, TOKENS, WIDTH)),
        ((2, 2, WIDTH), (BATCH, TOKENS, WIDTH)),
        ((2, 1, WIDTH), (BATCH, TOKENS, WIDTH)),  # the first token, where all are to be averaged
        ((2, 2, WIDTH), (BATCH, READ_TOKENS, WIDTH)),
        ((2, 3, 5), (BATCH, TOKENS, WIDTH)),
        ((2, WIDTH), (BATCH, TOKENS, WIDTH)),
        ((2, 3, 1), (BATCH, TOKENS)),
        ((), (BATCH, 1)),
        ((2, 0), (BATCH, 1)),
    ],
)
def test_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...], expected: Shape) -> None:
    graph = graph_of(np.zeros(shape, np.float32), tmp_path / "g.onnx")
    with pytest.raises(BundleError, match=r"gives last_hidden_state (as float32 \[.*\] for 2 x 3 tokens|of dimension)"):
        run(graph, expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64])
def test_another_type_is_refused(tmp_path: Path, dtype: type[np.generic]) -> None:
    declared = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = graph_of(np.zeros((2, 3, WIDTH), dtype), tmp_path / "g.onnx", declared=declared)
    with pytest.raises(BundleError, match=f"as {np.dtype(dtype)} .*not float32"):
        run(graph)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    hidden = np.zeros((2, 3, WIDTH), np.float32)
    hidden[1, 2, 3] = value
    graph = graph_of(hidden, tmp_path / "g.onnx", output=TOKEN_VECTORS)
    with pytest.raises(BundleError, match="not finite.*load another precision"):
        run(graph, (BATCH, TOKENS, WIDTH), output=TOKEN_VECTORS)


def with_graph(bundle: Bundle, folder: Path, change: Callable[[ModelProto], None]) -> Bundle:
    """A bundle whose fp32 graph is another, and whose manifest says so."""
    from embedge_export.bundle_files import write_manifest
    from embedge_export.graph.write import write_graph

    shutil.copytree(bundle.path, folder)
    model = onnx.load(bundle.graph("fp32"))
    change(model)
    files = bundle.graph_files("fp32")
    for name in files:
        (folder / name).unlink()
    write_graph(model, folder / files[0])
    records = dict(bundle.manifest.files)
    for name in files:
        path = folder / name
        records[name] = FileRecord(size=path.stat().st_size, sha256=sha256(path), crc32=crc32(path))
    manifest: Manifest = replace(bundle.manifest, files=records)
    return write_manifest(folder, manifest)


def multiply(model: ModelProto, factor: float) -> None:
    """All hidden states by a factor."""
    nodes = {node.output[0]: node for node in model.graph.node}
    nodes[HIDDEN].output[0] = "small"
    model.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
    model.graph.node.append(helper.make_node("Mul", ["small", "factor"], [HIDDEN]))


def test_a_bundle_whose_graph_gives_one_row_for_many_texts_gives_no_vectors(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Before, every text had the first one's vector."""

    def keep_one(model: ModelProto) -> None:
        nodes = {node.output[0]: node for node in model.graph.node}
        nodes[HIDDEN].output[0] = "all_rows"
        model.graph.initializer.extend(
            numpy_helper.from_array(np.array([value], np.int64), name) for name, value in (("zero", 0), ("one", 1))
        )
        model.graph.node.append(helper.make_node("Slice", ["all_rows", "zero", "one", "zero"], [HIDDEN]))
        model.graph.output[0].type.tensor_type.ClearField("shape")

    changed = with_graph(tiny_bundle, tmp_path / "changed", keep_one)
    model = Embedder(changed.path, precision="fp32")
    assert model.encode("the cat").shape == (32,)
    with pytest.raises(BundleError, match=r"as float32 \[1, 1, 32\] for 2 x 4 tokens"):
        model.encode(["the cat", "a dog"])


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_a_vector_that_is_no_number_is_an_error(
    tiny_bundle: Bundle, tmp_path: Path, factor: float, normalize: bool
) -> None:
    changed = with_graph(tiny_bundle, tmp_path / "changed", lambda model: multiply(model, factor))
    with pytest.raises(BundleError, match="last_hidden_state that is not finite .* for 1 x 4 tokens"):
        Embedder(changed.path, precision="fp32").encode("the cat", normalize=normalize)


def test_numbers_whose_squares_overflow_still_have_a_direction(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """The square of 1e30 is infinite as a float32; the vector of length 1 is not."""
    changed = with_graph(tiny_bundle, tmp_path / "changed", lambda model: multiply(model, 1e30))
    texts = ["the cat", "a dog sat on a stone"]
    expected = Embedder(tiny_bundle.path, precision="fp32").encode(texts)
    np.testing.assert_allclose(Embedder(changed.path, precision="fp32").encode(texts), expected, atol=1e-6)


def test_a_damaged_graph_prints_nothing_to_stdout(tmp_path: Path) -> None:
    """Where JSON lines go: ONNX Runtime would try again with other providers, and say so there."""
    (tmp_path / "g.onnx").write_bytes(b"\x08\x0a\x12\x04no graph")
    code = (
        "import sys; from embedge.inference.session import Session; from embedge.errors import BundleError\n"
        "from embedge.inference.providers import CPU_ONLY\n"
        "try: Session(sys.argv[1], threads=1, providers=CPU_ONLY, outputs={}, run_as_is=True)\n"
        "except BundleError as error: print(error, file=sys.stderr)\n"
        "else: sys.exit(3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "g.onnx")], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert "cannot load" in done.stderr
