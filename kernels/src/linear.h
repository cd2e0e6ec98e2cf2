// A linear layer on rows of codes: int8 products in exact integers, panel by panel.
#pragma once

#include "rows.h"
#include "scratch.h"

namespace embedge {
namespace {

// What turns the integers of one panel into numbers.
template <class V>
struct PanelScales {
  typename V::I correction[4];  // the zero point times the sums of the columns
  typename V::F scales[4];
  typename V::F bias[4];

  PanelScales(const Linear& linear, size_t column, int32_t zero_point, const int32_t* sums) {
    for (size_t j = 0; j < 4; ++j) {
      alignas(64) int32_t shifted[kLanes];
      for (size_t i = 0; i < kLanes; ++i) shifted[i] = (zero_point - V::kCodeShift) * sums[kLanes * j + i];
      correction[j] = V::load(shifted);
      scales[j] = V::load(linear.scales + column + kLanes * j);
      bias[j] = linear.bias == nullptr ? V::set(0.0f) : V::load(linear.bias + column + kLanes * j);
    }
  }

  template <class Finish>
  void apply(const int32_t* products, const float* row_scales, size_t first, size_t count, size_t column,
             Finish& finish) const {
    for (size_t r = 0; r < count; ++r) {
      const typename V::F scale = V::set(row_scales[first + r]);
      typename V::F values[4];
      for (size_t j = 0; j < 4; ++j) {
        const typename V::I product = V::sub(V::load(products + kPanel * r + kLanes * j), correction[j]);
        values[j] = V::fma(V::mul(V::to_float(product), scales[j]), scale, bias[j]);
      }
      finish(first + r, column, values);
    }
  }
};

// Calls finish(row, column, values) with the 64 values of each row and panel: products times the scales of the columns
// and of the row, plus the bias. `values` are four vectors.
//
// Without packed panels, a panel is rearranged from the mapped weight each time.
template <class V, class Finish>
void multiply_rows(const Linear& linear, CodeRows rows, size_t count, int32_t zero_point, size_t first_panel,
                   size_t last_panel, Finish finish) {
  Scratch scratch;
  const size_t depth = linear.depth;
  int8_t* made = linear.packed.panels == nullptr ? scratch.take<int8_t>(kPanel * depth) : nullptr;
  alignas(64) int32_t made_sums[kPanel];
  alignas(64) int32_t products[V::kRows * kPanel];
  V::begin();
  for (size_t column = first_panel * kPanel; column < last_panel * kPanel; column += kPanel) {
    if (made != nullptr) V::pack(linear.weight + column, linear.columns, depth, made, made_sums);
    const int8_t* panel = made != nullptr ? made : linear.packed.panels + column * depth;
    const int32_t* sums = made != nullptr ? made_sums : linear.packed.sums + column;
    const PanelScales<V> scales(linear, column, zero_point, sums);
    for (size_t first = 0; first < count; first += V::kRows) {
      const size_t block = count - first < V::kRows ? count - first : V::kRows;
      V::products(rows.codes + first * depth, depth, block, panel, depth, products);
      scales.apply(products, rows.scales, first, block, column, finish);
    }
  }
  V::end();
}

}  // namespace
}  // namespace embedge
