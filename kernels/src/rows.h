// Rows of activations: quantise them to unsigned codes, normalise them.
#pragma once

#include "functions.h"

namespace embedge {
namespace {

constexpr size_t kLanes = 16;
// Rows whose largest value is below this are rows of zeros: 127 divided by it must not overflow.
constexpr float kTiny = 1e-30f;

// Rows of codes, and the factor by which products of each row are multiplied.
struct CodeRows {
  uint8_t* codes = nullptr;  // [count, width]
  float* scales = nullptr;   // [count]
};

template <class V>
float largest_magnitude(const float* row, size_t width) {
  typename V::F largest = V::set(0.0f);
  for (size_t i = 0; i < width; i += kLanes) largest = V::max(largest, V::abs(V::load(row + i)));
  return V::largest(largest);
}

// Larger numbers would overflow where two of them are multiplied. No model has them; damaged weights may.
constexpr float kLargest = 1e15f;

// Whether the values of a row are numbers, and small enough: their magnitudes add up to less than the limit.
template <class V>
bool is_usable(const float* row, size_t width) {
  typename V::F total = V::set(0.0f);
  for (size_t i = 0; i < width; i += kLanes) total = V::add(total, V::abs(V::load(row + i)));
  return V::sum(total) < kLargest;
}

// code = round(x * inverse) + zero_point, within [0, 255]; stored less V::kCodeShift.
template <class V>
void to_codes(const float* row, size_t width, float inverse, int32_t zero_point, uint8_t* codes) {
  const typename V::F factor = V::set(inverse);
  const typename V::F lowest = V::set(static_cast<float>(-zero_point));
  const typename V::F highest = V::set(static_cast<float>(255 - zero_point));
  const typename V::I zero = V::set(zero_point - V::kCodeShift);
  for (size_t i = 0; i < width; i += kLanes) {
    const typename V::F x = V::min(V::max(V::mul(V::load(row + i), factor), lowest), highest);
    V::store_bytes(codes + i, V::add(V::round(x), zero));
  }
}

// Quantises one row of the input of a linear layer around the zero point 128, by the layer's static scale or by the
// row's own; returns the factor of its products.
template <class V>
float quantise_row(const float* row, size_t width, const float* static_scale, uint8_t* codes) {
  if (static_scale != nullptr) {
    to_codes<V>(row, width, 1.0f / *static_scale, 128, codes);
    return 1.0f;
  }
  const float largest = largest_magnitude<V>(row, width);
  to_codes<V>(row, width, largest > kTiny ? 127.0f / largest : 0.0f, 128, codes);
  return largest * (1.0f / 127.0f);
}

// Quantises one row behind the activation function; returns the factor of its products.
template <class V>
float quantise_activated_row(const float* row, const EncoderLayer& layer, uint8_t* codes) {
  const size_t width = layer.down.depth;
  typename V::F most = V::load(row);
  for (size_t i = kLanes; i < width; i += kLanes) most = V::max(most, V::load(row + i));
  float scale = V::largest(most) * layer.step;
  if (!(scale > layer.least)) scale = layer.least;
  to_codes<V>(row, width, scale > kTiny ? 1.0f / scale : 0.0f, layer.zero_point, codes);
  return scale;
}

// Layer normalisation of one row, in place: (x - mean) / sqrt(variance + epsilon) * gain + bias.
template <class V>
void normalise_row(float* row, size_t width, const float* gain, const float* bias, float epsilon) {
  typename V::F total = V::set(0.0f);
  for (size_t i = 0; i < width; i += kLanes) total = V::add(total, V::load(row + i));
  const float count = static_cast<float>(width);
  const typename V::F mean = V::set(V::sum(total) / count);
  typename V::F squares = V::set(0.0f);
  for (size_t i = 0; i < width; i += kLanes) {
    const typename V::F x = V::sub(V::load(row + i), mean);
    squares = V::fma(x, x, squares);
  }
  const typename V::F factor = V::set(1.0f / __builtin_sqrtf(V::sum(squares) / count + epsilon));
  for (size_t i = 0; i < width; i += kLanes) {
    const typename V::F x = V::mul(V::sub(V::load(row + i), mean), factor);
    V::store(row + i, V::fma(x, V::load(gain + i), V::load(bias + i)));
  }
}

}  // namespace
}  // namespace embedge
