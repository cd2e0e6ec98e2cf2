#include "tensors.h"

namespace embedge {

Inputs::Inputs(const char* name, const void* const* api, ort::KernelContext* context)
    : name_(name), api_(api), context_(context) {
  check<ort::GetInputCount>(api_, context_, &count_);
}

bool Inputs::has(size_t index) const {
  if (index >= count_) return false;
  const ort::Value* value = nullptr;
  check<ort::GetInput>(api_, context_, index, &value);
  return value != nullptr;
}

const void* Inputs::read(size_t index, int type, Shape& shape) const {
  const ort::Value* value = nullptr;
  if (index < count_) check<ort::GetInput>(api_, context_, index, &value);
  if (value == nullptr) refuse(index, "is missing");
  ort::TensorInfo* info = nullptr;
  check<ort::GetTensorInfo>(api_, value, &info);
  int found = 0;
  check<ort::GetElementType>(api_, info, &found);
  check<ort::GetDimensionCount>(api_, info, &shape.count);
  const bool fits = shape.count <= kMostDimensions;
  if (fits) check<ort::GetDimensions>(api_, info, shape.sizes.data(), shape.count);
  ort::ReleaseTensorInfo::call(api_, info);
  if (!fits) refuse(index, "has more than 8 dimensions");
  if (found != type) refuse(index, "has another type");
  void* data = nullptr;
  check<ort::GetData>(api_, const_cast<ort::Value*>(value), &data);
  return data;
}

float* Inputs::output(const Shape& shape) const {
  ort::Value* value = nullptr;
  check<ort::GetOutput>(api_, context_, size_t{0}, shape.sizes.data(), shape.count, &value);
  void* data = nullptr;
  check<ort::GetData>(api_, value, &data);
  return static_cast<float*>(data);
}

void Inputs::refuse(size_t index, const char* fault) const {
  throw BadInput(std::string(name_) + ": input " + std::to_string(index) + " " + fault);
}

}  // namespace embedge
