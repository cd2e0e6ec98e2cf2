// Which instruction sets this processor has.
#include <string>

#include "instruction_set.h"
#include "onnxruntime_abi.h"

namespace embedge {

extern const InstructionSet kScalar;
extern const InstructionSet kAvx2;
extern const InstructionSet kAvxVnni;
extern const InstructionSet kAvx512Vnni;
extern const InstructionSet kAmx;
extern const InstructionSet kNeon;
extern const InstructionSet kNeonDotprod;
extern const InstructionSet kNeonI8mm;

namespace {

struct Found {
  const InstructionSet* sets[8] = {};
  Found();
};

}  // namespace
}  // namespace embedge

#if defined(__x86_64__) || defined(_M_X64)

#include <cpuid.h>

namespace embedge {

bool amx_allowed();  // amx.cpp
bool amx_agrees();   // isa_amx.cpp

namespace {

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned sub) {
  Registers r;
  __get_cpuid_count(leaf, sub, &r.a, &r.b, &r.c, &r.d);
  return r;
}

bool bit(unsigned word, unsigned place) { return (word >> place & 1) != 0; }

// The registers that the operating system saves (XCR0).
unsigned saved_registers() {
  unsigned low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Bits of CPUID and XCR0: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID.
Found::Found() {
  const Registers basic = cpuid(1, 0), more = cpuid(7, 0), most = cpuid(7, 1);
  const bool saves = bit(basic.c, 27);  // OSXSAVE
  const unsigned saved = saves ? saved_registers() : 0;
  const bool avx2 = (saved & 0x6) == 0x6 && bit(more.b, 5) && bit(basic.c, 12);  // AVX2, FMA
  const bool avx_vnni = avx2 && bit(most.a, 4);
  const bool avx512 = avx2 && (saved & 0xe6) == 0xe6 && bit(more.b, 16) && bit(more.b, 17) && bit(more.b, 30) &&
                      bit(more.b, 31) && bit(more.c, 11);  // F, DQ, BW, VL, VNNI
#ifdef EMBEDGE_EMULATE_AMX
  const bool has_amx = true;
#else
  const bool has_amx = (saved & 0x60000) == 0x60000 && bit(more.d, 24) && bit(more.d, 25);  // AMX-TILE, AMX-INT8
#endif
  const bool amx = avx512 && has_amx && amx_allowed() && amx_agrees();
  size_t count = 0;
  if (amx) sets[count++] = &kAmx;
  if (avx512) sets[count++] = &kAvx512Vnni;
  if (avx_vnni) sets[count++] = &kAvxVnni;
  if (avx2) sets[count++] = &kAvx2;
  sets[count] = &kScalar;
}

}  // namespace
}  // namespace embedge

#elif defined(__aarch64__) || defined(_M_ARM64)

#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace embedge {
namespace {

#if defined(__linux__)
bool has_dotprod() { return (getauxval(AT_HWCAP) >> 20 & 1) != 0; }  // HWCAP_ASIMDDP
bool has_i8mm() { return (getauxval(AT_HWCAP2) >> 13 & 1) != 0; }    // HWCAP2_I8MM
#elif defined(__APPLE__)
bool has(const char* feature) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(feature, &value, &size, nullptr, 0) == 0 && value != 0;
}
bool has_dotprod() { return has("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() { return has("hw.optional.arm.FEAT_I8MM"); }
#else
bool has_dotprod() { return false; }
bool has_i8mm() { return false; }
#endif

Found::Found() {
  size_t count = 0;
  if (has_i8mm()) sets[count++] = &kNeonI8mm;
  if (has_dotprod()) sets[count++] = &kNeonDotprod;
  sets[count++] = &kNeon;
  sets[count] = &kScalar;
}

}  // namespace
}  // namespace embedge

#else

namespace embedge {
namespace {

Found::Found() { sets[0] = &kScalar; }

}  // namespace
}  // namespace embedge

#endif

namespace embedge {

const InstructionSet* const* instruction_sets() {
  static const Found found;
  return found.sets;
}

}  // namespace embedge

// The instruction sets that this processor can run, the fastest first, with commas between them.
EMBEDGE_EXPORT const char* embedge_kernels_instruction_sets() {
  static const std::string names = [] {
    std::string joined;
    for (const embedge::InstructionSet* const* set = embedge::instruction_sets(); *set != nullptr; ++set)
      joined += (joined.empty() ? "" : ",") + std::string((*set)->name);
    return joined;
  }();
  return names.c_str();
}
