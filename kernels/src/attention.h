// Attention of one head of one text, in exact integers up to the final division.
//
// Q and K are int8 codes, each row with a scale of its own. The weights of the keys (softmax without its denominator)
// are 2^(score - largest score), rounded to multiples of 1 / 8192. V is rounded to 12 bits, each column with a scale
// of its own. So 64 products of both fit into 32 bits, and every processor adds them up exactly.
#pragma once

#include "linear.h"

namespace embedge {
namespace {

constexpr float kLogOne = 13.0f;  // the weight of the largest score is 2^13
constexpr float kLargestValue = 2047.0f;  // the largest code of V

// Q, K and V of all tokens of a batch.
struct Projections {
  uint8_t* query = nullptr;      // codes + V::kQueryOffset, [queries, width]
  float* query_scales = nullptr;  // [heads, queries]
  int8_t* key = nullptr;          // [rows, width]
  float* key_scales = nullptr;    // [heads, rows]
  int32_t* key_sums = nullptr;    // of the codes, [heads, rows]
  float* value = nullptr;         // [rows, width]
  size_t queries = 0;
  size_t rows = 0;
};

constexpr size_t round_up(size_t count, size_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// The keys of a head as panels of 64 keys, [size / V::kGroup][64 keys][V::kGroup], as `V::pack` makes them of the
// columns of a weight.
template <class V>
void pack_keys(const int8_t* keys, size_t stride, size_t tokens, size_t size, int8_t* panels) {
  constexpr size_t kGroup = V::kGroup;
  for (size_t first = 0; first < tokens; first += kPanel) {
    const size_t count = tokens - first < kPanel ? tokens - first : kPanel;
    int8_t* panel = panels + first * size;
    for (size_t key = 0; key < count; ++key)
      for (size_t i = 0; i < size; i += kGroup)
        __builtin_memcpy(panel + i * kPanel + kGroup * key, keys + (first + key) * stride + i, kGroup);
    for (size_t i = 0; i < size; i += kGroup)
      __builtin_memset(panel + i * kPanel + kGroup * count, 0, kGroup * (kPanel - count));
  }
}

// V of a head as 12-bit codes in pairs of keys, [pairs][size][2], and the factor of each column.
// Returns false if a value is not usable.
template <class V>
bool pack_values(const float* values, size_t stride, size_t tokens, size_t size, int16_t* codes, float* factors) {
  bool usable = true;
  for (size_t column = 0; column < size; column += kLanes) {
    typename V::F most = V::set(0.0f);
    for (size_t token = 0; token < tokens; ++token)
      most = V::max(most, V::abs(V::load(values + token * stride + column)));
    alignas(64) float largest[kLanes], inverse[kLanes];
    V::store(largest, most);
    for (size_t i = 0; i < kLanes; ++i) {
      usable = usable && largest[i] < kLargest;
      inverse[i] = largest[i] > kTiny ? kLargestValue / largest[i] : 0.0f;
      factors[column + i] = largest[i] * (1.0f / kLargestValue);
    }
    const typename V::F factor = V::load(inverse);
    alignas(64) int16_t even[kLanes], odd[kLanes] = {};
    for (size_t token = 0; token < tokens; token += 2) {
      V::store_int16(even, V::round(V::mul(V::load(values + token * stride + column), factor)));
      if (token + 1 < tokens)
        V::store_int16(odd, V::round(V::mul(V::load(values + (token + 1) * stride + column), factor)));
      else
        for (size_t i = 0; i < kLanes; ++i) odd[i] = 0;
      int16_t* to = codes + token * size + 2 * column;
      for (size_t i = 0; i < kLanes; ++i) to[2 * i] = even[i], to[2 * i + 1] = odd[i];
    }
  }
  return usable;
}

// Turns the scores of one query into weights; returns their sum. `factor` multiplies the scores.
template <class V>
int32_t weigh_scores(float* scores, size_t tokens, float factor, int16_t* weights) {
  const size_t padded = round_up(tokens, kLanes);
  for (size_t i = tokens; i < padded; ++i) scores[i] = scores[0];
  typename V::F most = V::load(scores);
  for (size_t i = kLanes; i < padded; i += kLanes) most = V::max(most, V::load(scores + i));
  // The largest score is subtracted first: then its weight is 2^13 exactly, and none is larger, whatever the scores are.
  const typename V::F largest = V::set(V::largest(most)), scale = V::set(factor), one = V::set(kLogOne);
  typename V::I total = V::set(int32_t{0});
  for (size_t i = 0; i < padded; i += kLanes) {
    typename V::I weight = V::round(power_of_two<V>(V::fma(V::sub(V::load(scores + i), largest), scale, one)));
    if (i + kLanes > tokens) {
      alignas(64) int32_t mask[kLanes];
      for (size_t lane = 0; lane < kLanes; ++lane) mask[lane] = i + lane < tokens ? -1 : 0;
      weight = V::both(weight, V::load(mask));
    }
    V::store_int16(weights + i, weight);
    total = V::add(total, weight);
  }
  return V::sum(total);
}

// One head of one text: the rows of `output`, [queries, width], get the head's columns.
// Returns false if Q, K or V is not usable.
template <class V>
bool attend(const Projections& all, size_t head, size_t size, size_t width, size_t first_row, size_t tokens,
            size_t first_query, size_t queries, float* output) {
  Scratch scratch;
  const size_t padded = round_up(tokens, kPanel);
  int8_t* panels = scratch.take<int8_t>(padded * size);
  int32_t* corrections = scratch.take<int32_t>(padded);
  float* scales = scratch.take<float>(padded);
  int16_t* values = scratch.take<int16_t>(round_up(tokens, 2) * size);
  float* scores = scratch.take<float>(V::kRows * padded);
  int16_t* weights = scratch.take<int16_t>(V::kRows * padded);
  float* totals = scratch.take<float>(V::kRows * size);
  alignas(64) float factors[kPanel];
  const float* key_scales = all.key_scales + head * all.rows + first_row;
  const int32_t* key_sums = all.key_sums + head * all.rows + first_row;
  const float* query_scales = all.query_scales + head * all.queries + first_query;

  pack_keys<V>(all.key + first_row * width + head * size, width, tokens, size, panels);
  bool usable =
      pack_values<V>(all.value + first_row * width + head * size, width, tokens, size, values, factors);
  for (size_t i = 0; i < padded; ++i) {
    scales[i] = i < tokens ? key_scales[i] : 0.0f;
    usable = usable && scales[i] < kLargest;
  }
  for (size_t i = 0; i < queries; ++i) usable = usable && query_scales[i] < kLargest;
  if (!usable) return false;
  // Unsigned: a damaged scale gives sums that overflow, which is undefined for signed numbers.
  for (size_t i = 0; i < padded; ++i)
    corrections[i] = i < tokens ? static_cast<int32_t>(static_cast<uint32_t>(V::kQueryOffset) *
                                                       static_cast<uint32_t>(key_sums[i]))
                                : 0;

  const float log2e_by_root = 1.44269504f / __builtin_sqrtf(static_cast<float>(size));
  const uint8_t* codes = all.query + first_query * width + head * size;
  for (size_t first = 0; first < queries; first += V::kRows) {
    const size_t block = queries - first < V::kRows ? queries - first : V::kRows;
    for (size_t key = 0; key < tokens; key += kPanel)
      V::scores(codes + first * width, width, block, panels + key * size, size, corrections + key, scales + key,
                scores + key, padded);
    alignas(64) int32_t denominators[V::kRows];
    for (size_t r = 0; r < block; ++r)
      denominators[r] = weigh_scores<V>(scores + r * padded, tokens, query_scales[first + r] * log2e_by_root,
                                        weights + r * padded);
    V::weighted_sums(weights, padded, block, values, (tokens + 1) / 2, size, totals);
    for (size_t r = 0; r < block; ++r) {
      const typename V::F share = V::set(1.0f / static_cast<float>(denominators[r]));
      for (size_t i = 0; i < size; i += kLanes)
        V::store(output + (first_query + first + r) * width + head * size + i,
                 V::mul(V::load(totals + r * size + i), V::mul(V::load(factors + i), share)));
    }
  }
  return true;
}

}  // namespace
}  // namespace embedge
