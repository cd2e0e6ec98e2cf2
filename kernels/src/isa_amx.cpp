#include "operators_on.h"
#include "vector_amx.h"

namespace embedge {

extern const InstructionSet kAmx = operators_on<VectorAmx>("amx");

// Whether tiles give the products that AVX-512 gives. Asked once, before AMX is chosen.
bool amx_agrees() {
  constexpr size_t kDepth = 128, kCount = 32;
  alignas(64) static int8_t panel[kPanel * kDepth];
  alignas(64) static uint8_t rows[kCount * kDepth];
  alignas(64) static int32_t by_tiles[kCount * kPanel], expected[VectorAvx512::kRows * kPanel];
  uint32_t state = 1;
  const auto next = [&state] { return (state = state * 1664525u + 1013904223u) >> 24; };
  for (int8_t& code : panel) code = static_cast<int8_t>(next());
  for (uint8_t& code : rows) code = static_cast<uint8_t>(next());
  VectorAmx::begin();
  VectorAmx::products(rows, kDepth, kCount, panel, kDepth, by_tiles);
  VectorAmx::end();
  for (size_t row = 0; row < kCount; ++row) {
    VectorAvx512::products(rows + row * kDepth, kDepth, 1, panel, kDepth, expected);
    if (__builtin_memcmp(expected, by_tiles + row * kPanel, kPanel * sizeof(int32_t)) != 0) return false;
  }
  return true;
}

}  // namespace embedge
