// Products of signed int8 codes on ARM, in three kinds. Each takes panels of its own layout, [depth / kGroup][64][kGroup]:
// the instruction that multiplies reads kGroup values of each column at once.
//
// smmla (i8mm) multiplies 2 rows and 2 columns of 8 values, sdot (dotprod) one value of 4 bytes and 4 columns.
// ARMv8.0 has neither: it adds two products in 16 bits, which fit if no weight is -128, and pairs of those to 32 bits.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace embedge {
namespace {

#if defined(__ARM_FEATURE_MATMUL_INT8)

struct ProductsNeon {
  static constexpr size_t kGroup = 8;

  // Writes 64 columns of a weight as a panel. Adds up each column.
  static void pack(const int8_t* weight, size_t columns, size_t depth, int8_t* panel, int32_t* sums) {
    for (size_t half = 0; half < 64; half += 32) {
      int32x4_t total[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) total[i] = vdupq_n_s32(0);
      for (size_t k = 0; k < depth; k += 8) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j)
          pack_columns(weight + k * columns + half + 16 * j, columns, panel + k * 64 + 8 * half + 128 * j,
                       total + 8 * j);
      }
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) vst1q_s32(sums + half + 4 * i, vpaddq_s32(total[2 * i], total[2 * i + 1]));
    }
  }

  // Calls finish(row, column, products) with the products of R rows and the columns `column` to `column + 3`.
  template <int R, class Finish>
  static void multiply(const int8_t* rows, size_t stride, const int8_t* panel, size_t depth, Finish finish) {
    constexpr int kPairs = (R + 1) / 2;
    for (size_t column = 0; column < 64; column += 16) {
      int32x4_t sum[kPairs][8];  // row 0 and two columns, row 1 and two columns
#pragma GCC unroll 3
      for (int p = 0; p < kPairs; ++p)
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) sum[p][j] = vdupq_n_s32(0);
      const int8_t* from = panel + 8 * column;
      for (size_t k = 0; k < depth; k += 8, from += 512) {
        int8x16_t a[kPairs];
#pragma GCC unroll 3
        for (int p = 0; p < kPairs; ++p) {
          const int8_t* row = rows + 2 * p * stride + k;
          a[p] = vcombine_s8(vld1_s8(row), vld1_s8(2 * p + 1 < R ? row + stride : row));
        }
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) {
          const int8x16_t b = vld1q_s8(from + 16 * j);
#pragma GCC unroll 3
          for (int p = 0; p < kPairs; ++p) sum[p][j] = vmmlaq_s32(sum[p][j], a[p], b);
        }
      }
#pragma GCC unroll 3
      for (int p = 0; p < kPairs; ++p)
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          const int64x2_t left = vreinterpretq_s64_s32(sum[p][2 * j]), right = vreinterpretq_s64_s32(sum[p][2 * j + 1]);
          finish(2 * p, column + 4 * j, vreinterpretq_s32_s64(vtrn1q_s64(left, right)));
          if (2 * p + 1 < R) finish(2 * p + 1, column + 4 * j, vreinterpretq_s32_s64(vtrn2q_s64(left, right)));
        }
    }
  }

 private:
  // 16 columns of 8 rows: [16][8].
  [[gnu::always_inline]] static void pack_columns(const int8_t* from, size_t columns, int8_t* to, int32x4_t* total) {
    int16x8_t pair[4][2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const int8x16_t even = vld1q_s8(from + 2 * i * columns), odd = vld1q_s8(from + (2 * i + 1) * columns);
      pair[i][0] = vreinterpretq_s16_s8(vzip1q_s8(even, odd));
      pair[i][1] = vreinterpretq_s16_s8(vzip2q_s8(even, odd));
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const int32x4_t top[2] = {vreinterpretq_s32_s16(vzip1q_s16(pair[0][i], pair[1][i])),
                                vreinterpretq_s32_s16(vzip2q_s16(pair[0][i], pair[1][i]))};
      const int32x4_t low[2] = {vreinterpretq_s32_s16(vzip1q_s16(pair[2][i], pair[3][i])),
                                vreinterpretq_s32_s16(vzip2q_s16(pair[2][i], pair[3][i]))};
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const int place = 4 * i + 2 * j;
        keep(vreinterpretq_s8_s32(vzip1q_s32(top[j], low[j])), to + 16 * place, total + place);
        keep(vreinterpretq_s8_s32(vzip2q_s32(top[j], low[j])), to + 16 * place + 16, total + place + 1);
      }
    }
  }

  [[gnu::always_inline]] static void keep(int8x16_t codes, int8_t* to, int32x4_t* total) {
    vst1q_s8(to, codes);
    *total = vdotq_s32(*total, codes, vdupq_n_s8(1));
  }
};

#else

struct ProductsNeon {
  static constexpr size_t kGroup = 4;

  // Writes 64 columns of a weight as a panel. Adds up each column.
  static void pack(const int8_t* weight, size_t columns, size_t depth, int8_t* panel, int32_t* sums) {
    int32x4_t total[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) total[i] = vdupq_n_s32(0);
    for (size_t k = 0; k < depth; k += 4, weight += 4 * columns, panel += 256) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const int8_t* from = weight + 16 * i;
        const int8x16_t a = vld1q_s8(from), b = vld1q_s8(from + columns), c = vld1q_s8(from + 2 * columns),
                        d = vld1q_s8(from + 3 * columns);
        const int16x8_t ab[2] = {vreinterpretq_s16_s8(vzip1q_s8(a, b)), vreinterpretq_s16_s8(vzip2q_s8(a, b))};
        const int16x8_t cd[2] = {vreinterpretq_s16_s8(vzip1q_s8(c, d)), vreinterpretq_s16_s8(vzip2q_s8(c, d))};
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j) {
          const int place = 4 * i + 2 * j;
          keep(vreinterpretq_s8_s16(vzip1q_s16(ab[j], cd[j])), panel + 16 * place, total + place);
          keep(vreinterpretq_s8_s16(vzip2q_s16(ab[j], cd[j])), panel + 16 * place + 16, total + place + 1);
        }
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) vst1q_s32(sums + 4 * i, total[i]);
  }

  // Calls finish(row, column, products) with the products of R rows and the columns `column` to `column + 3`.
  template <int R, class Finish>
  static void multiply(const int8_t* rows, size_t stride, const int8_t* panel, size_t depth, Finish finish) {
    for (size_t column = 0; column < 64; column += 16) {
#if defined(__ARM_FEATURE_DOTPROD)
      multiply_columns<R, 0>(rows, stride, panel + 4 * column, depth, column, finish);
#else
      if constexpr (R >= 2) multiply_columns<2, 0>(rows, stride, panel + 4 * column, depth, column, finish);
      if constexpr (R >= 4) multiply_columns<2, 2>(rows, stride, panel + 4 * column, depth, column, finish);
      if constexpr (R >= 6) multiply_columns<2, 4>(rows, stride, panel + 4 * column, depth, column, finish);
      if constexpr (R % 2 == 1) multiply_columns<1, R - 1>(rows, stride, panel + 4 * column, depth, column, finish);
#endif
    }
  }

 private:
#if defined(__ARM_FEATURE_DOTPROD)

  [[gnu::always_inline]] static void keep(int8x16_t codes, int8_t* to, int32x4_t* total) {
    vst1q_s8(to, codes);
    *total = vdotq_s32(*total, codes, vdupq_n_s8(1));
  }

  // R rows from row kFirst on, and 16 columns.
  template <int R, int kFirst, class Finish>
  [[gnu::always_inline]] static void multiply_columns(const int8_t* rows, size_t stride, const int8_t* panel,
                                                      size_t depth, size_t column, Finish finish) {
    int32x4_t sum[R][4];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sum[r][j] = vdupq_n_s32(0);
    for (size_t k = 0; k < depth; k += 16, panel += 1024) {
      int8x16_t a[R];
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) a[r] = vld1q_s8(rows + (kFirst + r) * stride + k);
      add_products<0>(sum, a, panel);
      add_products<1>(sum, a, panel + 256);
      add_products<2>(sum, a, panel + 512);
      add_products<3>(sum, a, panel + 768);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) finish(kFirst + r, column + 4 * j, sum[r][j]);
  }

  template <int kLane, int R>
  [[gnu::always_inline]] static void add_products(int32x4_t (&sum)[R][4], const int8x16_t (&a)[R],
                                                  const int8_t* panel) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const int8x16_t b = vld1q_s8(panel + 16 * j);
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) sum[r][j] = vdotq_laneq_s32(sum[r][j], b, a[r], kLane);
    }
  }

#else

  [[gnu::always_inline]] static void keep(int8x16_t codes, int8_t* to, int32x4_t* total) {
    vst1q_s8(to, codes);
    *total = vpadalq_s16(*total, vpaddlq_s8(codes));
  }

  // Four bytes, four times.
  static int8x16_t broadcast(const int8_t* from) {
    int32_t value;
    __builtin_memcpy(&value, from, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(value));
  }

  // R rows from row kFirst on, and 16 columns.
  template <int R, int kFirst, class Finish>
  [[gnu::always_inline]] static void multiply_columns(const int8_t* rows, size_t stride, const int8_t* panel,
                                                      size_t depth, size_t column, Finish finish) {
    int32x4_t sum[R][8];  // two columns each: the first two and the last two values of each group of four
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) sum[r][j] = vdupq_n_s32(0);
    for (size_t k = 0; k < depth; k += 8, panel += 512) {
      int8x16_t a[R][2];
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) {
        a[r][0] = broadcast(rows + (kFirst + r) * stride + k);
        a[r][1] = broadcast(rows + (kFirst + r) * stride + k + 4);
      }
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const int8x16_t b0 = vld1q_s8(panel + 16 * j), b1 = vld1q_s8(panel + 256 + 16 * j);
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) {
          const int16x8_t low = vmull_s8(vget_low_s8(b0), vget_low_s8(a[r][0]));
          const int16x8_t high = vmull_high_s8(b0, a[r][0]);
          sum[r][2 * j] = vpadalq_s16(sum[r][2 * j], vmlal_s8(low, vget_low_s8(b1), vget_low_s8(a[r][1])));
          sum[r][2 * j + 1] = vpadalq_s16(sum[r][2 * j + 1], vmlal_high_s8(high, b1, a[r][1]));
        }
      }
    }
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) finish(kFirst + r, column + 4 * j, vpaddq_s32(sum[r][2 * j], sum[r][2 * j + 1]));
  }

#endif
};

#endif

}  // namespace
}  // namespace embedge
