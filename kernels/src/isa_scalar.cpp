#include "operators_on.h"
#include "vector_scalar.h"

namespace embedge {

extern const InstructionSet kScalar = operators_on<VectorScalar>("scalar");

}  // namespace embedge
