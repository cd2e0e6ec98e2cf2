// Random arguments of the operators: the same numbers on every processor, as they come from integers and exact steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../src/arguments.h"

namespace embedge {

// SplitMix64: https://prng.di.unimi.it/splitmix64.c
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    uint64_t x = state_ += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  size_t below(size_t limit) { return bits() % limit; }
  bool one_in(size_t count) { return below(count) == 0; }
  // In [0, 1), a multiple of 2^-20.
  float uniform() { return static_cast<float>(bits() >> 44) * 0x1p-20f; }
  // About normal, within +-6; sums of such uniform numbers are exact.
  float normal() {
    float total = -6.0f;
    for (int i = 0; i < 12; ++i) total += uniform();
    return total;
  }

  std::vector<float> normals(size_t count, float scale, float centre = 0.0f) {
    std::vector<float> found(count);
    for (float& x : found) x = centre + scale * normal();
    return found;
  }
  // Factors of columns between scale / 2 and scale.
  std::vector<float> factors(size_t count, float scale) {
    std::vector<float> found(count);
    for (float& x : found) x = scale * (0.5f + 0.5f * uniform());
    return found;
  }
  std::vector<int8_t> codes(size_t count, int largest) {
    std::vector<int8_t> found(count);
    for (int8_t& x : found) x = static_cast<int8_t>(static_cast<int>(below(2 * largest + 1)) - largest);
    return found;
  }

 private:
  uint64_t state_;
};

// What rows of activations look like.
enum class Rows { kUsual, kZeros, kLarge, kHuge, kTiny, kBroken };
constexpr size_t kKindsOfRows = 6;

// Usual rows have a few large columns, as those of trained models. The other kinds change some of the rows.
inline std::vector<float> random_rows(Random& random, size_t count, size_t width, Rows kind) {
  std::vector<float> rows = random.normals(count * width, 1.0f);
  const size_t large = random.below(width);
  for (size_t r = 0; r < count; ++r) rows[r * width + large] *= 8.0f;
  if (kind == Rows::kUsual) return rows;
  for (size_t r = 0; r < count; ++r) {
    if (!random.one_in(3)) continue;
    float* row = rows.data() + r * width;
    constexpr float kScales[] = {1.0f, 0.0f, 0x1p35f, 0x1p100f, 0x1p-110f, 1.0f};
    for (size_t i = 0; i < width; ++i) row[i] *= kScales[static_cast<int>(kind)];
    if (kind == Rows::kBroken) row[random.below(width)] = random.one_in(2) ? __builtin_nanf("") : -__builtin_huge_valf();
  }
  return rows;
}

struct LinearData {
  std::vector<int8_t> weight;
  std::vector<float> scales, bias;
  float static_scale = 0.0625f;
  bool is_static = false, has_bias = true;
  size_t depth, columns;

  // Products are about normal, for rows whose largest value is about 8.
  LinearData(Random& random, size_t depth, size_t columns, int largest)
      : weight(random.codes(depth * columns, largest)),
        scales(random.factors(columns, 1.6f / static_cast<float>(largest) / __builtin_sqrtf(static_cast<float>(depth)))),
        bias(random.normals(columns, 0.25f)),
        is_static(random.one_in(3)),
        depth(depth),
        columns(columns) {
    if (is_static)
      for (float& scale : scales) scale *= static_scale;
  }

  Linear linear() const {
    return {weight.data(), scales.data(), has_bias ? bias.data() : nullptr, is_static ? &static_scale : nullptr,
            depth,         columns,     {}};
  }
};

struct NormalisationData {
  std::vector<float> gain, bias, residual_scale;

  NormalisationData(Random& random, size_t width, bool scaled)
      : gain(random.normals(width, 0.25f, 1.0f)), bias(random.normals(width, 0.1f)) {
    if (scaled) residual_scale = random.factors(width, 2.0f);
  }
  Normalisation normalisation() const {
    return {gain.data(), bias.data(), residual_scale.empty() ? nullptr : residual_scale.data()};
  }
};

// The shape of an encoder layer, and how it is run.
struct LayerShape {
  size_t batch, tokens, width, heads, inner;
  bool first_token;
  Activation activation;
  Rows rows;
  int largest;  // code of a weight
  bool padded = false;  // texts of random lengths
};

struct LayerData {
  LayerShape shape;
  std::vector<float> hidden;
  std::vector<size_t> starts;
  LinearData qkv, query, out, up, down;
  NormalisationData after_attention, after_feed_forward;

  LayerData(Random& random, const LayerShape& s)
      : shape(s),
        hidden(random_rows(random, s.batch * s.tokens, s.width, s.rows)),
        starts(s.batch + 1),
        qkv(random, s.width, (s.first_token ? 2 : 3) * s.width, s.largest),
        query(random, s.width, s.width, s.largest),
        out(random, s.width, s.width, s.largest),
        up(random, s.width, s.inner, s.largest),
        down(random, s.inner, s.width, s.largest),
        after_attention(random, s.width, random.one_in(2)),
        after_feed_forward(random, s.width, random.one_in(2)) {
    out.is_static = down.is_static = false;
    for (size_t text = 0; text < s.batch; ++text)
      starts[text + 1] = starts[text] + (s.padded ? 1 + random.below(s.tokens) : s.tokens);
  }

  size_t outputs() const { return shape.batch * (shape.first_token ? 1 : shape.tokens) * shape.width; }

  EncoderLayer layer(float* output) const {
    EncoderLayer layer;
    layer.hidden = hidden.data();
    layer.output = output;
    layer.starts = starts.data();
    layer.batch = shape.batch;
    layer.tokens = shape.tokens;
    layer.width = shape.width;
    layer.heads = shape.heads;
    layer.first_token = shape.first_token;
    layer.qkv = qkv.linear();
    if (shape.first_token) layer.query = query.linear();
    layer.out = out.linear();
    layer.up = up.linear();
    layer.down = down.linear();
    layer.after_attention = after_attention.normalisation();
    layer.after_feed_forward = after_feed_forward.normalisation();
    layer.epsilon = 1e-12f;
    layer.activation = shape.activation;
    const bool relu = shape.activation == Activation::kRelu;
    layer.zero_point = relu ? 128 : 10;
    layer.step = relu ? 1.0f / 127.0f : 1.0f / 245.0f;
    layer.least = relu ? 0.0f : 0.017f;
    return layer;
  }
};

}  // namespace embedge
