#include "operators_on.h"
#include "vector_avx2.h"

namespace embedge {

extern const InstructionSet kAvxVnni = operators_on<VectorAvx2>("avx_vnni");

}  // namespace embedge
