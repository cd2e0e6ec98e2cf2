"""A bundle whose graph aborts the process at one word: a native library, as ONNX Runtime and the kernels are."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fake_kernels

WORD = "stone"
# An operator that passes the token ids on, unless one of them is that of the word.
_SOURCE = """
#include <cstdlib>
#include "onnxruntime_abi.h"
using namespace embedge::ort;

static const void* const* table;

static Status* compute(void*, KernelContext* context) {
  const Value* input;
  TensorInfo* info;
  void* data;
  size_t count;
  GetInput::call(table, context, 0, &input);
  GetTensorInfo::call(table, input, &info);
  GetDimensionCount::call(table, info, &count);
  int64_t shape[8];
  GetDimensions::call(table, info, shape, count);
  ReleaseTensorInfo::call(table, info);
  GetData::call(table, const_cast<Value*>(input), &data);
  Value* output;
  void* to;
  GetOutput::call(table, context, 0, shape, count, &output);
  GetData::call(table, output, &to);
  int64_t size = 1;
  for (size_t i = 0; i < count; ++i) size *= shape[i];
  for (int64_t i = 0; i < size; ++i) {
    const int64_t id = static_cast<const int64_t*>(data)[i];
    if (id == ABORTS_AT) std::abort();
    static_cast<int64_t*>(to)[i] = id;
  }
  return nullptr;
}

EMBEDGE_EXPORT Status* RegisterCustomOps(SessionOptions* options, const ApiBase* base) {
  table = base->get_api(kApiVersion);
  static CustomOp op{};
  op.version = kApiVersion;
  op.get_name = [](const CustomOp*) { return "AbortAt"; };
  op.get_provider = [](const CustomOp*) -> const char* { return nullptr; };
  op.get_input_type = op.get_output_type = [](const CustomOp*, size_t) { return static_cast<int>(kInt64); };
  op.get_input_count = op.get_output_count = [](const CustomOp*) { return size_t{1}; };
  op.get_input_characteristic = op.get_output_characteristic = [](const CustomOp*, size_t) { return 0; };
  op.get_input_memory = [](const CustomOp*, size_t) { return 0; };
  op.get_least_inputs = op.get_least_outputs = [](const CustomOp*) { return 0; };
  op.are_inputs_of_one_type = op.are_outputs_of_one_type = [](const CustomOp*) { return 0; };
  op.get_first_version = op.get_last_version = [](const CustomOp*) { return 1; };
  op.create_kernel_v2 = [](const CustomOp*, const void* const*, const KernelInfo*, void** kernel) -> Status* {
    *kernel = &op;
    return nullptr;
  };
  op.compute_v2 = compute;
  op.destroy = [](void*) {};
  static CustomOpDomain* domain = nullptr;
  if (domain == nullptr) {
    CreateCustomOpDomain::call(table, "test", &domain);
    AddToDomain::call(table, domain, &op);
  }
  return AddDomain::call(table, options, domain);
}

EMBEDGE_EXPORT const char* embedge_kernels_instruction_set() { return "scalar"; }
EMBEDGE_EXPORT const char* embedge_kernels_instruction_sets() { return "scalar"; }
"""
_INTERFACE = Path(__file__).parents[2] / "kernels/src"


def write_aborting(bundle: Path, folder: Path) -> Path:
    """Copy a bundle, and give it a fused graph with the operator; return the copy.

    The stand-in for embedge-kernels, whose library has the operator, is written to ``folder / "packages"``. Skips the
    test where there is no compiler or no onnx.
    """
    onnx = pytest.importorskip("onnx", reason="needs onnx, which the extra `export` installs")
    compiler = shutil.which("c++")
    if sys.platform == "win32" or compiler is None or not _INTERFACE.is_dir():
        pytest.skip("needs a C++ compiler, c++, and the sources of the kernels")
    copy = Path(shutil.copytree(bundle, folder / "aborts"))
    library = fake_kernels.write_package(folder / "packages")
    _compile(compiler, library, _id_of(copy))
    model = onnx.load(copy / "onnx/model_int8.onnx", load_external_data=False)
    for node in model.graph.node:
        node.input[:] = ["checked_ids" if name == "input_ids" else name for name in node.input]
    node = onnx.helper.make_node("AbortAt", ["input_ids"], ["checked_ids"], domain="test")
    model.graph.node.insert(0, node)
    model.opset_import.append(onnx.helper.make_opsetid("test", 1))
    fake_kernels.add_fused(copy, model.SerializeToString())
    return copy


def _compile(compiler: str, library: Path, number: int) -> None:
    source = library.with_suffix(".cpp")
    source.write_text(_SOURCE)
    flags = ["-std=c++17", "-shared", "-fPIC", f"-I{_INTERFACE}", f"-DABORTS_AT={number}"]
    library.unlink()  # not written in place, in case a process has it open
    subprocess.run([compiler, *flags, "-o", str(library), str(source)], check=True)


def _id_of(bundle: Path) -> int:
    from tokenizers import Tokenizer

    number = Tokenizer.from_file(str(bundle / "tokenizer.json")).token_to_id(WORD)
    assert number is not None
    return int(number)
