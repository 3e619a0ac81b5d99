// CheckFields: the rules that the schema itself states.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cmath>
#include <optional>
#include <string>

#include "configs/keys.h"
#include "configs/validate.h"
#include "proto/run_config.pb.h"

namespace fedpeft::configs {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

bool InRange(double value, const v1::Key& key) {
  if (!std::isfinite(value)) return false;
  if (key.has_min() && (key.above_min() ? value <= key.min() : value < key.min())) return false;
  return !key.has_max() || value <= key.max();
}

class FieldChecker {
 public:
  explicit FieldChecker(std::vector<Finding>* findings) : findings_(findings) {}

  void Check(const Message& message, const std::string& path) {
    const auto* reflection = message.GetReflection();
    if (!reflection->GetUnknownFields(message).empty()) {
      findings_->push_back({path, "holds fields that are not known here (written by another version of fedpeft?)"});
    }
    for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor& field = *message.GetDescriptor()->field(i);
      const std::string key_path = JoinKey(path, field.name());
      if (field.is_repeated()) {
        CheckList(message, field, key_path);
      } else if (!reflection->HasField(message, &field)) {
        CheckMissing(field, key_path);
      } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Check(reflection->GetMessage(message, &field), key_path);
      } else {
        CheckValue(message, field, key_path);
      }
    }
  }

 private:
  void CheckList(const Message& message, const FieldDescriptor& field, const std::string& path) {
    const auto* reflection = message.GetReflection();
    const int size = reflection->FieldSize(message, &field);
    const v1::Key& key = KeyOf(field);
    if (size == 0 && (key.required() || !key.default_value().empty())) {
      findings_->push_back({path, "is missing or empty, want " + WantText(field) + ": " + key.help()});
    }
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return;
    for (int i = 0; i < size; ++i) {
      Check(reflection->GetRepeatedMessage(message, &field, i), JoinKey(path, std::to_string(i)));
    }
  }

  /// What is neither required nor has a default may be absent; the loader makes the messages that may be.
  void CheckMissing(const FieldDescriptor& field, const std::string& path) {
    const v1::Key& key = KeyOf(field);
    const bool made = field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && field.real_containing_oneof() == nullptr;
    if (!key.required() && key.default_value().empty() && !made) return;
    findings_->push_back({path, "is missing, want " + WantText(field) + ": " + key.help()});
  }

  void CheckValue(const Message& message, const FieldDescriptor& field, const std::string& path) {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      const int value = message.GetReflection()->GetEnumValue(message, &field);
      if (value != 0 && field.enum_type()->FindValueByNumber(value) != nullptr) return;
      findings_->push_back({path, "got the unknown value " + std::to_string(value) + ", want " + WantText(field)});
      return;
    }
    const std::optional<double> number = NumberOf(message, field);
    if (number && !InRange(*number, KeyOf(field))) {
      findings_->push_back({path, "got " + ScalarText(message, field) + ", want " + WantText(field)});
    }
  }

  std::vector<Finding>* findings_;
};

}  // namespace

void CheckFields(const Message& message, std::vector<Finding>* findings) {
  FieldChecker(findings).Check(message, "");
}

}  // namespace fedpeft::configs
