"""pool.py, compared with the definitions of pooling in float64.

Without a card, the CPU runs the same code and the same graphs.
"""

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args
from unittest.mock import Mock

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
from embedge.inference.device import pool as device_pool
from embedge.inference.device.pool import DevicePool, DeviceTensor
from embedge.inference.pool import pool
from embedge.inference.providers import CPU, CUDA, Provider
from embedge.inference.token_batch import TokenBatch

ROW = device_pool._GRAPHS / "row.onnx"
# A graph that gives the hidden states of all tokens, float32 [batch, tokens, 16].
ALL_TOKENS = Path(__file__).parents[3] / "golden" / "format-1" / "before-0.1.0" / "onnx" / "model.onnx"
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
ANYTHING = st.floats(width=32, allow_nan=True, allow_infinity=True)


@pytest.fixture(scope="module", params=[CPU, pytest.param(CUDA, marks=pytest.mark.cuda)])
def provider(request: pytest.FixtureRequest) -> Provider:
    if request.param == CPU:
        return Provider(CPU)
    if not starts_cuda():
        pytest.skip("needs an NVIDIA card and onnxruntime-gpu")
    return Provider(CUDA, {"use_tf32": "0"})


def starts_cuda() -> bool:
    if CUDA not in ort.get_available_providers():
        return False
    ort.preload_dlls()
    return bool(ort.InferenceSession(str(ROW), providers=[CUDA]).get_providers()[0] == CUDA)


class MadeUp:
    """Pools hidden states that a test makes up, instead of a model's."""

    def __init__(self, provider: Provider, pooling: Pooling) -> None:
        self._memory = "cuda" if provider.name == CUDA else "cpu"
        self._pool = DevicePool(ort.InferenceSession(str(ROW), providers=[CPU]), provider, pooling)

    def __call__(self, hidden: NDArray[np.float32], counts: list[int] | None = None) -> NDArray[np.float32]:
        """Return the vectors, float32 [batch, dimension]."""
        batch = TokenBatch(
            range(len(hidden)), np.zeros(hidden.shape[:2], np.int64), None if counts is None else np.array(counts)
        )
        value = ort.OrtValue.ortvalue_from_numpy(hidden, self._memory, 0)
        pooled = self._pool.pool(DeviceTensor(value, hidden.dtype, hidden.shape), batch)
        assert pooled.dtype == np.float32
        assert pooled.shape == (len(hidden), 1, hidden.shape[2])
        return pooled[:, 0]


@pytest.fixture(scope="module")
def pools(provider: Provider) -> dict[Pooling, MadeUp]:
    return {pooling: MadeUp(provider, pooling) for pooling in POOLINGS}


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
    pools: dict[Pooling, MadeUp], pooling: Pooling, batch: tuple[NDArray[np.float32], list[int]]
) -> None:
    hidden, counts = batch
    np.testing.assert_allclose(pools[pooling](hidden, counts), expected(hidden, counts, pooling), atol=2e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_batch_without_padding_needs_no_counts(pools: dict[Pooling, MadeUp], pooling: Pooling) -> None:
    hidden = np.random.default_rng(0).standard_normal((4, 512, 16)).astype(np.float32)
    np.testing.assert_allclose(pools[pooling](hidden), pool(hidden, pooling), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_token_that_is_no_number_makes_its_own_text_no_number(pools: dict[Pooling, MadeUp], value: float) -> None:
    hidden = np.ones((3, 4, 8), np.float32)
    hidden[1, 2, 5] = value
    found = pools["mean"](hidden, [4, 3, 2])
    assert np.argwhere(~np.isfinite(found)).tolist() == [[1, 5]]
    np.testing.assert_array_equal(found[1, 5], np.float32(value))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_graph_gives_padded_texts_the_vectors_that_each_has_alone(provider: Provider, pooling: Pooling) -> None:
    session, alone = (
        ort.InferenceSession(str(ALL_TOKENS), providers=[(p.name, dict(p.options))]) for p in (provider, Provider(CPU))
    )
    device_pool = DevicePool(session, provider, pooling)
    for counts in ([3], [5, 5], [9, 3, 7, 4], [2, 30]):
        ids = np.random.default_rng(0).integers(5, 20, (len(counts), max(counts)))
        batch = TokenBatch(range(len(counts)), ids, np.array(counts))
        found = device_pool.pool(device_pool.hidden_states(batch), batch)
        for row, count in enumerate(counts):
            own = ids[row : row + 1, :count]
            hidden = alone.run(None, {"input_ids": own, "attention_mask": np.ones_like(own)})[0]
            np.testing.assert_allclose(found[row], expected(hidden, [count], pooling), atol=1e-5)


def test_threads_may_share_it(provider: Provider) -> None:
    session = ort.InferenceSession(str(ALL_TOKENS), providers=[(provider.name, dict(provider.options))])
    device_pool = DevicePool(session, provider, "mean")
    batches = [TokenBatch(range(n), np.full((n, 3 * n), 4 + n), np.arange(1, n + 1)) for n in range(1, 11)] * 8

    def vectors(batch: TokenBatch) -> NDArray[np.float32]:
        return device_pool.pool(device_pool.hidden_states(batch), batch)

    alone = list(map(vectors, batches))
    with ThreadPoolExecutor(4) as threads:
        for found, own in zip(threads.map(vectors, batches), alone, strict=True):
            np.testing.assert_array_equal(found, own)


def test_the_graphs_are_the_ones_that_their_script_makes() -> None:
    """``python tests/shared/pooling_graphs.py`` writes them again."""
    onnx = pytest.importorskip("onnx", reason="needs onnx, which the extra `export` installs")
    from pooling_graphs import FOLDER, pooling_graphs

    assert {path.name: onnx.load(path) for path in FOLDER.iterdir()} == pooling_graphs()
    assert FOLDER == device_pool._GRAPHS


@pytest.mark.parametrize("number", ["0", "1"])
def test_a_card_is_asked_for_by_its_number_and_without_tf32(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """What ONNX Runtime is told, without a card; the other options are the caller's."""
    given_options = {"device_id": number, "gpu_mem_limit": "1000", "use_tf32": "1"}
    opened: list[Any] = []
    bound: list[Any] = []

    def open_session(graph: str, options: Any, *, providers: Any, enable_fallback: bool) -> Any:
        opened.append(providers)
        return Mock(get_providers=lambda: [CUDA, CPU])  # unlike a namespace, it can be referred to weakly

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
    wanted = {"device_id": "1", "gpu_mem_limit": "1000", "use_tf32": "0"}
    if number == "0":  # the default
        del wanted["device_id"]
    assert opened == [[(CUDA, wanted)]]
    assert bound == [("last_hidden_state", "cuda", int(number))]
    assert found.dtype == np.float32
    assert found.shape == (1, 2, 3)


def test_no_card_is_no_pooling_on_the_cpu_instead() -> None:
    """ONNX Runtime itself would go on, on the CPU: where CUDA's libraries are missing, or it was built without CUDA."""
    if starts_cuda():
        pytest.skip("needs a machine without an NVIDIA card")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        with pytest.raises(ProviderError, match=r"CUDAExecutionProvider did not open .*mean\.onnx .*; free memory"):
            MadeUp(Provider(CUDA), "mean")


def test_a_cpu_imports_none_of_it(tiny_bundle: Bundle) -> None:
    code = (
        f"import sys; from embedge import Embedder; Embedder({str(tiny_bundle.path)!r}).encode(['the cat', 'a']); "
        "sys.exit('embedge.inference.device.pool' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_graphs_are_small_and_beside_the_module() -> None:
    assert sum(path.stat().st_size for path in device_pool._GRAPHS.iterdir()) < 1000
    assert device_pool._GRAPHS.parent == Path(device_pool.__file__).parent
