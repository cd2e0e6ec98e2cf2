#include "operators_on.h"
#include "vector_neon.h"

namespace embedge {

extern const InstructionSet kNeonI8mm = operators_on<VectorNeon>("neon_i8mm");

}  // namespace embedge
