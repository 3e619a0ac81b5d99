#include "configs/print.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <string_view>
#include <utility>

#include "configs/finding.h"
#include "configs/keys.h"
#include "proto/run_config.pb.h"

namespace fedpeft::configs {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr std::size_t kLineWidth = 112;

bool IsMessage(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
}

/// Whether every YAML reader takes the text for a string without quotes.
bool IsPlain(std::string_view text) {
  constexpr std::array<std::string_view, 7> kWords = {"true", "false", "yes", "no", "on", "off", "null"};
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto inner = [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == '/';
  };
  if (text.size() < 2 || !letter(text.front()) || !std::all_of(text.begin(), text.end(), inner)) return false;
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return std::find(kWords.begin(), kWords.end(), lower) == kWords.end();
}

std::string YamlString(std::string_view text) {
  if (IsPlain(text)) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted.append(1, '\\').append(1, c);
    } else if (byte < 0x20 || byte == 0x7F) {
      std::array<char, 5> escape{};
      std::snprintf(escape.data(), escape.size(), "\\x%02x", byte);
      quoted += escape.data();
    } else {
      quoted += c;
    }
  }
  return quoted.append(1, '"');
}

std::string YamlScalar(const Message& message, const FieldDescriptor& field, int index = 0) {
  std::string text = ScalarText(message, field, index);
  return field.cpp_type() == FieldDescriptor::CPPTYPE_STRING ? YamlString(text) : text;
}

/// `[a, b, …]` broken into lines below `indent`.
std::string FlowList(const Message& message, const FieldDescriptor& field, int size, const std::string& indent) {
  std::string text = "[";
  std::size_t column = indent.size() + field.name().size() + 3;
  for (int i = 0; i < size; ++i) {
    const std::string item = YamlScalar(message, field, i).append(i + 1 < size ? "," : "");
    if (i > 0 && column + item.size() > kLineWidth) {
      text.append("\n").append(indent).append("  ");
      column = indent.size() + 2;
    } else if (i > 0) {
      text += ' ';
    }
    text += item;
    column += item.size() + 1;
  }
  return text.append("]");
}

class Printer {
 public:
  std::string Print(const Message& message, const std::string& indent) {
    const auto* reflection = message.GetReflection();
    std::string text;
    for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor& field = *message.GetDescriptor()->field(i);
      const std::string start = indent + field.name() + ":";
      if (field.is_repeated()) {
        const int size = reflection->FieldSize(message, &field);
        if (size > 0) text.append(start).append(List(message, field, size, indent)).append("\n");
      } else if (!reflection->HasField(message, &field)) {
        continue;
      } else if (IsMessage(field)) {
        const std::string below = Print(reflection->GetMessage(message, &field), indent + "  ");
        text.append(start).append(below.empty() ? " {}\n" : "\n").append(below);
      } else {
        text.append(start).append(" ").append(YamlScalar(message, field)).append("\n");
      }
    }
    return text;
  }

 private:
  std::string List(const Message& message, const FieldDescriptor& field, int size, const std::string& indent) {
    if (!IsMessage(field)) return std::string(" ").append(FlowList(message, field, size, indent));
    std::string text;
    for (int i = 0; i < size; ++i) {
      // The dash stands where the item's first key would be indented.
      std::string item = Print(message.GetReflection()->GetRepeatedMessage(message, &field, i), indent + "    ");
      if (item.empty()) item = indent + "    {}\n";
      item[indent.size() + 2] = '-';
      item.pop_back();
      text.append("\n").append(item);
    }
    return text;
  }
};

/// Path -> written value of every scalar, and the paths in the schema's order.
struct Flat {
  std::map<std::string, std::string> values;
  std::vector<std::string> order;
};

void Flatten(const Message& message, const std::string& path, Flat* flat) {
  const auto* reflection = message.GetReflection();
  const auto add = [&](const std::string& key, std::string value) {
    flat->order.push_back(key);
    flat->values.emplace(key, std::move(value));
  };
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    const std::string key = JoinKey(path, field.name());
    if (field.is_repeated()) {
      for (int j = 0; j < reflection->FieldSize(message, &field); ++j) {
        const std::string item = JoinKey(key, std::to_string(j));
        if (IsMessage(field)) {
          Flatten(reflection->GetRepeatedMessage(message, &field, j), item, flat);
        } else {
          add(item, YamlScalar(message, field, j));
        }
      }
    } else if (IsMessage(field)) {
      Flatten(reflection->GetMessage(message, &field), key, flat);
    } else {
      add(key, YamlScalar(message, field));
    }
  }
}

}  // namespace

std::string ToYaml(const Message& message) {
  return Printer().Print(message, "");
}

std::vector<std::string> Difference(const v1::RunConfig& before, const v1::RunConfig& after) {
  Flat old_keys, new_keys;
  Flatten(before, "", &old_keys);
  Flatten(after, "", &new_keys);
  std::vector<std::string> lines;
  for (const std::string& path : old_keys.order) {
    const std::string& was = old_keys.values.at(path);
    const auto found = new_keys.values.find(path);
    if (found == new_keys.values.end()) {
      lines.push_back(path + ": was " + was + ", is gone");
    } else if (found->second != was) {
      lines.push_back(path + ": was " + was + ", is " + found->second);
    }
  }
  for (const std::string& path : new_keys.order) {
    if (!old_keys.values.contains(path)) lines.push_back(path + ": is new, " + new_keys.values.at(path));
  }
  return lines;
}

}  // namespace fedpeft::configs
