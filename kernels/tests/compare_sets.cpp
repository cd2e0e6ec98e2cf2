// Runs every instruction set of this processor on the same random arguments, and compares the bits with those of scalar
// code. Prints a digest for each operator: equal on two processors, their vectors are equal.
//
// compare_sets [RANDOM_LAYERS] [SEED]
// The exit code is 1 if a set differs.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "../src/instruction_set.h"
#include "arguments_random.h"

namespace embedge {
namespace {

constexpr size_t kGuard = 64;  // floats behind an output, which no operator may write
constexpr float kUntouched = -12345.0f;

class InTurn : public Parallel {
 public:
  void run(size_t count, void (*task)(void*, size_t), void* argument) override {
    for (size_t i = 0; i < count; ++i) task(argument, i);
  }
};

uint32_t bits_of(float x) {
  if (x != x) return 0x7fc00000u;  // processors disagree on the sign of NaN
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

// FNV-1a of 64 bits.
struct Digest {
  uint64_t value = 0xcbf29ce484222325u;
  void add(const std::vector<float>& values) {
    for (const float x : values) {
      const uint32_t bits = bits_of(x);
      for (int i = 0; i < 4; ++i) value = (value ^ (bits >> 8 * i & 0xff)) * 0x100000001b3u;
    }
  }
};

// The panels of a weight, as a session keeps them after some runs.
class Panels {
 public:
  Panels(const InstructionSet& set, Linear& linear) : memory_(linear.depth * linear.columns + 64), sums_(linear.columns) {
    int8_t* panels = memory_.data() + 64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64;
    for (size_t column = 0; column < linear.columns; column += kPanel)
      set.pack(linear.weight + column, linear.columns, linear.depth, panels + column * linear.depth,
               sums_.data() + column);
    linear.packed = {panels, sums_.data()};
  }

 private:
  std::vector<int8_t> memory_;
  std::vector<int32_t> sums_;
};

// All cases of one operator.
class Comparison {
 public:
  explicit Comparison(const char* name) : name_(name) {}

  // `run(set, output)` computes `count` values. A case is `strict` if AVX2 without VNNI does not saturate in it.
  template <class Run>
  void compare(const std::string& about, size_t count, bool strict, Run run) {
    const InstructionSet* const* sets = instruction_sets();
    size_t last = 0;
    while (sets[last + 1] != nullptr) ++last;
    const std::vector<float> expected = output_of(*sets[last], count, run);
    digest_.add(expected);
    ++cases_;
    for (size_t i = 0; i < last; ++i) {
      if (!strict && std::strcmp(sets[i]->name, "avx2") == 0) continue;
      const std::vector<float> found = output_of(*sets[i], count, run);
      size_t different = 0, first = 0;
      for (size_t k = count + kGuard; k-- > 0;)
        if (bits_of(found[k]) != bits_of(expected[k])) ++different, first = k;
      if (different == 0) continue;
      ++failures_;
      std::printf("%s, %s: %s differs from %s in %zu of %zu values, first at %zu: %.9g, not %.9g\n", name_,
                  about.c_str(), sets[i]->name, sets[last]->name, different, count, first,
                  static_cast<double>(found[first]), static_cast<double>(expected[first]));
    }
  }

  size_t finish() const {
    std::printf("%-14s %4zu cases, digest %016llx\n", name_, cases_, static_cast<unsigned long long>(digest_.value));
    std::fflush(stdout);
    return failures_;
  }

 private:
  template <class Run>
  static std::vector<float> output_of(const InstructionSet& set, size_t count, Run& run) {
    std::vector<float> output(count + kGuard, kUntouched);
    run(set, output.data());
    return output;
  }

  const char* name_;
  Digest digest_;
  size_t cases_ = 0, failures_ = 0;
};

void compare_layer(Comparison& comparison, Random& random, const LayerShape& s) {
  const LayerData data(random, s);
  char about[176];
  std::snprintf(about, sizeof about, "%zu x %zu tokens, width %zu, %zu heads, inner %zu, first %d, act %d, rows %d, padded %d",
                s.batch, s.tokens, s.width, s.heads, s.inner, s.first_token, static_cast<int>(s.activation),
                static_cast<int>(s.rows), s.padded);
  const bool packed = random.one_in(2);
  comparison.compare(about, data.outputs(), s.largest <= 64, [&](const InstructionSet& set, float* output) {
    InTurn parallel;
    EncoderLayer layer = data.layer(output);
    std::vector<Panels> kept;
    if (packed)
      for (Linear* linear : {&layer.qkv, &layer.out, &layer.up, &layer.down}) kept.emplace_back(set, *linear);
    set.encoder_layer(layer, parallel);
  });
}

size_t compare_layers(Random random, size_t count) {
  Comparison comparison("encoder_layer");
  const auto gelu = Activation::kGelu;
  // The shape of small models; many texts; one long text; codes of any size.
  compare_layer(comparison, random, {1, 17, 384, 12, 1536, false, gelu, Rows::kUsual, 64});
  compare_layer(comparison, random, {1, 300, 384, 6, 384, true, gelu, Rows::kUsual, 64});
  compare_layer(comparison, random, {8, 300, 64, 2, 128, false, gelu, Rows::kUsual, 64});
  compare_layer(comparison, random, {2, 300, 128, 2, 256, false, gelu, Rows::kZeros, 127});
  for (size_t tokens = 1; tokens <= 70; ++tokens)
    compare_layer(comparison, random, {1, tokens, 64, 2 - tokens % 2, 64, false, gelu, Rows::kUsual, 64});
  for (size_t i = 0; i < count; ++i) {
    LayerShape s;
    s.width = kPanel * (1 + random.below(6));
    s.heads = s.width / (random.one_in(2) ? 32 : 64);
    s.inner = s.width * (1 + random.below(4));
    s.batch = 1 + random.below(8);
    s.tokens = 1 + random.below(random.one_in(4) ? 300 : 40);
    s.first_token = random.one_in(3);
    s.activation = static_cast<Activation>(random.below(3));
    s.rows = static_cast<Rows>(random.below(kKindsOfRows));
    s.largest = random.one_in(3) ? 127 : 64;
    s.padded = random.one_in(2);
    const size_t budget = 12000000 / (s.width * (4 * s.width + 2 * s.inner)) + 1;  // rows
    if (s.tokens > budget) s.tokens = budget;
    while (s.batch > 1 && s.batch * s.tokens > budget) --s.batch;
    compare_layer(comparison, random, s);
  }
  return comparison.finish();
}

size_t compare_embeddings(Random random) {
  Comparison comparison("embedding");
  constexpr size_t kVocabulary = 50, kPositions = 40;
  for (size_t i = 0; i < 24; ++i) {
    const size_t width = kPanel * (1 + i % 6), tokens = 1 + random.below(30), rows = tokens * (1 + random.below(4));
    const std::vector<int8_t> words = random.codes(kVocabulary * width, 127);
    const std::vector<float> scales = random.factors(kVocabulary, i % 5 == 4 ? 0x1p120f : 0.01f);
    const std::vector<float> positions = random.normals(kPositions * width, 0.1f);
    const NormalisationData norm(random, width, false);
    std::vector<int64_t> ids(rows), mask(rows), places(rows);
    for (int64_t& id : ids) id = static_cast<int64_t>(random.below(kVocabulary));
    for (int64_t& real : mask) real = random.one_in(4) ? 0 : 1;
    for (int64_t& place : places) place = static_cast<int64_t>(random.below(kPositions));
    comparison.compare("width " + std::to_string(width), rows * width, true,
                       [&](const InstructionSet& set, float* output) {
                         set.embedding({ids.data(), mask.data(), i % 2 == 0 ? nullptr : places.data(), words.data(), scales.data(),
                                        positions.data(), norm.gain.data(), norm.bias.data(), output, rows, tokens,
                                        width, 1e-12f});
                       });
  }
  return comparison.finish();
}

size_t compare_linears(Random random) {
  Comparison comparison("row_linear");
  for (size_t i = 0; i < 60; ++i) {
    const size_t depth = kPanel * (1 + random.below(6)), columns = kPanel * (1 + random.below(6));
    const size_t count = 1 + (i % 10 == 9 ? random.below(300) : i % 20);
    const std::vector<float> rows = random_rows(random, count, depth, static_cast<Rows>(i % kKindsOfRows));
    const int largest = i % 3 == 2 ? 127 : 64;
    LinearData linear(random, depth, columns, largest);
    linear.has_bias = i % 4 != 3;
    comparison.compare(std::to_string(count) + " rows", count * columns, largest <= 64,
                       [&](const InstructionSet& set, float* output) {
                         InTurn parallel;
                         set.row_linear({rows.data(), output, count, linear.linear(),
                                         static_cast<HeadActivation>(i / kKindsOfRows % 3)}, parallel);
                       });
  }
  return comparison.finish();
}

size_t compare_dots(Random random) {
  Comparison comparison("row_dot");
  for (size_t i = 0; i < 40; ++i) {
    const size_t depth = kPanel * (1 + random.below(6)), count = 1 + random.below(20);
    const std::vector<float> rows = random_rows(random, count, depth, static_cast<Rows>(i % kKindsOfRows));
    const std::vector<float> weight = random.normals(depth, 0.1f);
    comparison.compare(std::to_string(count) + " rows", count, true, [&](const InstructionSet& set, float* output) {
      set.row_dot({rows.data(), weight.data(), 0.5f, output, count, depth, i % 2 == 0});
    });
  }
  return comparison.finish();
}

}  // namespace
}  // namespace embedge

int main(int count, char** arguments) {
  const size_t layers = count > 1 ? std::strtoul(arguments[1], nullptr, 10) : 40;
  const embedge::Random random(count > 2 ? std::strtoul(arguments[2], nullptr, 10) : 17);
  std::printf("instruction sets:");
  for (const embedge::InstructionSet* const* set = embedge::instruction_sets(); *set != nullptr; ++set)
    std::printf(" %s", (*set)->name);
  std::printf("\n");
  std::fflush(stdout);
  const size_t failures = embedge::compare_embeddings(random) + embedge::compare_dots(random) +
                          embedge::compare_linears(random) + embedge::compare_layers(random, layers);
  return failures == 0 ? 0 : 1;
}
