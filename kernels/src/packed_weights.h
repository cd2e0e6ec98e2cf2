// Keeps the weights of an operator in the order in which its instruction set reads them.
#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "instruction_set.h"

namespace embedge {

// One packed weight. All sessions of a process that use the same weight share it.
class PackedWeight;

// The packed weights of one operator of one session.
//
// A session's first runs rearrange each panel when they need it, which costs as much as the products of four rows, and
// no memory. Then the weights are packed once. (When to buy instead of renting: the ski-rental problem. Packing costs
// about as much as two runs with few rows lose without it.)
class PackedWeights {
 public:
  // Counts a run; gives the linear layers their packed weights if there are any. Safe to call from several threads.
  void prepare(const InstructionSet& set, Linear* const* layers, size_t count);

 private:
  std::atomic<uint32_t> runs_{0};
  std::atomic<bool> ready_{false};
  // A packed weight, and the tensor that it was made of.
  struct Of {
    const int8_t* source;
    size_t depth, columns;
    std::shared_ptr<const PackedWeight> weight;

    Of(const Linear& linear, std::shared_ptr<const PackedWeight> packed)
        : source(linear.weight), depth(linear.depth), columns(linear.columns), weight(std::move(packed)) {}
    bool is_of(const Linear& linear) const {
      return source == linear.weight && depth == linear.depth && columns == linear.columns;
    }
  };
  std::vector<Of> weights_;
};

}  // namespace embedge
