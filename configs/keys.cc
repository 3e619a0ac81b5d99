#include "configs/keys.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <type_traits>

#include "configs/finding.h"
#include "proto/run_config.pb.h"

namespace fedpeft::configs {

namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

/// Shortest text that reads back as the same number.
template <typename T>
std::string NumberText(T value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if constexpr (std::is_floating_point_v<T>) {
    if (!std::isfinite(value)) return std::nullopt;
  }
  return value;
}

const EnumValueDescriptor* ParseEnum(std::string_view text, const EnumDescriptor& type) {
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0 && EnumName(*type.value(i)) == text) return type.value(i);
  }
  return nullptr;
}

std::optional<bool> ParseBool(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return std::nullopt;
}

/// Number of single-character changes between two texts (Levenshtein). Cost: product of the lengths.
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

/// `message.field = value`, or an item more of a repeated field.
class Writer {
 public:
  Writer(Message* message, const FieldDescriptor* field)
      : message_(message), field_(field), reflection_(message->GetReflection()) {}

  bool Write(std::optional<std::int64_t> v) const { return Put(v, &Reflection::SetInt64, &Reflection::AddInt64); }
  bool Write(std::optional<std::uint64_t> v) const { return Put(v, &Reflection::SetUInt64, &Reflection::AddUInt64); }
  bool Write(std::optional<std::uint32_t> v) const { return Put(v, &Reflection::SetUInt32, &Reflection::AddUInt32); }
  bool Write(std::optional<double> v) const { return Put(v, &Reflection::SetDouble, &Reflection::AddDouble); }
  bool Write(std::optional<bool> v) const { return Put(v, &Reflection::SetBool, &Reflection::AddBool); }
  bool Write(std::optional<std::string> v) const { return Put(v, &Reflection::SetString, &Reflection::AddString); }
  bool Write(const EnumValueDescriptor* v) const {
    return Put(v == nullptr ? std::nullopt : std::optional(v), &Reflection::SetEnum, &Reflection::AddEnum);
  }

 private:
  template <typename T, typename Set, typename Add>
  bool Put(std::optional<T> value, Set set, Add add) const {
    if (!value) return false;
    if (field_->is_repeated()) {
      (reflection_->*add)(message_, field_, *std::move(value));
    } else {
      (reflection_->*set)(message_, field_, *std::move(value));
    }
    return true;
  }

  Message* message_;
  const FieldDescriptor* field_;
  const Reflection* reflection_;
};

std::string Article(std::string_view noun) {
  const bool vowel = std::string_view("aeiou").find(noun.front()) != std::string_view::npos;
  return std::string(vowel ? "an " : "a ").append(noun);
}

}  // namespace

const v1::Key& KeyOf(const FieldDescriptor& field) {
  return field.options().GetExtension(v1::key);
}

std::string EnumName(const EnumValueDescriptor& value) {
  std::string name = value.name();
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return name;
}

std::vector<std::string> EnumNames(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0) names.push_back(EnumName(*type.value(i)));
  }
  return names;
}

std::string ItemTypeText(const FieldDescriptor& field) {
  std::string text;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      text = "map";
      break;
    case FieldDescriptor::CPPTYPE_ENUM: {
      const std::vector<std::string> names = EnumNames(*field.enum_type());
      for (std::size_t i = 0; i < names.size(); ++i) {
        text += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
      }
      break;
    }
    case FieldDescriptor::CPPTYPE_STRING:
      text = "string";
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      text = "number";
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      text = "true or false";
      break;
    default:
      text = "integer";
  }
  return text;
}

std::string TypeText(const FieldDescriptor& field) {
  return field.is_repeated() ? "list of " + ItemTypeText(field) + "s" : ItemTypeText(field);
}

std::string RangeText(const FieldDescriptor& field) {
  const v1::Key& key = KeyOf(field);
  const std::string max = key.has_max() ? NumberText(key.max()) : "";
  if (!key.has_min()) return max.empty() ? "" : "at most " + max;
  const std::string min = NumberText(key.min());
  if (key.above_min()) return "above " + min + (max.empty() ? "" : ", at most " + max);
  return max.empty() ? "at least " + min : min + " to " + max;
}

std::string WantText(const FieldDescriptor& field) {
  const bool named =
      field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM || field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL;
  std::string text = named && !field.is_repeated() ? TypeText(field) : Article(TypeText(field));
  if (const std::string range = RangeText(field); !range.empty()) text += ", " + range;
  return text;
}

Status ParseScalar(std::string_view text, bool quoted, const FieldDescriptor& field, Message* message) {
  const Writer writer(message, &field);
  bool written = false;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      written = writer.Write(std::optional(std::string(text)));
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      written = !quoted && writer.Write(ParseNumber<std::int64_t>(text));
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      written = !quoted && writer.Write(ParseNumber<std::uint64_t>(text));
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      written = !quoted && writer.Write(ParseNumber<std::uint32_t>(text));
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      written = !quoted && writer.Write(ParseNumber<double>(text));
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      written = !quoted && writer.Write(ParseBool(text));
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      written = writer.Write(ParseEnum(text, *field.enum_type()));
      break;
    default:
      FEDPEFT_CHECK(false);  // the schema has no other scalar types
  }
  if (written) return OkStatus();
  std::string hint;
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) hint = Suggestion(text, EnumNames(*field.enum_type()));
  if (quoted && hint.empty()) hint = " (without quotes)";
  return InvalidArgument("got " + Quoted(text) + ", want " + WantText(field) + hint);
}

std::string ScalarText(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& r = *message.GetReflection();
  const bool many = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return many ? r.GetRepeatedString(message, &field, index) : r.GetString(message, &field);
    case FieldDescriptor::CPPTYPE_INT64:
      return NumberText(many ? r.GetRepeatedInt64(message, &field, index) : r.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return NumberText(many ? r.GetRepeatedUInt64(message, &field, index) : r.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return NumberText(many ? r.GetRepeatedUInt32(message, &field, index) : r.GetUInt32(message, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return NumberText(many ? r.GetRepeatedDouble(message, &field, index) : r.GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return (many ? r.GetRepeatedBool(message, &field, index) : r.GetBool(message, &field)) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumName(many ? *r.GetRepeatedEnum(message, &field, index) : *r.GetEnum(message, &field));
    default:
      FEDPEFT_CHECK(false);
  }
  return {};
}

std::optional<double> NumberOf(const Message& message, const FieldDescriptor& field) {
  const Reflection& r = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return static_cast<double>(r.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return static_cast<double>(r.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return static_cast<double>(r.GetUInt32(message, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return r.GetDouble(message, &field);
    default:
      return std::nullopt;
  }
}

std::string Suggestion(std::string_view got, const std::vector<std::string>& names) {
  constexpr std::size_t kLongestName = 64;
  if (got.size() > kLongestName) return "";
  const std::string* best = nullptr;
  std::size_t best_distance = std::max<std::size_t>(2, got.size() / 3) + 1;
  for (const std::string& name : names) {
    const std::size_t distance = EditDistance(got, name);
    if (distance < best_distance && distance < name.size()) {
      best = &name;
      best_distance = distance;
    }
  }
  return best == nullptr ? "" : " (did you mean " + Quoted(*best) + "?)";
}

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

}  // namespace fedpeft::configs
