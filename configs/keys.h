// Keys: what the (key) options of RunConfig's fields say, and how scalars are written in YAML. The one place that reads
// and writes a field by protobuf reflection, for the loader, the checks, the printer and the documentation alike.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"

namespace google::protobuf {
class EnumDescriptor;
class EnumValueDescriptor;
class FieldDescriptor;
class Descriptor;
class Message;
}  // namespace google::protobuf
namespace fedpeft::v1 {
class Key;
}

namespace fedpeft::configs {

/// The field's (key) option. Every field of RunConfig has one (a test holds that).
const v1::Key& KeyOf(const google::protobuf::FieldDescriptor& field);

/// `sequence_classification`: an enum value as it is written.
std::string EnumName(const google::protobuf::EnumValueDescriptor& value);
/// The values that may be given: all but the unspecified zero.
std::vector<std::string> EnumNames(const google::protobuf::EnumDescriptor& type);
/// `string`, `integer`, `number`, `true or false`, `adamw or sgd`, `map`: of a list, an item's.
std::string ItemTypeText(const google::protobuf::FieldDescriptor& field);
/// The same, and for a list `list of strings`.
std::string TypeText(const google::protobuf::FieldDescriptor& field);
/// `1 to 4096`, `above 0, at most 1e6`; empty without bounds.
std::string RangeText(const google::protobuf::FieldDescriptor& field);
/// Type and range, for the `want` of an error: `an integer from 1 to 4096`.
std::string WantText(const google::protobuf::FieldDescriptor& field);

/// Sets a singular scalar field or adds to a repeated one. Plain text only: integers in decimal digits, numbers as
/// from_chars reads them, true or false, enum names. Range is not checked here. Pre: not a message field.
/// Errors: kInvalidArgument `got X, want Y`, the message's field untouched.
Status ParseScalar(std::string_view text, bool quoted, const google::protobuf::FieldDescriptor& field,
                   google::protobuf::Message* message);

/// A singular scalar, or item `index` of a repeated one, as ParseScalar reads it; strings are not quoted.
/// Pre: not a message field.
std::string ScalarText(const google::protobuf::Message& message, const google::protobuf::FieldDescriptor& field,
                       int index = 0);

/// An integer or number of a singular field, as a double; nothing for other types.
std::optional<double> NumberOf(const google::protobuf::Message& message,
                               const google::protobuf::FieldDescriptor& field);

/// ` (did you mean "rank"?)` for the closest of `names`, or nothing when none is close.
std::string Suggestion(std::string_view got, const std::vector<std::string>& names);

/// `a, b, c`.
std::string Joined(const std::vector<std::string>& names);

}  // namespace fedpeft::configs
