// Memory for intermediate results, kept by each thread from one run to the next, so that a run allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace embedge {

// Memory that is taken in the order of a stack: a Scratch gives back at its end all that was taken from it.
// Throws std::bad_alloc if there is no memory.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Returns uninitialised memory for `count` elements, aligned to 64 bytes.
  // Inlined always: a copy compiled for one instruction set must not serve the others.
  template <class T>
  [[gnu::always_inline]] T* take(size_t count) {
    return static_cast<T*>(take_bytes(count * sizeof(T)));
  }

 private:
  void* take_bytes(size_t bytes);
  size_t chunk_;
  size_t used_;
};

}  // namespace embedge
