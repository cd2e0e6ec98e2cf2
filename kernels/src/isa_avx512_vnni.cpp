#include "operators_on.h"
#include "vector_avx512.h"

namespace embedge {

extern const InstructionSet kAvx512Vnni = operators_on<VectorAvx512>("avx512_vnni");

}  // namespace embedge
