// The operators that ONNX Runtime calls: each reads its inputs, checks them, and runs the code of the instruction set.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <vector>

#include "instruction_set.h"
#include "packed_weights.h"
#include "tensors.h"

namespace embedge {
namespace {

// Set by RegisterCustomOps; the operators of a session keep the one that they were made with.
std::atomic<const InstructionSet*> chosen{nullptr};

// The threads of the session that runs an operator.
class SessionThreads : public Parallel {
 public:
  SessionThreads(const void* const* api, ort::KernelContext* context) : api_(api), context_(context) {}

  void run(size_t count, void (*task)(void*, size_t), void* argument) override {
    if (count == 1) return task(argument, 0);
    Guarded guarded{task, argument, {false}};
    check<ort::ParallelFor>(api_, static_cast<const ort::KernelContext*>(context_), &Guarded::call, count, size_t{0},
                            static_cast<void*>(&guarded));
    if (guarded.failed) throw std::bad_alloc();
  }

 private:
  // An exception must not leave a thread of ONNX Runtime. The only one that a task throws is std::bad_alloc.
  struct Guarded {
    void (*task)(void*, size_t);
    void* argument;
    std::atomic<bool> failed;

    static void call(void* self, size_t index) {
      Guarded& guarded = *static_cast<Guarded*>(self);
      try {
        guarded.task(guarded.argument, index);
      } catch (...) {
        guarded.failed = true;
      }
    }
  };

  const void* const* api_;
  ort::KernelContext* context_;
};

int64_t int_attribute(const void* const* api, const ort::KernelInfo* info, const char* name) {
  int64_t value = 0;
  check<ort::GetIntAttribute>(api, info, name, &value);
  return value;
}

float float_attribute(const void* const* api, const ort::KernelInfo* info, const char* name) {
  float value = 0;
  check<ort::GetFloatAttribute>(api, info, name, &value);
  return value;
}

void require(bool holds, const char* message) {
  if (!holds) throw BadInput(message);
}

// Four inputs from `first` on: weight, scales, bias, static scale.
Linear linear_layer(const Inputs& inputs, size_t first, size_t depth, size_t columns) {
  Linear linear;
  const Tensor<int8_t> weight = inputs.tensor<int8_t>(first, 2);
  if (weight.shape[0] != depth || (columns != 0 && weight.shape[1] != columns)) inputs.refuse(first, "has another shape");
  linear.weight = weight.data;
  linear.depth = depth;
  linear.columns = weight.shape[1];
  if (depth == 0 || depth % kPanel != 0 || linear.columns == 0 || linear.columns % kPanel != 0)
    inputs.refuse(first, "has sides that are not multiples of 64");
  if (depth > kMostDepth) inputs.refuse(first, "has more rows than sums of 32 bits can hold");
  linear.scales = inputs.vector<float>(first + 1, linear.columns);
  linear.bias = inputs.optional_vector(first + 2, linear.columns);
  return linear;
}

Linear linear_layer_with_scale(const Inputs& inputs, size_t first, size_t depth, size_t columns) {
  Linear linear = linear_layer(inputs, first, depth, columns);
  linear.static_scale = inputs.optional_vector(first + 3, 1);
  return linear;
}

Normalisation normalisation(const Inputs& inputs, size_t first, size_t width) {
  return {inputs.vector<float>(first + 1, width), inputs.vector<float>(first + 2, width),
          inputs.optional_vector(first, width)};
}

// How many tokens the texts in front of each text have, [batch + 1], from an attention mask [batch, tokens]: 1 for a
// token, and 0 for padding, which comes last.
std::vector<size_t> starts_of_texts(const Inputs& inputs, size_t index, size_t batch, size_t tokens) {
  const Tensor<int64_t> mask = inputs.tensor<int64_t>(index, 2);
  if (mask.shape[0] != batch || mask.shape[1] != tokens) inputs.refuse(index, "has another shape");
  std::vector<size_t> starts(batch + 1);
  for (size_t text = 0; text < batch; ++text) {
    const int64_t* row = mask.data + text * tokens;
    size_t count = 0;
    while (count < tokens && row[count] == 1) ++count;
    for (size_t i = count; i < tokens; ++i)
      if (row[i] != 0) inputs.refuse(index, "is not 1 for tokens and then 0 for padding");
    if (count == 0) inputs.refuse(index, "has a text without tokens");
    starts[text + 1] = starts[text] + count;
  }
  return starts;
}

struct EncoderLayerOperator {
  static constexpr const char* kName = "EncoderLayer";
  static constexpr size_t kInputs = 26;
  static constexpr int type_of(size_t index) {
    if (index == 25) return ort::kInt64;
    return index == 1 || index == 5 || index == 9 || index == 15 || index == 19 ? ort::kInt8 : ort::kFloat;
  }
  static constexpr bool is_optional(size_t index) {
    return index == 4 || (index >= 5 && index <= 8) || index == 12 || index == 18 || index == 22;
  }

  EncoderLayer layer;
  PackedWeights packed;

  EncoderLayerOperator(const void* const* api, const ort::KernelInfo* info) {
    layer.heads = static_cast<size_t>(int_attribute(api, info, "num_heads"));
    layer.epsilon = float_attribute(api, info, "epsilon");
    layer.first_token = int_attribute(api, info, "first_token") != 0;
    const int64_t activation = int_attribute(api, info, "activation");
    require(activation >= 0 && activation <= 2, "EncoderLayer: activation must be 0, 1 or 2");
    layer.activation = static_cast<Activation>(activation);
    const int64_t zero_point = int_attribute(api, info, "zero_point");
    require(zero_point >= 0 && zero_point <= 255, "EncoderLayer: zero_point must be within 0 and 255");
    layer.zero_point = static_cast<int32_t>(zero_point);
    layer.step = float_attribute(api, info, "step");
    layer.least = float_attribute(api, info, "least");
  }

  void run(const InstructionSet& set, const Inputs& inputs, Parallel& parallel) {
    EncoderLayer run = layer;
    const Tensor<float> hidden = inputs.tensor<float>(0, 3);
    run.hidden = hidden.data;
    run.batch = hidden.shape[0];
    run.tokens = hidden.shape[1];
    const size_t width = run.width = hidden.shape[2];
    // Divided, not multiplied: the product of a damaged number of heads would wrap.
    require(run.heads != 0 && width % run.heads == 0 && (width / run.heads == 32 || width / run.heads == 64),
            "EncoderLayer: heads must be 32 or 64 wide");
    run.qkv = linear_layer_with_scale(inputs, 1, width, run.first_token ? 2 * width : 3 * width);
    if (run.first_token) run.query = linear_layer_with_scale(inputs, 5, width, width);
    run.out = linear_layer(inputs, 9, width, width);
    run.after_attention = normalisation(inputs, 12, width);
    run.up = linear_layer_with_scale(inputs, 15, width, 0);
    run.down = linear_layer(inputs, 19, run.up.columns, width);
    run.after_feed_forward = normalisation(inputs, 22, width);
    Shape shape = hidden.shape;
    if (run.first_token) shape.sizes[1] = 1;
    run.output = inputs.output(shape);
    if (run.batch == 0) return;
    const std::vector<size_t> starts = starts_of_texts(inputs, 25, run.batch, run.tokens);
    run.starts = starts.data();
    Linear* const layers[] = {&run.qkv, &run.out, &run.up, &run.down, &run.query};
    packed.prepare(set, layers, run.first_token ? 5 : 4);
    set.encoder_layer(run, parallel);
  }
};

struct EmbedLayerNormOperator {
  static constexpr const char* kName = "EmbedLayerNorm";
  static constexpr size_t kInputs = 8;
  static constexpr int type_of(size_t index) {
    return index == 0 || index == 1 || index == 7 ? ort::kInt64 : index == 2 ? ort::kInt8 : ort::kFloat;
  }
  static constexpr bool is_optional(size_t index) { return index == 7; }

  float epsilon;

  EmbedLayerNormOperator(const void* const* api, const ort::KernelInfo* info)
      : epsilon(float_attribute(api, info, "epsilon")) {}

  void run(const InstructionSet& set, const Inputs& inputs, Parallel&) const {
    Embedding e;
    const Tensor<int64_t> ids = inputs.tensor<int64_t>(0, 2);
    const Tensor<int8_t> words = inputs.tensor<int8_t>(2, 2);
    const Tensor<float> positions = inputs.tensor<float>(4, 2);
    e.ids = ids.data;
    e.tokens = ids.shape[1];
    e.rows = ids.shape.elements();
    e.words = words.data;
    e.width = words.shape[1];
    e.word_scales = inputs.vector<float>(3, words.shape[0]);
    e.positions = positions.data;
    if (e.width == 0 || e.width % kPanel != 0) inputs.refuse(2, "is not a multiple of 64 wide");
    if (positions.shape[1] != e.width) inputs.refuse(4, "has another width than the words");
    e.gain = inputs.vector<float>(5, e.width);
    e.bias = inputs.vector<float>(6, e.width);
    e.epsilon = epsilon;
    if (inputs.has(7)) e.positions_of = inputs.vector<int64_t>(7, e.rows);
    starts_of_texts(inputs, 1, ids.shape[0], e.tokens);  // checks the mask
    e.mask = inputs.vector<int64_t>(1, e.rows);
    for (size_t i = 0; i < e.rows; ++i) {
      if (e.mask[i] == 0) continue;
      if (ids.data[i] < 0 || static_cast<size_t>(ids.data[i]) >= words.shape[0])
        inputs.refuse(0, "has a token id that is not in the vocabulary");
      const int64_t place = e.positions_of == nullptr ? static_cast<int64_t>(i % e.tokens) : e.positions_of[i];
      if (place < 0 || static_cast<size_t>(place) >= positions.shape[0])
        inputs.refuse(inputs.has(7) ? 7 : 0, "has more tokens than there are positions");
    }
    Shape shape = ids.shape;
    shape.sizes[shape.count++] = static_cast<int64_t>(e.width);
    e.output = inputs.output(shape);
    set.embedding(e);
  }
};

struct RowLinearOperator {
  static constexpr const char* kName = "RowLinear";
  static constexpr size_t kInputs = 5;
  static constexpr int type_of(size_t index) { return index == 1 ? ort::kInt8 : ort::kFloat; }
  static constexpr bool is_optional(size_t index) { return index >= 3; }

  HeadActivation activation;

  RowLinearOperator(const void* const* api, const ort::KernelInfo* info) {
    const int64_t value = int_attribute(api, info, "activation");
    require(value >= 0 && value <= 2, "RowLinear: activation must be 0, 1 or 2");
    activation = static_cast<HeadActivation>(value);
  }

  void run(const InstructionSet& set, const Inputs& inputs, Parallel& parallel) const {
    RowLinear head;
    const Tensor<float> rows = inputs.tensor<float>(0, 0);
    if (rows.shape.count == 0) inputs.refuse(0, "is a scalar");
    head.rows = rows.data;
    head.linear = linear_layer_with_scale(inputs, 1, rows.shape.last(), 0);
    head.count = rows.shape.elements() / head.linear.depth;
    head.activation = activation;
    Shape shape = rows.shape;
    shape.sizes[shape.count - 1] = static_cast<int64_t>(head.linear.columns);
    head.output = inputs.output(shape);
    if (head.count != 0) set.row_linear(head, parallel);
  }
};

struct RowDotOperator {
  static constexpr const char* kName = "RowDot";
  static constexpr size_t kInputs = 3;
  static constexpr int type_of(size_t) { return ort::kFloat; }
  static constexpr bool is_optional(size_t) { return false; }

  bool relu;

  RowDotOperator(const void* const* api, const ort::KernelInfo* info) : relu(int_attribute(api, info, "relu") != 0) {}

  void run(const InstructionSet& set, const Inputs& inputs, Parallel&) const {
    RowDot head;
    const Tensor<float> rows = inputs.tensor<float>(0, 0);
    if (rows.shape.count == 0 || rows.shape.last() == 0 || rows.shape.last() % kPanel != 0)
      inputs.refuse(0, "is not a multiple of 64 wide");
    head.rows = rows.data;
    head.depth = rows.shape.last();
    head.count = rows.shape.elements() / head.depth;
    head.weight = inputs.vector<float>(1, head.depth);
    head.bias = *inputs.vector<float>(2, 1);
    head.relu = relu;
    Shape shape = rows.shape;
    --shape.count;
    head.output = inputs.output(shape);
    set.row_dot(head);
  }
};

template <class Operator>
struct Kernel {
  const void* const* api;
  const InstructionSet* set;
  Operator op;

  Kernel(const void* const* table, const ort::KernelInfo* info) : api(table), set(chosen.load()), op(table, info) {}
};

template <class Body>
ort::Status* as_status(const void* const* api, Body body) {
  try {
    body();
    return nullptr;
  } catch (const BadInput& error) {
    return ort::CreateStatus::call(api, ort::kInvalidArgument, error.what());
  } catch (const std::bad_alloc&) {
    return ort::CreateStatus::call(api, ort::kFail, "out of memory");
  } catch (const std::exception& error) {
    return ort::CreateStatus::call(api, ort::kFail, error.what());
  }
}

// ONNX Runtime's description of an operator.
template <class Operator>
const ort::CustomOp* describe() {
  static const ort::CustomOp op = [] {
    ort::CustomOp o{};
    o.version = ort::kApiVersion;
    o.get_name = [](const ort::CustomOp*) { return Operator::kName; };
    o.get_provider = [](const ort::CustomOp*) -> const char* { return nullptr; };  // the CPU
    o.get_input_type = [](const ort::CustomOp*, size_t index) { return Operator::type_of(index); };
    o.get_input_count = [](const ort::CustomOp*) { return Operator::kInputs; };
    o.get_output_type = [](const ort::CustomOp*, size_t) { return static_cast<int>(ort::kFloat); };
    o.get_output_count = [](const ort::CustomOp*) { return size_t{1}; };
    o.get_input_characteristic = [](const ort::CustomOp*, size_t index) {
      return static_cast<int>(Operator::is_optional(index) ? ort::kOptional : ort::kRequired);
    };
    o.get_output_characteristic = [](const ort::CustomOp*, size_t) { return static_cast<int>(ort::kRequired); };
    o.get_input_memory = [](const ort::CustomOp*, size_t) { return 0; };
    o.get_least_inputs = [](const ort::CustomOp*) { return 0; };
    o.are_inputs_of_one_type = [](const ort::CustomOp*) { return 0; };
    o.get_least_outputs = [](const ort::CustomOp*) { return 0; };
    o.are_outputs_of_one_type = [](const ort::CustomOp*) { return 0; };
    o.get_first_version = [](const ort::CustomOp*) { return 1; };
    o.get_last_version = [](const ort::CustomOp*) { return 1; };
    o.create_kernel_v2 = [](const ort::CustomOp*, const void* const* api, const ort::KernelInfo* info,
                            void** kernel) -> ort::Status* {
      return as_status(api, [&] { *kernel = new Kernel<Operator>(api, info); });
    };
    o.compute_v2 = [](void* kernel, ort::KernelContext* context) -> ort::Status* {
      auto& self = *static_cast<Kernel<Operator>*>(kernel);
      return as_status(self.api, [&] {
        SessionThreads threads(self.api, context);
        self.op.run(*self.set, Inputs(Operator::kName, self.api, context), threads);
      });
    };
    o.destroy = [](void* kernel) { delete static_cast<Kernel<Operator>*>(kernel); };
    return o;
  }();
  return &op;
}

const InstructionSet* choose() {
  const InstructionSet* const* sets = instruction_sets();
  const char* wanted = std::getenv("EMBEDGE_KERNELS_ISA");
  if (wanted == nullptr || *wanted == '\0') return *sets;
  for (; *sets != nullptr; ++sets)
    if (std::strcmp((*sets)->name, wanted) == 0) return *sets;
  throw BadInput(std::string("EMBEDGE_KERNELS_ISA is ") + wanted + ", which this processor or this build does not have; unset it, or see `embedge info`");
}

}  // namespace
}  // namespace embedge

// Called by ONNX Runtime when a session's options register this library.
EMBEDGE_EXPORT embedge::ort::Status* EMBEDGE_CALL RegisterCustomOps(embedge::ort::SessionOptions* options,
                                                                    const embedge::ort::ApiBase* base) {
  using namespace embedge;
  const void* const* api = base->get_api(ort::kApiVersion);
  if (api == nullptr) return ort::CreateStatus::call(base->get_api(1), ort::kFail, "needs ONNX Runtime 1.17 or later");
  return as_status(api, [&] {
    chosen = choose();
    // One for the process: ONNX Runtime never frees it, and a session needs it for as long as it lives.
    static ort::CustomOpDomain* const domain = [api] {
      ort::CustomOpDomain* made = nullptr;
      check<ort::CreateCustomOpDomain>(api, "embedge", &made);
      for (const ort::CustomOp* op : {describe<EncoderLayerOperator>(), describe<EmbedLayerNormOperator>(),
                                      describe<RowLinearOperator>(), describe<RowDotOperator>()})
        check<ort::AddToDomain>(api, made, op);
      return made;
    }();
    check<ort::AddDomain>(api, options, domain);
  });
}

// The instruction set that the operators use, or would use before any session registered them; "" if the environment
// names one that is not there.
EMBEDGE_EXPORT const char* embedge_kernels_instruction_set() {
  try {
    return embedge::choose()->name;
  } catch (const std::exception&) {
    return "";
  }
}
