// NEON: four registers hold the 16 lanes. Codes are signed (products_neon.h).
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "products_neon.h"

namespace embedge {
namespace {

struct VectorNeon {
  struct F {
    float32x4_t a, b, c, d;
  };
  struct I {
    int32x4_t a, b, c, d;
  };
  static constexpr size_t kRows = 6;  // 6 x 16 columns fill 24 of 32 registers
  static constexpr size_t kGroup = ProductsNeon::kGroup;
  static constexpr int32_t kCodeShift = 128;
  static constexpr int32_t kQueryOffset = 0;

  static F load(const float* from) {
    return {vld1q_f32(from), vld1q_f32(from + 4), vld1q_f32(from + 8), vld1q_f32(from + 12)};
  }
  static void store(float* to, F x) {
    vst1q_f32(to, x.a);
    vst1q_f32(to + 4, x.b);
    vst1q_f32(to + 8, x.c);
    vst1q_f32(to + 12, x.d);
  }
  static F set(float x) {
    const float32x4_t y = vdupq_n_f32(x);
    return {y, y, y, y};
  }
  static F add(F x, F y) {
    return each(x, y, [](auto p, auto q) { return vaddq_f32(p, q); });
  }
  static F sub(F x, F y) {
    return each(x, y, [](auto p, auto q) { return vsubq_f32(p, q); });
  }
  static F mul(F x, F y) {
    return each(x, y, [](auto p, auto q) { return vmulq_f32(p, q); });
  }
  static F div(F x, F y) {
    return each(x, y, [](auto p, auto q) { return vdivq_f32(p, q); });
  }
  static F fma(F x, F y, F z) {
    return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c), vfmaq_f32(z.d, x.d, y.d)};
  }
  // y where one of both is not a number, as on x86. fmax and fmaxnm have rules of their own.
  static F max(F x, F y) { return each(x, y, largest4); }
  static F min(F x, F y) {
    return each(x, y, [](auto p, auto q) { return vbslq_f32(vcltq_f32(p, q), p, q); });
  }
  static F abs(F x) { return {vabsq_f32(x.a), vabsq_f32(x.b), vabsq_f32(x.c), vabsq_f32(x.d)}; }
  static F with_sign_of(F x, F y) {
    return each(x, y, [](auto p, auto q) { return vbslq_f32(vdupq_n_u32(0x80000000u), q, p); });
  }

  static I load(const int32_t* from) {
    return {vld1q_s32(from), vld1q_s32(from + 4), vld1q_s32(from + 8), vld1q_s32(from + 12)};
  }
  static I set(int32_t x) {
    const int32x4_t y = vdupq_n_s32(x);
    return {y, y, y, y};
  }
  static I add(I x, I y) {
    return each(x, y, [](auto p, auto q) { return vaddq_s32(p, q); });
  }
  static I sub(I x, I y) {
    return each(x, y, [](auto p, auto q) { return vsubq_s32(p, q); });
  }
  static I both(I x, I y) {
    return each(x, y, [](auto p, auto q) { return vandq_s32(p, q); });
  }
  static F to_float(I x) { return {vcvtq_f32_s32(x.a), vcvtq_f32_s32(x.b), vcvtq_f32_s32(x.c), vcvtq_f32_s32(x.d)}; }
  static I round(F x) { return {vcvtnq_s32_f32(x.a), vcvtnq_s32_f32(x.b), vcvtnq_s32_f32(x.c), vcvtnq_s32_f32(x.d)}; }
  using Whole = I;
  static Whole whole(F x) { return round(x); }
  static F fraction(F x, Whole whole) { return sub(x, to_float(whole)); }
  static F times_power_of_two(F x, Whole n) {
    return {add_to_exponent(x.a, n.a), add_to_exponent(x.b, n.b), add_to_exponent(x.c, n.c), add_to_exponent(x.d, n.d)};
  }
  static F widen(const int8_t* from) {
    const int8x16_t codes = vld1q_s8(from);
    const int16x8_t low = vmovl_s8(vget_low_s8(codes)), high = vmovl_high_s8(codes);
    return to_float(I{vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)),
                      vmovl_high_s16(high)});
  }
  // The low byte of each lane.
  static void store_bytes(uint8_t* to, I x) {
    const int8x16_t low = vreinterpretq_s8_s16(halves(x.a, x.b)), high = vreinterpretq_s8_s16(halves(x.c, x.d));
    vst1q_u8(to, vreinterpretq_u8_s8(vuzp1q_s8(low, high)));
  }
  static void store_int16(int16_t* to, I x) {
    vst1q_s16(to, halves(x.a, x.b));
    vst1q_s16(to + 8, halves(x.c, x.d));
  }

  static float sum(F x) {
    const float32x4_t y = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
    const float32x2_t z = vadd_f32(vget_low_f32(y), vget_high_f32(y));
    return vget_lane_f32(z, 0) + vget_lane_f32(z, 1);
  }
  static float largest(F x) {
    const float32x4_t y = largest4(largest4(x.a, x.c), largest4(x.b, x.d));
    const float32x4_t z = largest4(y, vextq_f32(y, y, 2));
    return vgetq_lane_f32(largest4(z, vextq_f32(z, z, 1)), 0);
  }
  static int32_t sum(I x) { return vaddvq_s32(vaddq_s32(vaddq_s32(x.a, x.b), vaddq_s32(x.c, x.d))); }

  static void begin() {}
  static void end() {}

  static void pack(const int8_t* weight, size_t columns, size_t depth, int8_t* panel, int32_t* sums) {
    ProductsNeon::pack(weight, columns, depth, panel, sums);
  }

  // Products of up to kRows rows of signed codes and a panel: out[row][64].
  static void products(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                       int32_t* out) {
    multiply_rows(rows, stride, count, panel, depth, [=](int row, size_t column, int32x4_t product) {
      vst1q_s32(out + 64 * row + column, product);
    });
  }

  // The scores of up to kRows queries and 64 keys: product * scale of the key, out[row][out_stride]. There is nothing
  // to correct, as kQueryOffset is 0.
  static void scores(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                     const int32_t* /*corrections*/, const float* scales, float* out, size_t out_stride) {
    multiply_rows(rows, stride, count, panel, depth, [=](int row, size_t column, int32x4_t product) {
      vst1q_f32(out + row * out_stride + column, vmulq_f32(vcvtq_f32_s32(product), vld1q_f32(scales + column)));
    });
  }

  // Sums over keys of weights (int16) times values (int16, [keys / 2][width][2]), added up in float32, 64 keys at a
  // time: out[row][width].
  static void weighted_sums(const int16_t* weights, size_t stride, size_t count, const int16_t* values, size_t pairs,
                            size_t width, float* out) {
    for (size_t column = 0; column < width; column += 16) {
      const int16_t* of_column = values + 2 * column;
      float* to = out + column;
      switch (count) {
        case 6: weigh<6>(weights, stride, of_column, pairs, width, to); break;
        case 5: weigh<5>(weights, stride, of_column, pairs, width, to); break;
        case 4: weigh<4>(weights, stride, of_column, pairs, width, to); break;
        case 3: weigh<3>(weights, stride, of_column, pairs, width, to); break;
        case 2: weigh<2>(weights, stride, of_column, pairs, width, to); break;
        default: weigh<1>(weights, stride, of_column, pairs, width, to);
      }
    }
  }

 private:
  template <class Function>
  static F each(F x, F y, Function function) {
    return {function(x.a, y.a), function(x.b, y.b), function(x.c, y.c), function(x.d, y.d)};
  }
  template <class Function>
  static I each(I x, I y, Function function) {
    return {function(x.a, y.a), function(x.b, y.b), function(x.c, y.c), function(x.d, y.d)};
  }

  static float32x4_t largest4(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }

  static float32x4_t add_to_exponent(float32x4_t x, int32x4_t n) {
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), vshlq_n_s32(n, 23)));
  }

  // The low halves of eight lanes.
  static int16x8_t halves(int32x4_t x, int32x4_t y) {
    return vuzp1q_s16(vreinterpretq_s16_s32(x), vreinterpretq_s16_s32(y));
  }

  template <class Finish>
  static void multiply_rows(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                            Finish finish) {
    const int8_t* codes = reinterpret_cast<const int8_t*>(rows);
    switch (count) {
      case 6: return ProductsNeon::multiply<6>(codes, stride, panel, depth, finish);
      case 5: return ProductsNeon::multiply<5>(codes, stride, panel, depth, finish);
      case 4: return ProductsNeon::multiply<4>(codes, stride, panel, depth, finish);
      case 3: return ProductsNeon::multiply<3>(codes, stride, panel, depth, finish);
      case 2: return ProductsNeon::multiply<2>(codes, stride, panel, depth, finish);
      default: return ProductsNeon::multiply<1>(codes, stride, panel, depth, finish);
    }
  }

  // R rows and 16 columns.
  template <int R>
  static void weigh(const int16_t* weights, size_t stride, const int16_t* values, size_t pairs, size_t width,
                    float* out) {
    for (int r = 0; r < R; ++r) store(out + r * width, set(0.0f));
    for (size_t first = 0; first < pairs; first += 32) {
      const size_t last = first + 32 < pairs ? first + 32 : pairs;
      int32x4_t sums[R][4];
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = vdupq_n_s32(0);
      for (size_t pair = first; pair < last; ++pair) {
        const int16x8x2_t left = vld2q_s16(values + 2 * width * pair);
        const int16x8x2_t right = vld2q_s16(values + 2 * width * pair + 16);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          const int16x4_t w = load_pair(weights + r * stride + 2 * pair);
          add_products<0>(sums[r], left.val[0], right.val[0], w);
          add_products<1>(sums[r], left.val[1], right.val[1], w);
        }
      }
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        float* to = out + r * width;
        store(to, add(load(to), to_float(I{sums[r][0], sums[r][1], sums[r][2], sums[r][3]})));
      }
    }
  }

  static int16x4_t load_pair(const int16_t* from) {
    int32_t pair;
    __builtin_memcpy(&pair, from, 4);
    return vreinterpret_s16_s32(vdup_n_s32(pair));
  }

  template <int kLane>
  [[gnu::always_inline]] static void add_products(int32x4_t (&sums)[4], int16x8_t left, int16x8_t right, int16x4_t w) {
    sums[0] = vmlal_lane_s16(sums[0], vget_low_s16(left), w, kLane);
    sums[1] = vmlal_high_lane_s16(sums[1], left, w, kLane);
    sums[2] = vmlal_lane_s16(sums[2], vget_low_s16(right), w, kLane);
    sums[3] = vmlal_high_lane_s16(sums[3], right, w, kLane);
  }
};

}  // namespace
}  // namespace embedge
