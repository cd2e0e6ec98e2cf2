// The operators, compiled for each instruction set.
#pragma once

#include "arguments.h"
#include "parallel.h"

namespace embedge {

struct InstructionSet {
  const char* name;
  void (*encoder_layer)(const EncoderLayer&, Parallel&);
  void (*embedding)(const Embedding&);
  void (*row_linear)(const RowLinear&, Parallel&);
  void (*row_dot)(const RowDot&);
  // Writes the panel of 64 columns of a weight, 64 * depth bytes, and the sum of each column.
  void (*pack)(const int8_t* weight, size_t columns, size_t depth, int8_t* panel, int32_t* sums);
};

// The instruction sets that this processor can run, the fastest first; ends with null.
const InstructionSet* const* instruction_sets();

}  // namespace embedge
