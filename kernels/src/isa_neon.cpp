#include "operators_on.h"
#include "vector_neon.h"

namespace embedge {

extern const InstructionSet kNeon = operators_on<VectorNeon>("neon");

}  // namespace embedge
