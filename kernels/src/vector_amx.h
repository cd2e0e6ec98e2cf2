// AVX-512, and AMX for the products of linear layers: 32 rows and 32 columns at a time, in eight tiles.
#pragma once

#include "tiles.h"
#include "vector_avx512.h"

namespace embedge {
namespace {

struct VectorAmx : VectorAvx512 {
  static constexpr size_t kRows = 32;

  // All eight tiles have 16 rows of 64 bytes.
  struct Configuration {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };

  static void begin() {
    alignas(64) static constexpr Configuration configuration;
    EMBEDGE_TILE_CONFIGURE(&configuration);
  }
  static void end() { EMBEDGE_TILE_RELEASE(); }

  static void products(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                       int32_t* out) {
    size_t done = 0;
    if (count == 32) {
      multiply<2>(rows, stride, panel, depth, out);
      done = 32;
    } else if (count >= 16) {
      multiply<1>(rows, stride, panel, depth, out);
      done = 16;
    }
    for (; done < count; done += VectorAvx512::kRows) {
      const size_t block = count - done < VectorAvx512::kRows ? count - done : VectorAvx512::kRows;
      VectorAvx512::products(rows + done * stride, stride, block, panel, depth, out + 64 * done);
    }
  }

  static void scores(const uint8_t* rows, size_t stride, size_t count, const int8_t* panel, size_t depth,
                     const int32_t* corrections, const float* scales, float* out, size_t out_stride) {
    for (size_t done = 0; done < count; done += VectorAvx512::kRows) {
      const size_t block = count - done < VectorAvx512::kRows ? count - done : VectorAvx512::kRows;
      VectorAvx512::scores(rows + done * stride, stride, block, panel, depth, corrections, scales,
                           out + done * out_stride, out_stride);
    }
  }

 private:
  // 16 or 32 rows. Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 columns.
  template <int kRowTiles>
  static void multiply(const uint8_t* rows, size_t stride, const int8_t* panel, size_t depth, int32_t* out) {
    for (size_t column = 0; column < 64; column += 32) {
      EMBEDGE_TILE_ZERO(0);
      EMBEDGE_TILE_ZERO(1);
      if (kRowTiles == 2) {
        EMBEDGE_TILE_ZERO(2);
        EMBEDGE_TILE_ZERO(3);
      }
      const int8_t* from = panel + 4 * column;
      for (size_t k = 0; k < depth; k += 64, from += 16 * 256) {
        EMBEDGE_TILE_LOAD(6, from, 256);
        EMBEDGE_TILE_LOAD(7, from + 64, 256);
        EMBEDGE_TILE_LOAD(4, rows + k, stride);
        EMBEDGE_TILE_MULTIPLY(0, 4, 6);
        EMBEDGE_TILE_MULTIPLY(1, 4, 7);
        if (kRowTiles == 2) {
          EMBEDGE_TILE_LOAD(5, rows + 16 * stride + k, stride);
          EMBEDGE_TILE_MULTIPLY(2, 5, 6);
          EMBEDGE_TILE_MULTIPLY(3, 5, 7);
        }
      }
      EMBEDGE_TILE_STORE(0, out + column, 256);
      EMBEDGE_TILE_STORE(1, out + column + 16, 256);
      if (kRowTiles == 2) {
        EMBEDGE_TILE_STORE(2, out + 16 * 64 + column, 256);
        EMBEDGE_TILE_STORE(3, out + 16 * 64 + column + 16, 256);
      }
    }
  }
};

}  // namespace
}  // namespace embedge
