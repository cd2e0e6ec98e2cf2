// Runs independent tasks on the threads of a session. Without a session (as in tests), the tasks run one after another.
#pragma once

#include <cstddef>

namespace embedge {

class Parallel {
 public:
  virtual ~Parallel() = default;
  // Calls task(argument, index) for each index below count; returns when all are done.
  virtual void run(size_t count, void (*task)(void*, size_t), void* argument) = 0;
};

}  // namespace embedge
