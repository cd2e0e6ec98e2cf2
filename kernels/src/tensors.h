// Reads the inputs of an operator, and checks their types and shapes.
#pragma once

#include <array>
#include <stdexcept>
#include <string>

#include "onnxruntime_abi.h"

namespace embedge {

// An input or a graph that the operators refuse; the message says what was found.
struct BadInput : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class Call, class... Arguments>
void check(const void* const* api, Arguments... arguments) {
  ort::Status* status = Call::call(api, arguments...);
  if (status == nullptr) return;
  const std::string message = ort::GetErrorMessage::call(api, status);
  ort::ReleaseStatus::call(api, status);
  throw std::runtime_error(message);
}

template <class T>
constexpr int kElementType = 0;
template <>
inline constexpr int kElementType<float> = ort::kFloat;
template <>
inline constexpr int kElementType<int8_t> = ort::kInt8;
template <>
inline constexpr int kElementType<int64_t> = ort::kInt64;

constexpr size_t kMostDimensions = 8;

struct Shape {
  std::array<int64_t, kMostDimensions> sizes{};
  size_t count = 0;

  size_t operator[](size_t axis) const { return static_cast<size_t>(sizes[axis]); }
  size_t last() const { return count == 0 ? 1 : (*this)[count - 1]; }
  size_t elements() const {
    size_t product = 1;
    for (size_t i = 0; i < count; ++i) product *= (*this)[i];
    return product;
  }
};

template <class T>
struct Tensor {
  const T* data = nullptr;
  Shape shape;
};

// The inputs and outputs of one run of an operator.
class Inputs {
 public:
  Inputs(const char* name, const void* const* api, ort::KernelContext* context);

  bool has(size_t index) const;

  // An input of a type; of a number of dimensions unless that is 0.
  template <class T>
  Tensor<T> tensor(size_t index, size_t dimensions) const {
    Tensor<T> result;
    result.data = static_cast<const T*>(read(index, kElementType<T>, result.shape));
    if (dimensions != 0 && result.shape.count != dimensions) refuse(index, "has another number of dimensions");
    return result;
  }

  // The data of an input with `elements` elements.
  template <class T>
  const T* vector(size_t index, size_t elements) const {
    const Tensor<T> found = tensor<T>(index, 0);
    if (found.shape.elements() != elements) refuse(index, "has another number of elements");
    return found.data;
  }

  // The same, or null if the input is left out.
  const float* optional_vector(size_t index, size_t elements) const {
    return has(index) ? vector<float>(index, elements) : nullptr;
  }

  float* output(const Shape& shape) const;
  [[noreturn]] void refuse(size_t index, const char* fault) const;

 private:
  const void* read(size_t index, int type, Shape& shape) const;

  const char* name_;
  const void* const* api_;
  ort::KernelContext* context_;
  size_t count_ = 0;
};

}  // namespace embedge
