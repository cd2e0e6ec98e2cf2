#include "operators_on.h"
#include "vector_avx2.h"

namespace embedge {

extern const InstructionSet kAvx2 = operators_on<VectorAvx2>("avx2");

}  // namespace embedge
