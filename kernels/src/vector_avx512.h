// AVX-512 with VNNI: one register holds the 16 lanes.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace embedge {
namespace {

struct VectorAvx512 {
  using F = __m512;
  using I = __m512i;
  static constexpr size_t kRows = 6;  // 6 x 4 accumulators, 4 columns of the panel and 1 row fill 29 of 32 registers
  static constexpr size_t kGroup = 4;
  static constexpr int32_t kCodeShift = 0;     // codes are unsigned
  static constexpr int32_t kQueryOffset = 128;  // added to the codes of Q, which makes them unsigned, too

  static F load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, F x) { _mm512_storeu_ps(to, x); }
  static F set(float x) { return _mm512_set1_ps(x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F abs(F a) { return _mm512_abs_ps(a); }
  static F with_sign_of(F a, F b) { return _mm512_or_ps(a, _mm512_and_ps(b, _mm512_set1_ps(-0.0f))); }

  static I load(const int32_t* from) { return _mm512_loadu_si512(from); }
  static I set(int32_t x) { return _mm512_set1_epi32(x); }
  static I add(I a, I b) { return _mm512_add_epi32(a, b); }
  static I sub(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I both(I a, I b) { return _mm512_and_si512(a, b); }
  static F to_float(I a) { return _mm512_cvtepi32_ps(a); }
  static I round(F a) { return _mm512_cvtps_epi32(a); }
  // x is a whole number and a fraction within +-1/2.
  using Whole = F;
  static Whole whole(F x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F fraction(F x, Whole whole) { return _mm512_sub_ps(x, whole); }
  static F times_power_of_two(F x, Whole n) { return _mm512_scalef_ps(x, n); }
  static F widen(const int8_t* from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  }
  static void store_bytes(uint8_t* to, I a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(a));
  }
  static void store_int16(int16_t* to, I a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(a));
  }

  static float sum(F a) {
    return reduce(
        a, [](__m128 x, __m128 y) { return _mm_add_ps(x, y); }, [](__m256 x, __m256 y) { return _mm256_add_ps(x, y); });
  }
  static float largest(F a) {
    return reduce(
        a, [](__m128 x, __m128 y) { return _mm_max_ps(x, y); }, [](__m256 x, __m256 y) { return _mm256_max_ps(x, y); });
  }
  static int32_t sum(I a) {  // GCC's _mm512_reduce_add_epi32 adds signed lanes, whose overflow is undefined
    const __m256i b = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    __m128i c = _mm_add_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
    c = _mm_add_epi32(c, _mm_shuffle_epi32(c, 0x4e));
    c = _mm_add_epi32(c, _mm_shuffle_epi32(c, 0xb1));
    return _mm_cvtsi128_si32(c);
  }

  // Around the products of a linear layer; AMX sets up its tiles.
  static void begin() {}
  static void end() {}

  // Writes 64 columns of a weight as a panel: [depth / 4][64][4]. Adds up each column.
  static void pack(const int8_t* weight, size_t columns, size_t depth, int8_t* panel, int32_t* sums) {
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i total[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (size_t k = 0; k < depth; k += 4, weight += 4 * columns, panel += 256) {
      __m512i q[4];
      interleave(weight, columns, q);
      turn_lanes(q);
      for (int j = 0; j < 4; ++j) {
        _mm512_store_si512(panel + 64 * j, q[j]);
        total[j] = _mm512_dpbusd_epi32(total[j], ones, q[j]);
      }
    }
    for (int j = 0; j < 4; ++j) _mm512_storeu_si512(sums + 16 * j, total[j]);
  }

  // Products of up to kRows rows of unsigned codes and a panel: out[row][64].
  static void products(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                       int32_t* out) {
    const auto finish = [=](int row, int j, I product) { _mm512_store_si512(out + 64 * row + 16 * j, product); };
    multiply_rows(rows, stride, count, panel, depth, finish);
  }

  // The scores of up to kRows queries and 64 keys: (product - correction) * scale of the key, out[row][out_stride].
  static void scores(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                     const int32_t* corrections, const float* scales, float* out, size_t out_stride) {
    const auto finish = [=](int row, int j, I product) {
      const F x = to_float(sub(product, load(corrections + 16 * j)));
      store(out + row * out_stride + 16 * j, mul(x, load(scales + 16 * j)));
    };
    multiply_rows(rows, stride, count, panel, depth, finish);
  }

  // Sums over 64 keys of weights (int16) times values (int16, [keys / 2][width][2]), added up in float32, 64 keys at a
  // time: out[row][width].
  static void weighted_sums(const int16_t* weights, size_t stride, size_t count, const int16_t* values, size_t pairs,
                            size_t width, float* out) {
    for (size_t column = 0; column < width; column += 32) {
      size_t row = 0;
      for (; row + 6 <= count; row += 6)
        weigh<6>(weights + row * stride, stride, values + 2 * column, pairs, width, out + row * width + column);
      for (; row + 2 <= count; row += 2)
        weigh<2>(weights + row * stride, stride, values + 2 * column, pairs, width, out + row * width + column);
      if (row < count)
        weigh<1>(weights + row * stride, stride, values + 2 * column, pairs, width, out + row * width + column);
    }
  }

 private:
  template <class Reduce4, class Reduce8>
  static float reduce(F a, Reduce4 four, Reduce8 eight) {
    const __m256 half = eight(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 x = four(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    x = four(x, _mm_movehl_ps(x, x));
    x = four(x, _mm_shuffle_ps(x, x, 1));
    return _mm_cvtss_f32(x);
  }

  static __m512i broadcast(const void* from) {
    int32_t value;
    __builtin_memcpy(&value, from, 4);
    return _mm512_set1_epi32(value);
  }

  // Four rows of 64 columns, with the four values of a column next to each other.
  // Lane L of q[j] has the columns 16 L + 4 j to 16 L + 4 j + 3.
  static void interleave(const int8_t* weight, size_t columns, __m512i* q) {
    const __m512i a = _mm512_loadu_si512(weight), b = _mm512_loadu_si512(weight + columns),
                  c = _mm512_loadu_si512(weight + 2 * columns), d = _mm512_loadu_si512(weight + 3 * columns);
    const __m512i ab0 = _mm512_unpacklo_epi8(a, b), ab1 = _mm512_unpackhi_epi8(a, b);
    const __m512i cd0 = _mm512_unpacklo_epi8(c, d), cd1 = _mm512_unpackhi_epi8(c, d);
    q[0] = _mm512_unpacklo_epi16(ab0, cd0);
    q[1] = _mm512_unpackhi_epi16(ab0, cd0);
    q[2] = _mm512_unpacklo_epi16(ab1, cd1);
    q[3] = _mm512_unpackhi_epi16(ab1, cd1);
  }

  // Puts the columns of `interleave` in order: q[j] gets the columns 16 j to 16 j + 15.
  static void turn_lanes(__m512i* q) {
    const __m512i a = _mm512_shuffle_i32x4(q[0], q[1], 0x44), b = _mm512_shuffle_i32x4(q[2], q[3], 0x44);
    const __m512i c = _mm512_shuffle_i32x4(q[0], q[1], 0xee), d = _mm512_shuffle_i32x4(q[2], q[3], 0xee);
    q[0] = _mm512_shuffle_i32x4(a, b, 0x88);
    q[1] = _mm512_shuffle_i32x4(a, b, 0xdd);
    q[2] = _mm512_shuffle_i32x4(c, d, 0x88);
    q[3] = _mm512_shuffle_i32x4(c, d, 0xdd);
  }

  template <class Finish>
  static void multiply_rows(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                            Finish finish) {
    switch (count) {
      case 6: return multiply<6>(rows, stride, panel, depth, finish);
      case 5: return multiply<5>(rows, stride, panel, depth, finish);
      case 4: return multiply<4>(rows, stride, panel, depth, finish);
      case 3: return multiply<3>(rows, stride, panel, depth, finish);
      case 2: return multiply<2>(rows, stride, panel, depth, finish);
      default: return multiply<1>(rows, stride, panel, depth, finish);
    }
  }

  template <int R, class Finish>
  static void multiply(const uint8_t* rows, size_t stride, const int8_t* panel, size_t depth, Finish finish) {
    __m512i sum[R][4];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sum[r][j] = _mm512_setzero_si512();
    for (size_t k = 0; k < depth; k += 4, panel += 256) {
      const __m512i b0 = _mm512_load_si512(panel), b1 = _mm512_load_si512(panel + 64),
                    b2 = _mm512_load_si512(panel + 128), b3 = _mm512_load_si512(panel + 192);
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const __m512i a = broadcast(rows + r * stride + k);
        sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], a, b0);
        sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], a, b1);
        sum[r][2] = _mm512_dpbusd_epi32(sum[r][2], a, b2);
        sum[r][3] = _mm512_dpbusd_epi32(sum[r][3], a, b3);
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) finish(r, j, sum[r][j]);
  }

  template <int R>
  static void weigh(const int16_t* weights, size_t stride, const int16_t* values, size_t pairs, size_t width,
                    float* out) {
    F total[R][2];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) total[r][0] = total[r][1] = _mm512_setzero_ps();
    for (size_t first = 0; first < pairs; first += 32) {
      const size_t last = first + 32 < pairs ? first + 32 : pairs;
      __m512i sum[R][2];
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = _mm512_setzero_si512();
      for (size_t pair = first; pair < last; ++pair) {
        const __m512i v0 = _mm512_loadu_si512(values + 2 * width * pair);
        const __m512i v1 = _mm512_loadu_si512(values + 2 * width * pair + 32);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          const __m512i w = broadcast(weights + r * stride + 2 * pair);
          sum[r][0] = _mm512_dpwssd_epi32(sum[r][0], w, v0);
          sum[r][1] = _mm512_dpwssd_epi32(sum[r][1], w, v1);
        }
      }
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        total[r][0] = _mm512_add_ps(total[r][0], _mm512_cvtepi32_ps(sum[r][0]));
        total[r][1] = _mm512_add_ps(total[r][1], _mm512_cvtepi32_ps(sum[r][1]));
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      store(out + r * width, total[r][0]);
      store(out + r * width + 16, total[r][1]);
    }
  }
};

}  // namespace
}  // namespace embedge
