// Asks the operating system for the registers of AMX, which a process gets only on request.
#ifdef EMBEDGE_EMULATE_AMX

namespace embedge {
bool amx_allowed() { return true; }
}  // namespace embedge

#elif defined(__linux__) && defined(__x86_64__)

#include <sys/syscall.h>
#include <unistd.h>

namespace embedge {

// Source: Linux, Documentation/arch/x86/xstate.rst.
bool amx_allowed() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace embedge

#else

namespace embedge {
bool amx_allowed() { return false; }
}  // namespace embedge

#endif
