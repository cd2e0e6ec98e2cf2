#include "scratch.h"

#include <cstdlib>
#include <new>
#include <vector>

namespace embedge {
namespace {

constexpr size_t kAlignment = 64;             // a cache line, and the widest vector
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
// A request gets memory of its own, so that the sanitiser sees who writes beyond it.
constexpr size_t kChunk = 0;
constexpr size_t kKept = 0;
#else
constexpr size_t kChunk = size_t{1} << 20;  // smaller requests share chunks of this size
constexpr size_t kKept = size_t{16} << 20;  // a thread that needed more than this for a run gives all of it back
#endif

void* allocate(size_t bytes) {
#ifdef _WIN32
  void* memory = _aligned_malloc(bytes, kAlignment);
#else
  void* memory = std::aligned_alloc(kAlignment, bytes);
#endif
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void release(void* memory) {
#ifdef _WIN32
  _aligned_free(memory);
#else
  std::free(memory);
#endif
}

struct Chunk {
  char* memory;
  size_t size;
};

// The memory of one thread: chunks that never move, the first `current` of them in use.
struct Stack {
  std::vector<Chunk> chunks;
  size_t current = 0;
  size_t used = 0;  // bytes of the current chunk
  size_t depth = 0;

  ~Stack() { clear(); }

  void clear() {
    for (Chunk& chunk : chunks) release(chunk.memory);
    chunks.clear();
    current = used = 0;
  }

  size_t total() const {
    size_t bytes = 0;
    for (const Chunk& chunk : chunks) bytes += chunk.size;
    return bytes;
  }

  void* take(size_t bytes) {
    while (current < chunks.size() && used + bytes > chunks[current].size) {
      ++current;
      used = 0;
    }
    if (current == chunks.size()) {
      const size_t size = bytes > kChunk ? bytes : kChunk;
      chunks.reserve(chunks.size() + 1);
      chunks.push_back({static_cast<char*>(allocate(size)), size});
    }
    void* memory = chunks[current].memory + used;
    used += bytes;
    return memory;
  }
};

thread_local Stack stack;

}  // namespace

Scratch::Scratch() : chunk_(stack.current), used_(stack.used) { ++stack.depth; }

Scratch::~Scratch() {
  stack.current = chunk_;
  stack.used = used_;
  if (--stack.depth == 0 && stack.total() > kKept) stack.clear();
}

void* Scratch::take_bytes(size_t bytes) { return stack.take((bytes + kAlignment - 1) / kAlignment * kAlignment); }

}  // namespace embedge
