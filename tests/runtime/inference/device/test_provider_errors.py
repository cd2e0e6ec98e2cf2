"""provider_errors.py: a provider's options, its device, its memory, and a graph that it does not open.

The messages are those of the real packages.
"""

from pathlib import Path

import pytest

from embedge.inference.device.provider_errors import cannot_open, not_started, reason_of
from embedge.inference.providers import CUDA, Provider

# onnxruntime-gpu 1.31.1
NO_CARD = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc:63 static "
    "onnxruntime::CUDAExecutionProviderInfo onnxruntime::CUDAExecutionProviderInfo::FromProviderOptions(const "
    "onnxruntime::ProviderOptions&) [ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:187 Parse Failed to parse "
    'provider option "device_id": CUDA failure 36: API call is not supported in the installed CUDA driver ; GPU=-1 ; '
    "hostname=vm ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc ; line=70 ; "
    "expr=cudaGetDeviceCount(&num_devices); \n"
)
# onnxruntime-gpu 1.31.1
UNKNOWN_OPTION = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc:63 static "
    "onnxruntime::CUDAExecutionProviderInfo onnxruntime::CUDAExecutionProviderInfo::FromProviderOptions(const "
    "onnxruntime::ProviderOptions&) [ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:182 Parse Unknown "
    'provider option: "nonsense".\n'
)
# onnxruntime-gpu 1.31.1, without TensorRT's own libraries
NO_TENSORRT = (
    "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:729 void onnxruntime::python::"
    "RegisterTensorRTPluginsAsCustomOps(PySessionOptions&, const onnxruntime::ProviderOptions&) Please install "
    "TensorRT libraries as mentioned in the GPU requirements page, make sure they're in the PATH or LD_LIBRARY_PATH, "
    "and that your GPU is supported.\n"
)
# onnxruntime-openvino 1.24.1
UNKNOWN_TO_OPENVINO = (
    "/onnxruntime/onnxruntime/python/onnxruntime_pybind_state.cc:1053 std::shared_ptr<onnxruntime::"
    "IExecutionProviderFactory> onnxruntime::python::CreateExecutionProviderFactoryInstance(const onnxruntime::"
    "SessionOptions&, const std::string&, const onnxruntime::ProviderOptionsMap&) "
    "Invalid OpenVINO EP option: nonsense\n"
)
# onnxruntime-openvino 1.24.1
REFUSED = (
    "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: "
    "/onnxruntime/onnxruntime/core/providers/openvino/backends/basic_backend.cc:136 [OpenVINO-EP] Exception while "
    "Reading network: Check 'false' failed at src/frontends/onnx/frontend/src/frontend.cpp:221:\nFrontEnd API failed "
    "with GeneralFailure:\nOpenVINO does not support the following ONNX operations: com.microsoft.MultiHeadAttention\n"
)
# The end is what onnxruntime 1.32 raises on a CPU if memory runs out in a run; the start is that of an error at load.
ARENA = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: "
    "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal("
    "size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 93763584\n"
)
# The words are those of bfc_arena.cc.
LIMITED = ARENA.replace(
    "Failed to allocate memory for requested buffer of size 93763584",
    "Available memory of 1000 is smaller than requested bytes of 93763584",
)
CUDA_MEMORY = NO_CARD.replace("36: API call is not supported in the installed CUDA driver", "2: out of memory")


class EPFail(Exception):  # noqa: N818  # ONNX Runtime's name
    """A stand-in: ONNX Runtime's own class is not importable by all of its builds."""


class Fail(Exception):  # noqa: N818
    """A stand-in."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError(NO_CARD), "CUDA failure 36: API call is not supported in the installed CUDA driver"),
        (RuntimeError(UNKNOWN_OPTION), 'Unknown provider option: "nonsense"'),
        (
            RuntimeError(NO_TENSORRT),
            "(Please install TensorRT libraries as mentioned in the GPU requirements page, make "
            "sure they're in the PATH or LD_LIBRARY_PATH, and that your GPU is supported",
        ),
        (RuntimeError(UNKNOWN_TO_OPENVINO), "(Invalid OpenVINO EP option: nonsense"),
        (RuntimeError(""), "RuntimeError"),
        (RuntimeError("/a/b.cc:65 f(int) x == y was false. No adapter\n"), "No adapter"),
        (EPFail("[ONNXRuntimeError] : 11 : EP_FAIL : x"), "(x"),
    ],
)
def test_a_provider_that_did_not_start(error: Exception, reason: str) -> None:
    found = str(not_started(error, Provider(CUDA)))
    assert found.startswith(f"{CUDA} did not start (")
    assert f"{reason}); check its options, or remove device and providers" in found
    assert "/onnxruntime" not in found


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (ARENA, "Failed to allocate memory for requested buffer of size 93763584"),
        (LIMITED, "Available memory of 1000 is smaller than requested bytes of 93763584"),
        (CUDA_MEMORY, "CUDA failure 2: out of memory"),
    ],
)
def test_memory_that_ran_out(message: str, reason: str) -> None:
    found = str(not_started(Fail(message), Provider(CUDA, {"device_id": "1"})))
    assert found.startswith("the memory of cuda:1 ran out while the model was loaded (")
    assert f"{reason}); end other programs that `nvidia-smi` lists, or remove device" in found
    limited = str(not_started(Fail(message), Provider(CUDA, {"gpu_mem_limit": "1000"})))
    assert f"{reason}); raise gpu_mem_limit, end other programs" in limited


def test_a_provider_that_refuses_the_graph_has_started() -> None:
    assert not_started(Fail(REFUSED), Provider("OpenVINOExecutionProvider")) is None


# Messages of onnxruntime-openvino 1.24.1, onnxruntime-migraphx 1.27.1, onnxruntime-webgpu 1.27.0 and onnxruntime-gpu.
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /a/basic_backend.cc:136 f(int)\n"
            "FrontEnd API failed with GeneralFailure:\n"
            "OpenVINO does not support the following ONNX operations: com.microsoft.MultiHeadAttention\n\n\n",
            "OpenVINO does not support the following ONNX operations: com.microsoft.MultiHeadAttention",
        ),
        (
            "/a/provider_bridge_ort.cc:1988 onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() "
            "[ONNXRuntimeError] : 1 : FAIL : Failed to load library a.so with error: libmigraphx_c.so.3: cannot open",
            "Failed to load library a.so with error: libmigraphx_c.so.3: cannot open",
        ),
        (
            "/a/webgpu_context.cc:65 f(int)::<lambda()> status == wgpu::RequestAdapterStatus::Success was false. "
            "Failed to get a WebGPU adapter: No supported adapters\n",
            "Failed to get a WebGPU adapter: No supported adapters",
        ),
        (
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running If node. "
            "Name:'a' Status Message: Non-zero status code returned while running MultiHeadAttention node. Name:'b' "
            "Status Message: input `key_padding_mask` not implemented for webgpu",
            "input `key_padding_mask` not implemented for webgpu",
        ),
        ("", "RuntimeError"),
    ],
)
def test_the_reason_leaves_out_where_in_the_source_it_happened(message: str, reason: str) -> None:
    assert reason_of(RuntimeError(message)) == reason
    error = cannot_open(
        RuntimeError(message), graph=Path("model.onnx"), provider=CUDA, advice=lambda opened: str(opened)
    )
    assert str(error) == f"{CUDA} cannot open model.onnx ({reason}); False"
