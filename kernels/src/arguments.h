// The inputs of the operators as plain pointers. The operators (operators.cpp) fill these structs from ONNX Runtime's
// tensors, and the code of each instruction set reads them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace embedge {

// Widths of rows are multiples of this: the columns of one packed panel of a weight.
constexpr size_t kPanel = 64;

// More products of a code (up to 255) and a weight (down to -128) may not fit into 32 bits.
constexpr size_t kMostDepth = size_t{1} << 16;

enum class Activation { kGelu = 0, kGeluTanh = 1, kRelu = 2 };
enum class HeadActivation { kNone = 0, kTanh = 1, kRelu = 2 };

// A weight in the order in which an instruction set reads it.
struct Packed {
  const int8_t* panels = nullptr;  // [columns / 64] panels; null if they are made in each run
  const int32_t* sums = nullptr;   // of each column, [columns]
};

// A linear layer with int8 weights: rows of `depth` values become rows of `columns` values.
// With a static scale, `scales` contain it already. Without one, each row has a scale of its own (dynamic).
struct Linear {
  const int8_t* weight = nullptr;       // [depth, columns]
  const float* scales = nullptr;        // [columns]
  const float* bias = nullptr;          // [columns], or null
  const float* static_scale = nullptr;  // of the rows; null if the rows have dynamic scales
  size_t depth = 0;
  size_t columns = 0;
  Packed packed;
};

struct Normalisation {
  const float* gain = nullptr;            // [width]
  const float* bias = nullptr;            // [width]
  const float* residual_scale = nullptr;  // [width], multiplies the residual; or null
};

// EncoderLayer: attention and feed-forward, each added to its input and normalised.
struct EncoderLayer {
  const float* hidden = nullptr;   // [batch, tokens, width]; what stands behind the end of a text is not read
  float* output = nullptr;         // [batch, tokens, width], zeros behind the end of a text; or with first_token
                                   // [batch, 1, width]
  const size_t* starts = nullptr;  // [batch + 1], how many tokens the texts in front of each text have
  size_t batch = 0;
  size_t tokens = 0;
  size_t width = 0;
  size_t heads = 0;
  bool first_token = false;  // compute only the first token of each text
  Linear qkv;                // of K and V alone, with first_token
  Linear query;              // only with first_token
  Linear out;
  Linear up;
  Linear down;
  Normalisation after_attention;
  Normalisation after_feed_forward;
  float epsilon = 0;
  Activation activation = Activation::kGelu;
  // The rows of `down`: scale = max(max(row) * step, least), code = round(x / scale) + zero_point.
  int32_t zero_point = 0;
  float step = 0;
  float least = 0;
};

// EmbedLayerNorm: word and position embeddings, added and normalised.
struct Embedding {
  const int64_t* ids = nullptr;            // [batch, tokens], each in [0, vocabulary); of padding, anything
  const int64_t* mask = nullptr;           // [batch, tokens], 1, or 0 for padding
  const int64_t* positions_of = nullptr;   // [batch, tokens], each in [0, positions); or null: 0, 1, 2, ...
  const int8_t* words = nullptr;           // [vocabulary, width]
  const float* word_scales = nullptr;      // [vocabulary]
  const float* positions = nullptr;        // [positions, width]
  const float* gain = nullptr;             // [width]
  const float* bias = nullptr;             // [width]
  float* output = nullptr;                 // [batch, tokens, width], zeros for padding
  size_t rows = 0;                         // batch * tokens
  size_t tokens = 0;
  size_t width = 0;
  float epsilon = 0;
};

// RowLinear: a linear layer of a head.
struct RowLinear {
  const float* rows = nullptr;  // [count, depth]
  float* output = nullptr;      // [count, columns]
  size_t count = 0;
  Linear linear;
  HeadActivation activation = HeadActivation::kNone;
};

// RowDot: a linear layer with one output, in float32.
struct RowDot {
  const float* rows = nullptr;    // [count, depth]
  const float* weight = nullptr;  // [depth]
  float bias = 0;
  float* output = nullptr;  // [count]
  size_t count = 0;
  size_t depth = 0;
  bool relu = false;
};

}  // namespace embedge
