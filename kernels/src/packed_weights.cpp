#include "packed_weights.h"

#include <cstring>
#include <mutex>
#include <new>
#include <utility>

#include "scratch.h"

namespace embedge {

class PackedWeight {
 public:
  PackedWeight(const InstructionSet& set, const Linear& linear)
      : set_(&set),
        depth_(linear.depth),
        columns_(linear.columns),
        memory_(depth_ * columns_ + kAlignment),
        sums_(columns_) {
    const size_t over = reinterpret_cast<uintptr_t>(memory_.data()) % kAlignment;
    panels_ = memory_.data() + (over == 0 ? 0 : kAlignment - over);
    for (size_t column = 0; column < columns_; column += kPanel)
      set.pack(linear.weight + column, columns_, depth_, panels_ + column * depth_, sums_.data() + column);
  }

  Packed packed() const { return {panels_, sums_.data()}; }

  // Whether this is the packed weight of a layer: whether packing the layer gives the same bytes.
  bool is_of(const InstructionSet& set, const Linear& linear) const {
    if (set_ != &set || depth_ != linear.depth || columns_ != linear.columns) return false;
    Scratch scratch;
    int8_t* panel = scratch.take<int8_t>(kPanel * depth_);
    int32_t* sums = scratch.take<int32_t>(kPanel);
    for (size_t column = 0; column < columns_; column += kPanel) {
      set.pack(linear.weight + column, columns_, depth_, panel, sums);
      if (std::memcmp(panel, panels_ + column * depth_, kPanel * depth_) != 0) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kAlignment = 64;

  const InstructionSet* set_;
  size_t depth_, columns_;
  std::vector<int8_t> memory_;
  std::vector<int32_t> sums_;
  int8_t* panels_;
};

namespace {

constexpr uint32_t kRunsBeforePacking = 16;  // as many as embedge waits before it lets ONNX Runtime prepack

// The packed weights of this process. Whoever holds the mutex may use the list.
std::mutex mutex;
std::vector<std::weak_ptr<const PackedWeight>> all;

std::shared_ptr<const PackedWeight> share(const InstructionSet& set, const Linear& linear) {
  size_t kept = 0;
  std::shared_ptr<const PackedWeight> found;
  for (std::weak_ptr<const PackedWeight>& known : all) {
    std::shared_ptr<const PackedWeight> weight = known.lock();
    if (weight == nullptr) continue;
    if (found == nullptr && weight->is_of(set, linear)) found = weight;
    all[kept++] = weight;
  }
  all.resize(kept);
  if (found == nullptr) {
    found = std::make_shared<const PackedWeight>(set, linear);
    all.push_back(found);
  }
  return found;
}

}  // namespace

void PackedWeights::prepare(const InstructionSet& set, Linear* const* layers, size_t count) {
  if (!ready_.load(std::memory_order_acquire)) {
    if (runs_.load(std::memory_order_relaxed) < kRunsBeforePacking && ++runs_ < kRunsBeforePacking) return;
    // While another thread packs, this run goes on without. So it does in the child of a fork that came at that time,
    // where nobody will ever unlock the mutex.
    const std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
    if (!lock.owns_lock()) return;
    if (!ready_.load(std::memory_order_relaxed)) {
      try {
        std::vector<Of> weights;
        for (size_t i = 0; i < count; ++i) weights.push_back({*layers[i], share(set, *layers[i])});
        weights_ = std::move(weights);
      } catch (const std::bad_alloc&) {
        // Packing saves time and is not needed: without memory for it, this run goes on without, and so do the next
        // ones, before they try again.
        runs_.store(0, std::memory_order_relaxed);
        return;
      }
      ready_.store(true, std::memory_order_release);
    }
  }
  // A weight that is an input of the graph may have changed since it was packed. A bundle has none.
  for (size_t i = 0; i < count; ++i)
    if (weights_[i].is_of(*layers[i])) layers[i]->packed = weights_[i].weight->packed();
}

}  // namespace embedge
