// Plain C++: what the other instruction sets must equal, bit for bit. Slow.
#pragma once

#include <cstddef>
#include <cstdint>

namespace embedge {
namespace {

struct VectorScalar {
  struct F {
    float at[16];
  };
  struct I {
    int32_t at[16];
  };
  static constexpr size_t kRows = 4;
  static constexpr size_t kGroup = 4;
  static constexpr int32_t kCodeShift = 0;
  static constexpr int32_t kQueryOffset = 0;

  static F load(const float* from) {
    F x;
    __builtin_memcpy(x.at, from, sizeof x.at);
    return x;
  }
  static void store(float* to, F x) { __builtin_memcpy(to, x.at, sizeof x.at); }
  static F set(float x) {
    return each([x](int) { return x; });
  }
  static F add(F x, F y) {
    return each([&](int i) { return x.at[i] + y.at[i]; });
  }
  static F sub(F x, F y) {
    return each([&](int i) { return x.at[i] - y.at[i]; });
  }
  static F mul(F x, F y) {
    return each([&](int i) { return x.at[i] * y.at[i]; });
  }
  static F div(F x, F y) {
    return each([&](int i) { return x.at[i] / y.at[i]; });
  }
  static F fma(F x, F y, F z) {
    return each([&](int i) { return __builtin_fmaf(x.at[i], y.at[i], z.at[i]); });
  }
  static F max(F x, F y) {
    return each([&](int i) { return x.at[i] > y.at[i] ? x.at[i] : y.at[i]; });
  }
  static F min(F x, F y) {
    return each([&](int i) { return x.at[i] < y.at[i] ? x.at[i] : y.at[i]; });
  }
  static F abs(F x) {
    return each([&](int i) { return __builtin_fabsf(x.at[i]); });
  }
  static F with_sign_of(F x, F y) {
    return each([&](int i) { return __builtin_copysignf(x.at[i], y.at[i]); });
  }

  static I load(const int32_t* from) {
    I x;
    __builtin_memcpy(x.at, from, sizeof x.at);
    return x;
  }
  static I set(int32_t x) {
    return each_int([x](int) { return x; });
  }
  static I add(I x, I y) {
    return each_int([&](int i) { return x.at[i] + y.at[i]; });
  }
  static I sub(I x, I y) {
    return each_int([&](int i) { return x.at[i] - y.at[i]; });
  }
  static I both(I x, I y) {
    return each_int([&](int i) { return x.at[i] & y.at[i]; });
  }
  static F to_float(I x) {
    return each([&](int i) { return static_cast<float>(x.at[i]); });
  }
  // To the nearest integer, halves to even. What is not a number or does not fit becomes 0.
  static I round(F x) {
    return each_int([&](int i) {
      const float nearest = __builtin_nearbyintf(x.at[i]);
      return __builtin_fabsf(nearest) < 2147483648.0f ? static_cast<int32_t>(nearest) : 0;
    });
  }
  using Whole = I;
  static Whole whole(F x) { return round(x); }
  static F fraction(F x, Whole whole) { return sub(x, to_float(whole)); }
  static F times_power_of_two(F x, Whole n) {
    return each([&](int i) {
      uint32_t bits;
      __builtin_memcpy(&bits, &x.at[i], 4);
      bits += static_cast<uint32_t>(n.at[i]) << 23;
      float y;
      __builtin_memcpy(&y, &bits, 4);
      return y;
    });
  }
  static F widen(const int8_t* from) {
    return each([&](int i) { return static_cast<float>(from[i]); });
  }
  static void store_bytes(uint8_t* to, I x) {
    for (int i = 0; i < 16; ++i) to[i] = static_cast<uint8_t>(x.at[i]);
  }
  static void store_int16(int16_t* to, I x) {
    for (int i = 0; i < 16; ++i) to[i] = static_cast<int16_t>(x.at[i]);
  }

  // The lower half of the lanes plus the upper half, and again: the order in which all instruction sets add up lanes.
  static float sum(F x) {
    for (int half = 8; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) x.at[i] += x.at[i + half];
    return x.at[0];
  }
  static float largest(F x) {
    for (int half = 8; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) x.at[i] = x.at[i] > x.at[i + half] ? x.at[i] : x.at[i + half];
    return x.at[0];
  }
  static int32_t sum(I x) {
    int32_t total = 0;
    for (int i = 0; i < 16; ++i) total += x.at[i];
    return total;
  }

  static void begin() {}
  static void end() {}

  static void pack(const int8_t* weight, size_t columns, size_t depth, int8_t* panel, int32_t* sums) {
    for (size_t column = 0; column < 64; ++column) {
      sums[column] = 0;
      for (size_t k = 0; k < depth; ++k) {
        const int8_t code = weight[k * columns + column];
        panel[k / 4 * 256 + 4 * column + k % 4] = code;
        sums[column] += code;
      }
    }
  }

  static void products(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                       int32_t* out) {
    multiply(rows, stride, count, panel, depth, out);
  }

  static void scores(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                     const int32_t* corrections, const float* scales, float* out, size_t out_stride) {
    int32_t products[kRows * 64];
    multiply(reinterpret_cast<const int8_t*>(rows), stride, count, panel, depth, products);
    for (size_t r = 0; r < count; ++r)
      for (size_t i = 0; i < 64; ++i)
        out[r * out_stride + i] = static_cast<float>(products[64 * r + i] - corrections[i]) * scales[i];
  }

  static void weighted_sums(const int16_t* weights, size_t stride, size_t count, const int16_t* values, size_t pairs,
                            size_t width, float* out) {
    for (size_t row = 0; row < count; ++row)
      for (size_t column = 0; column < width; ++column) {
        float total = 0.0f;
        for (size_t first = 0; first < pairs; first += 32) {
          int32_t sum = 0;
          for (size_t pair = first; pair < pairs && pair < first + 32; ++pair)
            for (size_t i = 0; i < 2; ++i)
              sum += weights[row * stride + 2 * pair + i] * values[2 * (width * pair + column) + i];
          total += static_cast<float>(sum);
        }
        out[row * width + column] = total;
      }
  }

 private:
  template <class Function>
  static F each(Function function) {
    F y;
    for (int i = 0; i < 16; ++i) y.at[i] = function(i);
    return y;
  }
  template <class Function>
  static I each_int(Function function) {
    I y;
    for (int i = 0; i < 16; ++i) y.at[i] = function(i);
    return y;
  }

  template <class Code>
  static void multiply(const Code* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                       int32_t* out) {
    for (size_t r = 0; r < count; ++r)
      for (size_t column = 0; column < 64; ++column) {
        int32_t sum = 0;
        for (size_t k = 0; k < depth; ++k)
          sum += rows[r * stride + k] * panel[k / 4 * 256 + 4 * column + k % 4];
        out[64 * r + column] = sum;
      }
  }
};

}  // namespace
}  // namespace embedge
