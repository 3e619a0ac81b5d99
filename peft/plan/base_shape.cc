#include "peft/plan/base_shape.h"

#include <array>
#include <string_view>

#include "peft/plan/architecture.h"

namespace fedpeft {

namespace {

struct Bound {
  std::string_view key;
  std::int64_t BaseShape::*field;
  std::int64_t min;
  std::int64_t max;
};

constexpr std::array<Bound, 10> kBounds = {
    {{"hidden_size", &BaseShape::hidden_size, 1, 1 << 16},
     {"num_hidden_layers", &BaseShape::num_hidden_layers, 1, 1 << 10},
     {"num_attention_heads", &BaseShape::num_attention_heads, 1, 1 << 10},
     {"intermediate_size", &BaseShape::intermediate_size, 1, 1 << 18},
     {"vocab_size", &BaseShape::vocab_size, 1, 1 << 22},
     {"max_position_embeddings", &BaseShape::max_position_embeddings, 1, 1 << 24},
     {"num_key_value_heads", &BaseShape::num_key_value_heads, 0, 1 << 10},
     {"head_dim", &BaseShape::head_dim, 0, 1 << 12},
     {"position_offset", &BaseShape::position_offset, 0, 1 << 22},
     {"type_vocab_size", &BaseShape::type_vocab_size, 0, 1 << 16}}};

Status CheckBounds(const BaseShape& shape) {
  for (const Bound& bound : kBounds) {
    const std::int64_t value = shape.*bound.field;
    if (value < bound.min || value > bound.max) {
      return InvalidArgument("base." + std::string(bound.key) + ": got " + std::to_string(value) + ", want " +
                             std::to_string(bound.min) + " to " + std::to_string(bound.max));
    }
  }
  return OkStatus();
}

}  // namespace

bool BaseShape::operator==(const BaseShape& other) const {
  const bool types_agree =
      type_vocab_size == 0 || other.type_vocab_size == 0 || type_vocab_size == other.type_vocab_size;
  return types_agree && model_type == other.model_type && hidden_size == other.hidden_size &&
         num_hidden_layers == other.num_hidden_layers && num_attention_heads == other.num_attention_heads &&
         intermediate_size == other.intermediate_size && vocab_size == other.vocab_size &&
         max_position_embeddings == other.max_position_embeddings && kv_heads() == other.kv_heads() &&
         head_width() == other.head_width() && position_offset == other.position_offset &&
         attention_bias == other.attention_bias && mlp_bias == other.mlp_bias &&
         tie_word_embeddings == other.tie_word_embeddings;
}

Status CheckBaseShape(const BaseShape& shape) {
  ASSIGN_OR_RETURN(const Architecture* architecture, FindArchitecture(shape.model_type));
  RETURN_IF_ERROR(CheckBounds(shape));
  if (shape.head_dim == 0 && shape.hidden_size % shape.num_attention_heads != 0) {
    return InvalidArgument("base.hidden_size: got " + std::to_string(shape.hidden_size) +
                           ", want a multiple of base.num_attention_heads (" +
                           std::to_string(shape.num_attention_heads) + ")");
  }
  if (shape.num_attention_heads % shape.kv_heads() != 0) {
    return InvalidArgument("base.num_key_value_heads: got " + std::to_string(shape.kv_heads()) +
                           ", want a divisor of base.num_attention_heads (" +
                           std::to_string(shape.num_attention_heads) + ")");
  }
  if (shape.longest() < 1) {
    return InvalidArgument("base.position_offset: got " + std::to_string(shape.position_offset) +
                           ", want less than base.max_position_embeddings (" +
                           std::to_string(shape.max_position_embeddings) + ")");
  }
  return architecture->check(shape);
}

}  // namespace fedpeft
