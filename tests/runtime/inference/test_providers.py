"""providers.py: a device's name and ONNX Runtime's own pairs become providers, or an error of one line."""

import pickle
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedge import InputTypeError, InputValueError, ProviderError
from embedge.inference.providers import CPU, CPU_ONLY, CUDA, Provider, choose_providers, device_of

CUDA_AND_CPU = (Provider(CUDA), Provider(CPU))


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """An onnxruntime that has CUDA, and a few others."""
    names = ["TensorrtExecutionProvider", CUDA, CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)


class device:  # noqa: N801  # the name of torch's class, which is not installed here
    """A stand-in for torch.device."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name


@pytest.mark.parametrize("name", [None, "cpu", device("cpu")])
def test_the_cpu_is_the_default_and_a_device(name: object) -> None:
    assert choose_providers(name, None) == CPU_ONLY
    assert choose_providers(name, [CPU]) == CPU_ONLY


@pytest.mark.usefixtures("with_cuda")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cuda", {}),
        ("cuda:0", {"device_id": "0"}),
        ("cuda:1", {"device_id": "1"}),
        (device("cuda"), {}),
        (device("cuda:12"), {"device_id": "12"}),
    ],
)
def test_cuda_is_followed_by_the_cpu_which_computes_shapes(name: object, options: dict[str, str]) -> None:
    assert choose_providers(name, None) == (Provider(CUDA, options), Provider(CPU))


def test_a_torch_device_is_a_device() -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    assert choose_providers(torch.device("cpu"), None) == CPU_ONLY


@pytest.mark.parametrize(
    "name",
    ["mps", "npu", "xpu", "auto", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cuda:1:2", "cuda:²", "cpu:0", ""],
)
def test_another_device_is_an_error_that_names_the_choices(name: str) -> None:
    with pytest.raises(InputValueError, match="there is no device") as caught:
        choose_providers(name, None)
    assert repr(name) in str(caught.value)
    assert "pass device='cpu', 'cuda' or 'cuda:1', or providers=" in str(caught.value)
    assert ", ".join(onnxruntime.get_available_providers()) in str(caught.value)


@pytest.mark.parametrize("name", [0, 1.5, True, b"cuda", ["cuda"]])
def test_a_device_that_is_no_string_is_refused(name: object) -> None:
    with pytest.raises(InputTypeError, match="device must be a string, found"):
        choose_providers(name, None)


@pytest.mark.usefixtures("with_cuda")
def test_options_become_the_strings_that_onnxruntime_reads() -> None:
    options: dict[str, Any] = {"gpu_mem_limit": 2 * 2**30, "use_tf32": True, "a": False, "b": 0.5, "c": "x"}
    (chosen,) = choose_providers(None, [(CUDA, options)])
    assert chosen.options == {"gpu_mem_limit": "2147483648", "use_tf32": "1", "a": "0", "b": "0.5", "c": "x"}


@given(
    st.dictionaries(
        st.text(), st.one_of(st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False)), max_size=4
    )
)
def test_providers_survive_a_pickle_and_a_second_choice(options: dict[str, Any]) -> None:
    """A pickled model holds ``Provider.argument`` and is opened again with it, and JSON makes lists of pairs."""
    chosen = choose_providers(None, [(CPU, options)])
    assert pickle.loads(pickle.dumps(chosen)) == chosen
    assert choose_providers(None, [provider.argument for provider in chosen]) == chosen
    as_in_json: Any = [list(provider.argument) for provider in chosen]
    assert choose_providers(None, as_in_json) == chosen


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, 1j, b"1", object()])
def test_an_option_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(InputTypeError, match="option gpu_mem_limit must be a string, a number or a boolean"):
        choose_providers(None, [(CPU, {"gpu_mem_limit": value})])


@pytest.mark.parametrize(
    ("providers", "message"),
    [
        (CPU, "must be a list of names, found 'CPUExecutionProvider'"),
        ({CPU}, "must be a list of names"),
        ({CPU: {}}, "must be a list of names"),
        (1, "must be a list of names, found 1"),
        ([1], r"must be names or pairs \(name, options\), found 1"),
        ([(CPU,)], "must be names or pairs"),
        ([(CPU, "device_id")], "must be names or pairs"),
        ([(1, {})], "must be names or pairs"),
        ([(CPU, {1: "a"})], "must have strings as names, found 1"),
    ],
)
def test_providers_of_another_type_are_refused(providers: Any, message: str) -> None:
    with pytest.raises(InputTypeError, match=message):
        choose_providers(None, providers)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ProviderError, match="providers is empty"):
        choose_providers(None, [])


def test_a_provider_is_named_once() -> None:
    with pytest.raises(InputValueError, match="has CPUExecutionProvider 2 times; name it once"):
        choose_providers(None, [CPU, (CPU, {"a": "b"})])


@pytest.mark.usefixtures("with_cuda")
@pytest.mark.parametrize(
    ("name", "providers", "expected"),
    [
        ("cuda", [CUDA, CPU], CUDA_AND_CPU),
        ("cuda", [CUDA], (Provider(CUDA),)),
        ("cuda", [(CUDA, {"device_id": 1})], (Provider(CUDA, {"device_id": "1"}),)),
        ("cuda:1", [(CUDA, {"device_id": 1})], (Provider(CUDA, {"device_id": "1"}),)),
        (
            "cuda:1",
            [(CUDA, {"use_tf32": 1}), CPU],
            (Provider(CUDA, {"use_tf32": "1", "device_id": "1"}), Provider(CPU)),
        ),
        ("cpu", [(CPU, {"use_arena": 1})], (Provider(CPU, {"use_arena": "1"}),)),
    ],
)
def test_device_and_providers_may_agree(name: str, providers: Any, expected: Sequence[Provider]) -> None:
    assert choose_providers(name, providers) == expected


@pytest.mark.usefixtures("with_cuda")
@pytest.mark.parametrize(
    ("name", "providers", "named"),
    [
        ("cuda", [CPU], "CPUExecutionProvider;"),
        ("cuda", [CPU, CUDA], "CPUExecutionProvider, CUDAExecutionProvider;"),
        ("cpu", [CUDA, CPU], "CUDAExecutionProvider, CPUExecutionProvider;"),
        ("cpu", [CPU, CUDA], "CPUExecutionProvider, CUDAExecutionProvider;"),
        ("cuda:0", [(CUDA, {"device_id": 1})], r"CUDAExecutionProvider \(device_id 1\);"),
        ("cuda", ["TensorrtExecutionProvider", CUDA], "TensorrtExecutionProvider, CUDAExecutionProvider;"),
    ],
)
def test_device_and_providers_that_do_not_agree_are_refused(name: str, providers: Any, named: str) -> None:
    with pytest.raises(InputValueError, match=f"device='{name}' does not agree with providers, which are {named}"):
        choose_providers(name, providers)


@pytest.mark.parametrize(
    ("providers", "expected"),
    [
        (CPU_ONLY, "cpu"),
        (CUDA_AND_CPU, "cuda:0"),
        ((Provider(CUDA, {"device_id": "3"}),), "cuda:3"),
        ((Provider("CoreMLExecutionProvider"), Provider(CPU)), "CoreMLExecutionProvider"),
    ],
)
def test_a_device_is_the_first_provider(providers: tuple[Provider, ...], expected: str) -> None:
    assert device_of(providers) == expected


@pytest.mark.usefixtures("with_cuda")
def test_a_provider_that_this_onnxruntime_lacks_is_an_error() -> None:
    with pytest.raises(ProviderError, match=f"DmlExecutionProvider is not in this onnxruntime, which has .*{CUDA}"):
        choose_providers(None, ["DmlExecutionProvider"])


@pytest.mark.parametrize("providers", [None, [CUDA], [(CUDA, {"device_id": 1}), CPU]])
def test_an_onnxruntime_without_cuda_names_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, providers: Any
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", CPU])
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(ProviderError) as caught:
        choose_providers("cuda", providers)
    assert str(caught.value).startswith(f"{CUDA} is not in this onnxruntime, which has AzureExecutionProvider, {CPU}; ")
    assert 'install "onnxruntime-gpu[cuda,cudnn]"' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_cpu_alone_imports_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is imported beside the checksums."""
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", SimpleNamespace())
    assert choose_providers("cpu", [CPU]) == choose_providers(None, None) == CPU_ONLY
