// One layer of the encoder.
//
// 1. Q, K and V of all rows, as codes of attention.
// 2. Attention, one task for each head of each text.
// 3. All that follows works on single rows: output projection, normalisation, feed-forward, normalisation. A block of
//    rows goes through all of it while it is in the cache of its core.
//
// Texts may differ in length, and be padded at their ends: [batch, tokens, width] has gaps then. The code in between
// works on the rows without the gaps, so padding costs no time, and a text's result does not depend on it.
//
// A run with few rows (a query) has fewer blocks than cores. There the cores share the panels of each linear layer
// instead of the rows, and meet after each.
#pragma once

#include <atomic>
#include <new>

#include "attention.h"
#include "parallel.h"

namespace embedge {
namespace {

constexpr size_t kBlockRows = 128;  // rows that go through step 3 together
constexpr size_t kFewRows = 48;    // up to so many rows in a run, cores share panels

template <class Body>
void run_parallel(Parallel& parallel, size_t count, Body body) {
  parallel.run(count, [](void* argument, size_t index) { (*static_cast<Body*>(argument))(index); }, &body);
}

// Calls body(first_panel, last_panel) for all panels: at once, or in parts on several threads.
template <class Body>
void share_panels(Parallel* parallel, size_t columns, Body body) {
  const size_t panels = columns / kPanel;
  if (parallel == nullptr) return body(size_t{0}, panels);
  run_parallel(*parallel, panels, [&](size_t panel) { body(panel, panel + 1); });
}

// Turns one part of a row of Q or K into codes and a scale for each head.
template <class V, bool kIsQuery>
void quantise_heads(const typename V::F* values, size_t size, size_t first_head, size_t row, size_t rows,
                    uint8_t* codes, float* scales, int32_t* sums) {
  for (size_t head = 0; head < kPanel / size; ++head) {
    const typename V::F* of_head = values + head * size / kLanes;
    typename V::F most = V::set(0.0f);
    for (size_t j = 0; j < size / kLanes; ++j) most = V::max(most, V::abs(of_head[j]));
    const float largest = V::largest(most);
    const typename V::F inverse = V::set(largest > kTiny ? 127.0f / largest : 0.0f);
    typename V::I total = V::set(int32_t{0});
    for (size_t j = 0; j < size / kLanes; ++j) {
      const typename V::I code = V::round(V::mul(of_head[j], inverse));
      total = V::add(total, code);
      V::store_bytes(codes + head * size + kLanes * j, kIsQuery ? V::add(code, V::set(V::kQueryOffset)) : code);
    }
    scales[(first_head + head) * rows + row] = largest * (1.0f / 127.0f);
    if (!kIsQuery) sums[(first_head + head) * rows + row] = V::sum(total);
  }
}

template <class V>
class LayerRun {
 public:
  LayerRun(const EncoderLayer& layer, Parallel& parallel)
      : layer_(layer),
        parallel_(parallel),
        size_(layer.width / layer.heads),
        rows_(layer.starts[layer.batch]),
        queries_(layer.first_token ? layer.batch : rows_) {
    all_.rows = rows_;
    all_.queries = queries_;
    all_.query = scratch_.take<uint8_t>(queries_ * layer.width);
    all_.query_scales = scratch_.take<float>(queries_ * layer.heads);
    all_.key = scratch_.take<int8_t>(rows_ * layer.width);
    all_.key_scales = scratch_.take<float>(rows_ * layer.heads);
    all_.key_sums = scratch_.take<int32_t>(rows_ * layer.heads);
    all_.value = scratch_.take<float>(rows_ * layer.width);
    context_ = scratch_.take<float>(queries_ * layer.width);
    broken_ = scratch_.take<std::atomic<uint8_t>>(layer.batch);
    text_of_ = scratch_.take<uint32_t>(rows_);
    for (size_t text = 0; text < layer.batch; ++text) {
      new (&broken_[text]) std::atomic<uint8_t>(0);
      for (size_t row = layer.starts[text]; row < layer.starts[text + 1]; ++row)
        text_of_[row] = static_cast<uint32_t>(text);
    }
  }

  void run() {
    project(layer_.qkv, rows_, false, layer_.first_token ? 1 : 0);
    if (layer_.first_token) project(layer_.query, queries_, true, 0);
    run_parallel(parallel_, layer_.batch * layer_.heads, [this](size_t task) { attend_head(task); });
    in_blocks(queries_, [this](size_t first, size_t count, Parallel* shared) { finish_rows(first, count, shared); });
    for (size_t text = 0; text < layer_.batch; ++text) {
      if (broken_[text]) spoil(text);
      if (!layer_.first_token) clear_padding(text);
    }
  }

 private:
  // Where a row is in [batch, tokens, width].
  size_t place(size_t row) const {
    const size_t text = text_of_[row];
    return text * layer_.tokens + row - layer_.starts[text];
  }
  // The same of a row that step 3 works on: of the first row of a text, with first_token.
  size_t place_of_query(size_t query) const {
    return layer_.first_token ? query * layer_.tokens : place(query);
  }
  float* output_of_query(size_t query) const {
    return layer_.output + (layer_.first_token ? query : place(query)) * layer_.width;
  }

  // Calls body(first, count, parallel) for blocks of rows; `parallel` is what shares the panels, if the block does not
  // have a thread of its own.
  template <class Body>
  void in_blocks(size_t rows, Body body) {
    if (rows <= kFewRows) return body(size_t{0}, rows, &parallel_);
    const size_t blocks = (rows + kBlockRows - 1) / kBlockRows;
    run_parallel(parallel_, blocks, [&](size_t block) {
      const size_t first = rows * block / blocks, last = rows * (block + 1) / blocks;
      body(first, last - first, nullptr);
    });
  }

  // Q, K and V of rows: of each row of the input, or of the first row of each text.
  // `first_part` is what the first columns of the weight are: 0 is Q, 1 is K, 2 is V.
  void project(const Linear& linear, size_t rows, bool of_first_tokens, size_t first_part) {
    in_blocks(rows, [&](size_t first, size_t count, Parallel* shared) {
      Scratch scratch;
      CodeRows codes{scratch.take<uint8_t>(count * layer_.width), scratch.take<float>(count)};
      for (size_t r = 0; r < count; ++r) {
        const size_t text = of_first_tokens ? first + r : text_of_[first + r];
        const float* row = layer_.hidden + (of_first_tokens ? text * layer_.tokens : place(first + r)) * layer_.width;
        codes.scales[r] = quantise_row<V>(row, layer_.width, linear.static_scale, codes.codes + r * layer_.width);
        if (!is_usable<V>(row, layer_.width)) broken_[text] = 1;
      }
      share_panels(shared, linear.columns, [&](size_t begin, size_t end) {
        multiply_rows<V>(linear, codes, count, 128, begin, end,
                         [&](size_t r, size_t column, const typename V::F* values) {
                           keep_projection(first + r, column, first_part, values);
                         });
      });
    });
  }

  void keep_projection(size_t row, size_t column, size_t first_part, const typename V::F* values) {
    const size_t width = layer_.width, part = first_part + column / width, at = column % width;
    if (part == 0) {
      quantise_heads<V, true>(values, size_, at / size_, row, queries_, all_.query + row * width + at,
                              all_.query_scales, nullptr);
    } else if (part == 1) {
      quantise_heads<V, false>(values, size_, at / size_, row, rows_,
                               reinterpret_cast<uint8_t*>(all_.key + row * width + at), all_.key_scales,
                               all_.key_sums);
    } else {
      for (size_t j = 0; j < 4; ++j) V::store(all_.value + row * width + at + kLanes * j, values[j]);
    }
  }

  void attend_head(size_t task) {
    const size_t text = task / layer_.heads, head = task % layer_.heads;
    const size_t first = layer_.starts[text], tokens = layer_.starts[text + 1] - first;
    const bool usable = attend<V>(all_, head, size_, layer_.width, first, tokens, layer_.first_token ? text : first,
                                  layer_.first_token ? 1 : tokens, context_);
    if (!usable) broken_[text] = 1;
  }

  // Step 3, on a block of rows.
  void finish_rows(size_t first, size_t count, Parallel* shared) {
    const size_t width = layer_.width, inner = layer_.down.depth;
    Scratch scratch;
    CodeRows codes{scratch.take<uint8_t>(count * inner), scratch.take<float>(count)};
    float* attended = scratch.take<float>(count * width);
    float* activated = scratch.take<float>(count * inner);

    for (size_t r = 0; r < count; ++r)
      codes.scales[r] = quantise_row<V>(context_ + (first + r) * width, width, nullptr, codes.codes + r * width);
    share_panels(shared, width, [&](size_t begin, size_t end) {
      multiply_rows<V>(layer_.out, codes, count, 128, begin, end,
                       [&](size_t r, size_t column, const typename V::F* values) {
                         add_residual(layer_.hidden + place_of_query(first + r) * width + column,
                                      layer_.after_attention, column, values, attended + r * width + column);
                       });
    });
    for (size_t r = 0; r < count; ++r) {
      float* row = attended + r * width;
      normalise_row<V>(row, width, layer_.after_attention.gain, layer_.after_attention.bias, layer_.epsilon);
      codes.scales[r] = quantise_row<V>(row, width, layer_.up.static_scale, codes.codes + r * width);
    }
    share_panels(shared, inner, [&](size_t begin, size_t end) {
      multiply_rows<V>(layer_.up, codes, count, 128, begin, end,
                       [&](size_t r, size_t column, const typename V::F* values) {
                         for (size_t j = 0; j < 4; ++j)
                           V::store(activated + r * inner + column + kLanes * j,
                                    activate<V>(values[j], layer_.activation));
                       });
    });
    for (size_t r = 0; r < count; ++r)
      codes.scales[r] = quantise_activated_row<V>(activated + r * inner, layer_, codes.codes + r * inner);
    share_panels(shared, width, [&](size_t begin, size_t end) {
      multiply_rows<V>(layer_.down, codes, count, layer_.zero_point, begin, end,
                       [&](size_t r, size_t column, const typename V::F* values) {
                         add_residual(attended + r * width + column, layer_.after_feed_forward, column, values,
                                      output_of_query(first + r) + column);
                       });
    });
    for (size_t r = 0; r < count; ++r)
      normalise_row<V>(output_of_query(first + r), width, layer_.after_feed_forward.gain, layer_.after_feed_forward.bias,
                       layer_.epsilon);
  }

  // values + residual * its scale, of 64 columns.
  void add_residual(const float* residual, const Normalisation& norm, size_t column, const typename V::F* values,
                    float* to) {
    for (size_t j = 0; j < 4; ++j) {
      const typename V::F x = V::load(residual + kLanes * j);
      V::store(to + kLanes * j, norm.residual_scale == nullptr
                                    ? V::add(values[j], x)
                                    : V::fma(x, V::load(norm.residual_scale + column + kLanes * j), values[j]));
    }
  }

  // A text with a value that is not usable has no result. Codes cannot express NaN, so its rows are filled with NaN.
  void spoil(size_t text) {
    const size_t rows = layer_.first_token ? 1 : layer_.starts[text + 1] - layer_.starts[text];
    float* output = output_of_query(layer_.first_token ? text : layer_.starts[text]);
    for (size_t i = 0; i < rows * layer_.width; ++i) output[i] = __builtin_nanf("");
  }

  void clear_padding(size_t text) {
    const size_t count = layer_.starts[text + 1] - layer_.starts[text];
    float* output = layer_.output + (text * layer_.tokens + count) * layer_.width;
    __builtin_memset(output, 0, (layer_.tokens - count) * layer_.width * sizeof(float));
  }

  const EncoderLayer& layer_;
  Parallel& parallel_;
  const size_t size_, rows_, queries_;
  Scratch scratch_;
  Projections all_;
  float* context_ = nullptr;
  std::atomic<uint8_t>* broken_ = nullptr;
  uint32_t* text_of_ = nullptr;  // of each row
};

}  // namespace
}  // namespace embedge
