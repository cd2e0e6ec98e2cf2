// AMX's tile instructions; or the same steps in plain C++, so that the code above them is tested on any processor.
#pragma once

#ifdef EMBEDGE_EMULATE_AMX

#include <cstdint>
#include <cstring>

namespace embedge {
namespace {

struct Tiles {
  uint8_t bytes[8][16][64] = {};
  bool configured = false;
};
thread_local Tiles tiles;

void tile_configure(const void*) { tiles.configured = true; }
void tile_release() { tiles = {}; }
template <int kTile>
void tile_zero() {
  std::memset(tiles.bytes[kTile], 0, sizeof tiles.bytes[kTile]);
}
template <int kTile>
void tile_load(const void* from, size_t stride) {
  for (size_t row = 0; row < 16; ++row)
    std::memcpy(tiles.bytes[kTile][row], static_cast<const uint8_t*>(from) + row * stride, 64);
}
template <int kTile>
void tile_store(void* to, size_t stride) {
  if (!tiles.configured) __builtin_trap();
  for (size_t row = 0; row < 16; ++row)
    std::memcpy(static_cast<uint8_t*>(to) + row * stride, tiles.bytes[kTile][row], 64);
}
// TDPBUSD: sum[m][n] += a[m][4 k + i] * b[k][4 n + i], a unsigned and b signed.
template <int kSum, int kA, int kB>
void tile_multiply() {
  for (size_t m = 0; m < 16; ++m)
    for (size_t n = 0; n < 16; ++n) {
      int32_t sum;
      std::memcpy(&sum, &tiles.bytes[kSum][m][4 * n], 4);
      for (size_t k = 0; k < 16; ++k)
        for (size_t i = 0; i < 4; ++i)
          sum += tiles.bytes[kA][m][4 * k + i] * static_cast<int8_t>(tiles.bytes[kB][k][4 * n + i]);
      std::memcpy(&tiles.bytes[kSum][m][4 * n], &sum, 4);
    }
}

}  // namespace
}  // namespace embedge

#define EMBEDGE_TILE_CONFIGURE(from) tile_configure(from)
#define EMBEDGE_TILE_RELEASE() tile_release()
#define EMBEDGE_TILE_ZERO(tile) tile_zero<tile>()
#define EMBEDGE_TILE_LOAD(tile, from, stride) tile_load<tile>(from, stride)
#define EMBEDGE_TILE_STORE(tile, to, stride) tile_store<tile>(to, stride)
#define EMBEDGE_TILE_MULTIPLY(sum, a, b) tile_multiply<sum, a, b>()

#else

#include <immintrin.h>

// Macros, because GCC's intrinsics take the number of a tile only as a literal. The compiler does not know which memory
// the instructions read, so it must not move writes across them.
#define EMBEDGE_TILE_BARRIER() __asm__ volatile("" ::: "memory")
#define EMBEDGE_TILE_CONFIGURE(from) \
  do {                               \
    EMBEDGE_TILE_BARRIER();          \
    _tile_loadconfig(from);          \
  } while (false)
#define EMBEDGE_TILE_RELEASE() _tile_release()
#define EMBEDGE_TILE_ZERO(tile) _tile_zero(tile)
#define EMBEDGE_TILE_LOAD(tile, from, stride) \
  do {                                        \
    EMBEDGE_TILE_BARRIER();                   \
    _tile_loadd(tile, from, stride);          \
  } while (false)
#define EMBEDGE_TILE_STORE(tile, to, stride) \
  do {                                       \
    _tile_stored(tile, to, stride);          \
    EMBEDGE_TILE_BARRIER();                  \
  } while (false)
#define EMBEDGE_TILE_MULTIPLY(sum, a, b) _tile_dpbusd(sum, a, b)

#endif
