// The operators for one instruction set: what each isa_*.cpp compiles.
#pragma once

#include "encoder_layer.h"
#include "instruction_set.h"

namespace embedge {
namespace {

template <class V>
void run_encoder_layer(const EncoderLayer& layer, Parallel& parallel) {
  LayerRun<V>(layer, parallel).run();
}

template <class V>
void run_embedding(const Embedding& e) {
  for (size_t row = 0; row < e.rows; ++row) {
    float* to = e.output + row * e.width;
    if (e.mask[row] == 0) {
      __builtin_memset(to, 0, e.width * sizeof(float));
      continue;
    }
    const int8_t* word = e.words + static_cast<size_t>(e.ids[row]) * e.width;
    const size_t place = e.positions_of == nullptr ? row % e.tokens : static_cast<size_t>(e.positions_of[row]);
    const float* position = e.positions + place * e.width;
    const typename V::F scale = V::set(e.word_scales[e.ids[row]]);
    for (size_t i = 0; i < e.width; i += kLanes)
      V::store(to + i, V::fma(V::widen(word + i), scale, V::load(position + i)));
    normalise_row<V>(to, e.width, e.gain, e.bias, e.epsilon);
  }
}

template <class V>
void run_row_linear(const RowLinear& head, Parallel& parallel) {
  const Linear& linear = head.linear;
  const size_t blocks = (head.count + kBlockRows - 1) / kBlockRows;
  run_parallel(parallel, blocks, [&](size_t block) {
    const size_t first = head.count * block / blocks, count = head.count * (block + 1) / blocks - first;
    Scratch scratch;
    CodeRows codes{scratch.take<uint8_t>(count * linear.depth), scratch.take<float>(count)};
    for (size_t r = 0; r < count; ++r)
      codes.scales[r] = quantise_row<V>(head.rows + (first + r) * linear.depth, linear.depth, linear.static_scale,
                                        codes.codes + r * linear.depth);
    multiply_rows<V>(linear, codes, count, 128, 0, linear.columns / kPanel,
                     [&](size_t r, size_t column, const typename V::F* values) {
                       float* to = head.output + (first + r) * linear.columns + column;
                       for (size_t j = 0; j < 4; ++j) {
                         typename V::F y = values[j];
                         if (head.activation == HeadActivation::kTanh) y = tanh<V>(y);
                         if (head.activation == HeadActivation::kRelu) y = V::max(y, V::set(0.0f));
                         V::store(to + kLanes * j, y);
                       }
                     });
    for (size_t r = 0; r < count; ++r)  // codes cannot express NaN
      if (!is_usable<V>(head.rows + (first + r) * linear.depth, linear.depth))
        for (size_t i = 0; i < linear.columns; ++i)
          head.output[(first + r) * linear.columns + i] = __builtin_nanf("");
  });
}

template <class V>
void run_row_dot(const RowDot& head) {
  for (size_t r = 0; r < head.count; ++r) {
    const float* row = head.rows + r * head.depth;
    typename V::F total = V::set(0.0f);
    for (size_t i = 0; i < head.depth; i += kLanes)
      total = V::fma(V::load(row + i), V::load(head.weight + i), total);
    const float y = V::sum(total) + head.bias;
    head.output[r] = head.relu && y < 0.0f ? 0.0f : y;
  }
}

template <class V>
constexpr InstructionSet operators_on(const char* name) {
  return {name, run_encoder_layer<V>, run_embedding<V>, run_row_linear<V>, run_row_dot<V>, V::pack};
}

}  // namespace
}  // namespace embedge
