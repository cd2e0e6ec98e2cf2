// AVX2, with VNNI (AVX-VNNI) or without it: two registers hold the 16 lanes.
//
// Without VNNI, vpmaddubsw adds two products in 16 bits and saturates. The exporter bounds pairs of weights so that they
// never do (see embedge_export.int8.gptq). Q and K have no such bound: there the sign of Q goes to K, and two products of
// magnitudes up to 128 and 127 fit.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace embedge {
namespace {

struct VectorAvx2 {
  struct F {
    __m256 a, b;
  };
  struct I {
    __m256i a, b;
  };
#ifdef __AVXVNNI__
  static constexpr size_t kRows = 6;  // 6 x 2 accumulators, 2 columns of the panel and 1 row fill 15 of 16 registers
#else
  static constexpr size_t kRows = 4;
#endif
  static constexpr size_t kGroup = 4;
  static constexpr int32_t kCodeShift = 0;
  static constexpr int32_t kQueryOffset = 0;

  static F load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  static void store(float* to, F x) {
    _mm256_storeu_ps(to, x.a);
    _mm256_storeu_ps(to + 8, x.b);
  }
  static F set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  static F sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
  static F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  static F div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
  static F fma(F x, F y, F z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
  static F max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
  static F min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
  static F abs(F x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
  }
  static F with_sign_of(F x, F y) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_or_ps(x.a, _mm256_and_ps(y.a, sign)), _mm256_or_ps(x.b, _mm256_and_ps(y.b, sign))};
  }

  static I load(const int32_t* from) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 8))};
  }
  static I set(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  static I add(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
  static I sub(I x, I y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
  static I both(I x, I y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
  static F to_float(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
  static I round(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
  using Whole = I;
  static Whole whole(F x) { return round(x); }
  static F fraction(F x, Whole whole) { return sub(x, to_float(whole)); }
  static F times_power_of_two(F x, Whole n) {
    return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x.a), _mm256_slli_epi32(n.a, 23))),
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x.b), _mm256_slli_epi32(n.b, 23)))};
  }
  static F widen(const int8_t* from) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)))),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + 8))))};
  }
  // The low byte of each lane.
  static void store_bytes(uint8_t* to, I x) {
    const __m256i low = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                         -1, -1, -1, -1, 0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i a = _mm256_shuffle_epi8(x.a, low), b = _mm256_shuffle_epi8(x.b, low);
    const __m128i first = _mm_or_si128(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    const __m128i last = _mm_or_si128(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi64(first, last));
  }
  static void store_int16(int16_t* to, I x) {
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), packed);
  }

  static float sum(F x) {
    const __m256 half = _mm256_add_ps(x.a, x.b);
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ps(y, _mm_shuffle_ps(y, y, 1)));
  }
  static float largest(F x) {
    const __m256 half = _mm256_max_ps(x.a, x.b);
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ps(y, _mm_shuffle_ps(y, y, 1)));
  }
  static int32_t sum(I x) {
    const __m256i half = _mm256_add_epi32(x.a, x.b);
    __m128i y = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    y = _mm_add_epi32(y, _mm_shuffle_epi32(y, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(y, _mm_shuffle_epi32(y, 0xb1)));
  }

  static void begin() {}
  static void end() {}

  // Writes 64 columns of a weight as a panel: [depth / 4][64][4]. Adds up each column.
  static void pack(const int8_t* weight, size_t columns, size_t depth, int8_t* panel, int32_t* sums) {
    for (size_t half = 0; half < kPanelColumns; half += 32) {
      __m256i total[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                          _mm256_setzero_si256()};
      const int8_t* from = weight + half;
      int8_t* to = panel + 4 * half;
      for (size_t k = 0; k < depth; k += 4, from += 4 * columns, to += 256) {
        const __m256i a = load_bytes(from), b = load_bytes(from + columns), c = load_bytes(from + 2 * columns),
                      d = load_bytes(from + 3 * columns);
        const __m256i ab0 = _mm256_unpacklo_epi8(a, b), ab1 = _mm256_unpackhi_epi8(a, b);
        const __m256i cd0 = _mm256_unpacklo_epi8(c, d), cd1 = _mm256_unpackhi_epi8(c, d);
        // Half L of q_j has the columns 16 L + 4 j to 16 L + 4 j + 3.
        const __m256i q0 = _mm256_unpacklo_epi16(ab0, cd0), q1 = _mm256_unpackhi_epi16(ab0, cd0);
        const __m256i q2 = _mm256_unpacklo_epi16(ab1, cd1), q3 = _mm256_unpackhi_epi16(ab1, cd1);
        const __m256i r[4] = {_mm256_permute2x128_si256(q0, q1, 0x20), _mm256_permute2x128_si256(q2, q3, 0x20),
                              _mm256_permute2x128_si256(q0, q1, 0x31), _mm256_permute2x128_si256(q2, q3, 0x31)};
        for (int j = 0; j < 4; ++j) {
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32 * j), r[j]);
          total[j] = dot(total[j], _mm256_set1_epi8(1), r[j]);
        }
      }
      for (int j = 0; j < 4; ++j)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + half + 8 * j), total[j]);
    }
  }

  // Products of up to kRows rows of unsigned codes and a panel: out[row][64].
  static void products(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                       int32_t* out) {
    multiply_any<false>(rows, stride, count, panel, depth, out);
  }

  // The scores of up to kRows queries and 64 keys: (product - correction) * scale of the key, out[row][out_stride].
  static void scores(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                     const int32_t* corrections, const float* scales, float* out, size_t out_stride) {
    alignas(32) int32_t products[kRows * kPanelColumns];
    multiply_any<true>(rows, stride, count, panel, depth, products);
    for (size_t r = 0; r < count; ++r)
      for (size_t i = 0; i < kPanelColumns; i += 16) {
        const F x = to_float(sub(load(products + kPanelColumns * r + i), load(corrections + i)));
        store(out + r * out_stride + i, mul(x, load(scales + i)));
      }
  }

  // Sums over keys of weights (int16) times values (int16, [keys / 2][width][2]), added up in float32, 64 keys at a
  // time: out[row][width].
  static void weighted_sums(const int16_t* weights, size_t stride, size_t count, const int16_t* values, size_t pairs,
                            size_t width, float* out) {
    for (size_t row = 0; row < count; row += 2)
      for (size_t column = 0; column < width; column += 16) {
        const int16_t* of_row = weights + row * stride;
        const int16_t* of_column = values + 2 * column;
        float* to = out + row * width + column;
        if (row + 2 <= count)
          weigh<2>(of_row, stride, of_column, pairs, width, to);
        else
          weigh<1>(of_row, stride, of_column, pairs, width, to);
      }
  }

 private:
  static constexpr size_t kPanelColumns = 64;

  static __m256i load_bytes(const int8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }

  static __m256i broadcast(const void* from) {
    int32_t value;
    __builtin_memcpy(&value, from, 4);
    return _mm256_set1_epi32(value);
  }

  // sum + products of four unsigned and four signed bytes in each lane.
  static __m256i dot(__m256i sum, __m256i a, __m256i b) {
#ifdef __AVXVNNI__
    return _mm256_dpbusd_avx_epi32(sum, a, b);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
#endif
  }

  template <bool kSigned>
  static void multiply_any(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                           int32_t* out) {
    switch (count) {
      case 6: return multiply<6, kSigned>(rows, stride, panel, depth, out);
      case 5: return multiply<5, kSigned>(rows, stride, panel, depth, out);
      case 4: return multiply<4, kSigned>(rows, stride, panel, depth, out);
      case 3: return multiply<3, kSigned>(rows, stride, panel, depth, out);
      case 2: return multiply<2, kSigned>(rows, stride, panel, depth, out);
      default: return multiply<1, kSigned>(rows, stride, panel, depth, out);
    }
  }

  template <int R, bool kSigned>
  static void multiply(const uint8_t* rows, size_t stride, const int8_t* panel, size_t depth, int32_t* out) {
    for (size_t column = 0; column < kPanelColumns; column += 16) {
      __m256i sum[R][2];
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
      const int8_t* from = panel + 4 * column;
      for (size_t k = 0; k < depth; k += 4, from += 256) {
        const __m256i b0 = load_bytes(from), b1 = load_bytes(from + 32);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          const __m256i a = broadcast(rows + r * stride + k);
          if (kSigned) {
            const __m256i magnitude = _mm256_abs_epi8(a);
            sum[r][0] = dot(sum[r][0], magnitude, _mm256_sign_epi8(b0, a));
            sum[r][1] = dot(sum[r][1], magnitude, _mm256_sign_epi8(b1, a));
          } else {
            sum[r][0] = dot(sum[r][0], a, b0);
            sum[r][1] = dot(sum[r][1], a, b1);
          }
        }
      }
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 64 * r + column), sum[r][0]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 64 * r + column + 8), sum[r][1]);
      }
    }
  }

  static __m256i dot16(__m256i sum, __m256i a, __m256i b) {
#ifdef __AVXVNNI__
    return _mm256_dpwssd_avx_epi32(sum, a, b);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
#endif
  }

  template <int R>
  static void weigh(const int16_t* weights, size_t stride, const int16_t* values, size_t pairs, size_t width,
                    float* out) {
    F total[R];
    for (int r = 0; r < R; ++r) total[r] = set(0.0f);
    for (size_t first = 0; first < pairs; first += 32) {
      const size_t last = first + 32 < pairs ? first + 32 : pairs;
      I sums[R];
      for (int r = 0; r < R; ++r) sums[r] = set(int32_t{0});
      for (size_t pair = first; pair < last; ++pair) {
        const int16_t* from = values + 2 * width * pair;
        const __m256i v0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        const __m256i v1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 16));
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) {
          const __m256i w = broadcast(weights + r * stride + 2 * pair);
          sums[r].a = dot16(sums[r].a, w, v0);
          sums[r].b = dot16(sums[r].b, w, v1);
        }
      }
      for (int r = 0; r < R; ++r) total[r] = add(total[r], to_float(sums[r]));
    }
    for (int r = 0; r < R; ++r) store(out + r * width, total[r]);
  }
};

}  // namespace
}  // namespace embedge
