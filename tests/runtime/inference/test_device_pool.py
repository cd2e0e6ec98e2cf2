"""device_pool.py, on the CPU: the same code and the same graphs as on a card, compared with numpy's pooling."""

import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from embedge import Bundle
from embedge.bundle.manifest import Pooling
from embedge.errors import ProviderError
from embedge.inference import device_pool
from embedge.inference.device_pool import DevicePool, DeviceTensor
from embedge.inference.pool import pool
from embedge.inference.providers import CPU, CUDA, Provider
from embedge.inference.token_batch import TokenBatch

ROW = device_pool._GRAPHS / "row.onnx"
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
ANYTHING = st.floats(width=32, allow_nan=True, allow_infinity=True)


@pytest.fixture(scope="module")
def pools() -> dict[Pooling, DevicePool]:
    """For each pooling; they pool hidden states that the tests make up, and run no graph of a model."""
    session = ort.InferenceSession(str(ROW), providers=[CPU])
    return {pooling: DevicePool(session, Provider(CPU), pooling) for pooling in POOLINGS}


def on_device(hidden: NDArray[np.float32]) -> DeviceTensor:
    return DeviceTensor(ort.OrtValue.ortvalue_from_numpy(hidden), hidden.dtype, hidden.shape)


def expected(hidden: NDArray[np.float32], counts: list[int], pooling: Pooling) -> NDArray[np.float64]:
    """What the definitions make of each text's own tokens, in float64 [batch, dimension]."""
    texts = [rows[:count] for rows, count in zip(hidden.astype(np.float64), counts, strict=True)]
    formula = {"cls": lambda text: text[0], "last": lambda text: text[-1], "mean": lambda text: text.sum(0) / len(text)}
    return np.array([formula[pooling](text) for text in texts])


@st.composite
def batches(draw: st.DrawFn) -> tuple[NDArray[np.float32], list[int]]:
    """Hidden states of texts of these lengths, and anything in their padding: NaN, infinity, the largest numbers."""
    counts = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    shape = (len(counts), max(counts) + draw(st.integers(0, 8)), draw(st.sampled_from([1, 3, 8, 384])))
    hidden = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape).astype(np.float32)
    hidden[np.arange(shape[1]) >= np.array(counts)[:, None]] = draw(arrays(np.float32, shape[2], elements=ANYTHING))
    return hidden, counts


@pytest.mark.parametrize("pooling", POOLINGS)
@given(batch=batches())
def test_padding_is_not_read(
    pools: dict[Pooling, DevicePool], pooling: Pooling, batch: tuple[NDArray[np.float32], list[int]]
) -> None:
    hidden, counts = batch
    tokens = TokenBatch(range(len(counts)), np.zeros(hidden.shape[:2], np.int64), np.array(counts))
    found = pools[pooling].pool(on_device(hidden), tokens)
    assert found.dtype == np.float32
    assert found.shape == (len(counts), 1, hidden.shape[2])
    np.testing.assert_allclose(found[:, 0], expected(hidden, counts, pooling), atol=2e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_batch_without_padding_needs_no_counts(pools: dict[Pooling, DevicePool], pooling: Pooling) -> None:
    hidden = np.random.default_rng(0).standard_normal((4, 7, 16)).astype(np.float32)
    found = pools[pooling].pool(on_device(hidden), TokenBatch(range(4), np.zeros((4, 7), np.int64)))
    np.testing.assert_allclose(found[:, 0], pool(hidden, pooling), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_token_that_is_no_number_makes_its_own_text_no_number(pools: dict[Pooling, DevicePool], value: float) -> None:
    hidden = np.ones((3, 4, 8), np.float32)
    hidden[1, 2, 5] = value
    tokens = TokenBatch(range(3), np.zeros((3, 4), np.int64), np.array([4, 3, 2]))
    found = pools["mean"].pool(on_device(hidden), tokens)[:, 0]
    assert np.argwhere(~np.isfinite(found)).tolist() == [[1, 5]]
    np.testing.assert_array_equal(found[1, 5], np.float32(value))


def test_the_graphs_are_the_ones_that_their_script_makes() -> None:
    """``python tests/shared/pooling_graphs.py`` writes them again."""
    onnx = pytest.importorskip("onnx", reason="needs onnx, which the extra `export` installs")
    from pooling_graphs import FOLDER, pooling_graphs

    assert {path.name: onnx.load(path) for path in FOLDER.iterdir()} == pooling_graphs()
    assert FOLDER == device_pool._GRAPHS


def test_a_card_is_asked_for_by_its_number_and_without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ONNX Runtime is told, without a card; the other options are the caller's."""
    given_options = {"device_id": "1", "gpu_mem_limit": "1000", "use_tf32": "1"}
    opened: list[Any] = []
    bound: list[Any] = []

    def open_session(graph: str, options: Any, *, providers: Any, enable_fallback: bool) -> Any:
        opened.append(providers)
        return SimpleNamespace(get_providers=lambda: [CUDA, CPU])

    binding = SimpleNamespace(
        bind_cpu_input=lambda *_: None,
        bind_output=lambda *arguments: bound.append(arguments),
        get_outputs=lambda: [ort.OrtValue.ortvalue_from_numpy(np.zeros((1, 2, 3), np.float32))],
    )
    session: Any = SimpleNamespace(io_binding=lambda: binding, run_with_iobinding=lambda _: None)
    monkeypatch.setattr(ort, "InferenceSession", open_session)
    found = DevicePool(session, Provider(CUDA, given_options), "mean").hidden_states(
        TokenBatch([0], np.zeros((1, 2), np.int64))
    )
    assert opened == [[(CUDA, given_options | {"use_tf32": "0"})]]
    assert bound == [("last_hidden_state", "cuda", 1)]
    assert found.dtype == np.float32
    assert found.shape == (1, 2, 3)


def test_no_card_is_no_pooling_on_the_cpu_instead() -> None:
    """ONNX Runtime itself would go on, on the CPU: where CUDA's libraries are missing, or it was built without CUDA."""
    session = ort.InferenceSession(str(ROW), providers=[CPU])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ONNX Runtime's, about the provider
        if ort.InferenceSession(str(ROW), providers=[CUDA]).get_providers()[0] == CUDA:
            pytest.skip("needs a machine without a CUDA card")
        with pytest.raises(ProviderError, match=r"CUDAExecutionProvider did not open .*mean\.onnx .*; free memory"):
            DevicePool(session, Provider(CUDA), "mean")


def test_a_cpu_imports_none_of_it(tiny_bundle: Bundle) -> None:
    code = (
        f"import sys; from embedge import Embedder; Embedder({str(tiny_bundle.path)!r}).encode(['the cat', 'a']); "
        "sys.exit('embedge.inference.device_pool' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_graphs_are_small_and_beside_the_module() -> None:
    assert sum(path.stat().st_size for path in device_pool._GRAPHS.iterdir()) < 1000
    assert device_pool._GRAPHS.parent == Path(device_pool.__file__).parent
