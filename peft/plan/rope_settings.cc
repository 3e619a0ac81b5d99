#include "peft/plan/rope_settings.h"

namespace fedpeft {

namespace {

RopeSettings::Kind ReadKind(ConfigReader& rope) {
  const std::string type = rope.Text("rope_type", rope.Text("type", "default"));
  if (type == "default") return RopeSettings::Kind::kPlain;
  if (type == "linear") return RopeSettings::Kind::kLinear;
  if (type == "llama3") return RopeSettings::Kind::kLlama3;
  rope.Fail(Unimplemented("rope_type: got \"" + type + "\", want default, linear or llama3"));
  return RopeSettings::Kind::kPlain;
}

double ReadNeeded(ConfigReader& rope, const char* key) {
  if (!rope.Has(key)) rope.Fail(InvalidArgument(std::string(key) + ": is missing, want a positive number"));
  return rope.Positive(key, 1);
}

/// A part of the head's width alone is rotated.
void RefusePartial(ConfigReader& reader) {
  const double part = reader.Positive("partial_rotary_factor", 1);
  if (part != 1) {
    reader.Fail(Unimplemented("partial_rotary_factor: got " + std::to_string(part) + ", want 1"));
  }
}

}  // namespace

RopeSettings ReadRope(ConfigReader& reader, std::int64_t max_positions) {
  const double theta = reader.Positive("rope_theta", 10000);
  RefusePartial(reader);
  ConfigReader parameters = reader.Object("rope_parameters"), scaling = reader.Object("rope_scaling");
  // Where a file has both, transformers takes the older key.
  const bool old = reader.Has("rope_scaling");
  ConfigReader& rope = old ? scaling : parameters;
  RopeSettings settings;
  settings.theta = rope.Positive("rope_theta", theta);
  settings.kind = ReadKind(rope);
  RefusePartial(rope);
  if (settings.kind != RopeSettings::Kind::kPlain) settings.factor = ReadNeeded(rope, "factor");
  if (settings.kind == RopeSettings::Kind::kLlama3) {
    settings.low_factor = ReadNeeded(rope, "low_freq_factor");
    settings.high_factor = ReadNeeded(rope, "high_freq_factor");
    settings.original_length = rope.Integer("original_max_position_embeddings", max_positions);
    if (settings.low_factor >= settings.high_factor) {
      rope.Fail(InvalidArgument("high_freq_factor: want more than low_freq_factor"));
    }
  }
  const Status status = rope.Finish();
  if (!status.ok()) reader.Fail(status.Annotate(old ? "rope_scaling" : "rope_parameters"));
  return settings;
}

}  // namespace fedpeft
