// The part of ONNX Runtime's C interface that the operators use. ONNX Runtime's wheels bring no header.
//
// The interface is a table of functions. A new version of ONNX Runtime only adds functions at its end, and a function
// keeps its place; so do the fields of OrtCustomOp. The places below are those of API version 17 and later.
// Source: onnxruntime_c_api.h.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef _WIN32
#define EMBEDGE_CALL __stdcall
#define EMBEDGE_EXPORT extern "C" __declspec(dllexport)
#else
#define EMBEDGE_CALL
#define EMBEDGE_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace embedge::ort {

constexpr uint32_t kApiVersion = 17;  // ONNX Runtime 1.17, the first with KernelContext_ParallelFor

struct Status;
struct SessionOptions;
struct CustomOpDomain;
struct KernelInfo;
struct KernelContext;
struct Value;
struct TensorInfo;

enum ErrorCode { kFail = 1, kInvalidArgument = 2 };
enum ElementType { kFloat = 1, kInt8 = 3, kInt64 = 7 };
enum Characteristic { kRequired = 0, kOptional = 1 };

struct ApiBase {
  const void* const*(EMBEDGE_CALL* get_api)(uint32_t version);
  const char*(EMBEDGE_CALL* get_version)();
};

// One function of the table, by its place.
template <size_t place, class Result, class... Arguments>
struct Function {
  static Result call(const void* const* api, Arguments... arguments) {
    using Pointer = Result(EMBEDGE_CALL*)(Arguments...);
    return reinterpret_cast<Pointer>(const_cast<void*>(api[place]))(arguments...);
  }
};

using CreateStatus = Function<0, Status*, ErrorCode, const char*>;
using GetErrorMessage = Function<2, const char*, const Status*>;
using CreateCustomOpDomain = Function<26, Status*, const char*, CustomOpDomain**>;
using AddToDomain = Function<27, Status*, CustomOpDomain*, const struct CustomOp*>;
using AddDomain = Function<28, Status*, SessionOptions*, CustomOpDomain*>;
using GetData = Function<51, Status*, Value*, void**>;
using GetElementType = Function<60, Status*, const TensorInfo*, int*>;
using GetDimensionCount = Function<61, Status*, const TensorInfo*, size_t*>;
using GetDimensions = Function<62, Status*, const TensorInfo*, int64_t*, size_t>;
using GetTensorInfo = Function<65, Status*, const Value*, TensorInfo**>;
using GetFloatAttribute = Function<85, Status*, const KernelInfo*, const char*, float*>;
using GetIntAttribute = Function<86, Status*, const KernelInfo*, const char*, int64_t*>;
using GetInputCount = Function<88, Status*, const KernelContext*, size_t*>;
using GetInput = Function<90, Status*, const KernelContext*, size_t, const Value**>;
using GetOutput = Function<91, Status*, KernelContext*, size_t, const int64_t*, size_t, Value**>;
using ReleaseStatus = Function<93, void, Status*>;
using ReleaseTensorInfo = Function<99, void, TensorInfo*>;
using ParallelFor = Function<274, Status*, const KernelContext*, void (*)(void*, size_t), size_t, size_t, void*>;

// The description of an operator that ONNX Runtime keeps for as long as a session uses it.
struct CustomOp {
  uint32_t version;
  void*(EMBEDGE_CALL* create_kernel)(const CustomOp*, const void* const* api, const KernelInfo*);
  const char*(EMBEDGE_CALL* get_name)(const CustomOp*);
  const char*(EMBEDGE_CALL* get_provider)(const CustomOp*);
  int(EMBEDGE_CALL* get_input_type)(const CustomOp*, size_t);
  size_t(EMBEDGE_CALL* get_input_count)(const CustomOp*);
  int(EMBEDGE_CALL* get_output_type)(const CustomOp*, size_t);
  size_t(EMBEDGE_CALL* get_output_count)(const CustomOp*);
  void(EMBEDGE_CALL* compute)(void*, KernelContext*);
  void(EMBEDGE_CALL* destroy)(void*);
  int(EMBEDGE_CALL* get_input_characteristic)(const CustomOp*, size_t);
  int(EMBEDGE_CALL* get_output_characteristic)(const CustomOp*, size_t);
  int(EMBEDGE_CALL* get_input_memory)(const CustomOp*, size_t);
  int(EMBEDGE_CALL* get_least_inputs)(const CustomOp*);
  int(EMBEDGE_CALL* are_inputs_of_one_type)(const CustomOp*);
  int(EMBEDGE_CALL* get_least_outputs)(const CustomOp*);
  int(EMBEDGE_CALL* are_outputs_of_one_type)(const CustomOp*);
  Status*(EMBEDGE_CALL* create_kernel_v2)(const CustomOp*, const void* const* api, const KernelInfo*, void**);
  Status*(EMBEDGE_CALL* compute_v2)(void*, KernelContext*);
  void* infer_shape;
  int(EMBEDGE_CALL* get_first_version)(const CustomOp*);
  int(EMBEDGE_CALL* get_last_version)(const CustomOp*);
};

}  // namespace embedge::ort
