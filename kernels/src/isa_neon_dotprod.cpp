#include "operators_on.h"
#include "vector_neon.h"

namespace embedge {

extern const InstructionSet kNeonDotprod = operators_on<VectorNeon>("neon_dotprod");

}  // namespace embedge
