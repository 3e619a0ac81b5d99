#include "configs/reader.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>

#include "configs/keys.h"
#include "proto/run_config.pb.h"

namespace fedpeft::configs {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Kind = YamlNode::Kind;

std::vector<std::string> FieldNames(const Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  return names;
}

bool IsMessage(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
}

class TreeReader {
 public:
  TreeReader(Places* places, std::vector<Finding>* findings) : places_(places), findings_(findings) {}

  /// Pre: `map` is a map.
  void ReadMap(const YamlNode& map, const std::string& path, Message* message) {
    const Descriptor& type = *message->GetDescriptor();
    for (const YamlNode& value : map.items) {
      const std::string key_path = JoinKey(path, value.key);
      const FieldDescriptor* field = type.FindFieldByName(value.key);
      if (field == nullptr) {
        const std::vector<std::string> names = FieldNames(type);
        findings_->push_back({key_path,
                              "is not a key here, want one of " + Joined(names) + Suggestion(value.key, names),
                              value.key_place});
        continue;
      }
      (*places_)[key_path] = IsMessage(*field) && !field->is_repeated() ? value.key_place : value.place;
      if (field->is_repeated()) {
        ReadList(value, key_path, *field, message);
      } else {
        ReadOne(value, key_path, *field, message);
      }
    }
  }

 private:
  void ReadList(const YamlNode& node, const std::string& path, const FieldDescriptor& field, Message* message) {
    if (!Expect(Kind::kList, node, path, "a " + TypeText(field))) return;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const std::string item_path = JoinKey(path, std::to_string(i));
      (*places_)[item_path] = node.items[i].place;
      ReadOne(node.items[i], item_path, field, message);
    }
  }

  /// A singular field, or an item of a list.
  void ReadOne(const YamlNode& node, const std::string& path, const FieldDescriptor& field, Message* message) {
    if (IsMessage(field)) {
      if (!Expect(Kind::kMap, node, path, "a map")) return;
      const auto* reflection = message->GetReflection();
      if (const auto* oneof = field.real_containing_oneof();
          oneof != nullptr && reflection->HasOneof(*message, oneof)) {
        const FieldDescriptor& other = *reflection->GetOneofFieldDescriptor(*message, oneof);
        findings_->push_back({path, "is given beside " + other.name() + ", want one of them", node.place});
        return;
      }
      ReadMap(
          node, path,
          field.is_repeated() ? reflection->AddMessage(message, &field) : reflection->MutableMessage(message, &field));
      return;
    }
    if (!Expect(Kind::kScalar, node, path, field.is_repeated() ? "a " + ItemTypeText(field) : WantText(field))) return;
    if (const Status status = ParseScalar(node.text, node.quoted, field, message); !status.ok()) {
      findings_->push_back({path, status.message(), node.place});
    }
  }

  bool Expect(Kind want, const YamlNode& node, const std::string& path, const std::string& want_text) {
    if (node.kind == want) return true;
    if (node.kind != Kind::kBad) findings_->push_back({path, "got " + Got(node) + ", want " + want_text, node.place});
    return false;
  }

  static std::string Got(const YamlNode& node) {
    if (node.kind == Kind::kMap) return "a map";
    if (node.kind == Kind::kList) return "a list";
    return Quoted(node.text);
  }

  Places* places_;
  std::vector<Finding>* findings_;
};

/// The default of a field, by the file's own path through parser and reader.
void SetDefault(const std::string& text, const FieldDescriptor& field, Message* message) {
  std::vector<Finding> findings;
  YamlNode value = ParseYaml(text, &findings);
  value.key = field.name();
  YamlNode map;
  map.kind = Kind::kMap;
  map.items.push_back(std::move(value));
  Places places;
  TreeReader(&places, &findings).ReadMap(map, "", message);
  // A default that does not parse is a mistake in the schema.
  FEDPEFT_CHECK(findings.empty());
}

/// Whether `field`, one of alternatives of which none is given, is what an enum of the message says (`method: ia3`).
bool IsNamedBeside(const Message& message, const FieldDescriptor& field) {
  const auto* reflection = message.GetReflection();
  if (reflection->HasOneof(message, field.real_containing_oneof())) return false;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& choice = *message.GetDescriptor()->field(i);
    if (choice.cpp_type() == FieldDescriptor::CPPTYPE_ENUM && !choice.is_repeated() &&
        ScalarText(message, choice) == field.name()) {
      return true;
    }
  }
  return false;
}

void FillFields(const Places& places, const std::string& path, Message* message) {
  const Descriptor& type = *message->GetDescriptor();
  const auto* reflection = message->GetReflection();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const v1::Key& key = KeyOf(field);
    const std::string key_path = JoinKey(path, field.name());
    if (IsMessage(field) && field.is_repeated()) {
      for (int j = 0; j < reflection->FieldSize(*message, &field); ++j) {
        FillFields(places, JoinKey(key_path, std::to_string(j)),
                   reflection->MutableRepeatedMessage(message, &field, j));
      }
    } else if (IsMessage(field)) {
      // An alternative is made when an enum beside it names it, and what is required must be seen to be missing.
      const bool make = !key.required() && (field.real_containing_oneof() == nullptr || IsNamedBeside(*message, field));
      if (make || reflection->HasField(*message, &field)) {
        FillFields(places, key_path, reflection->MutableMessage(message, &field));
      }
    } else if (!key.default_value().empty() && !places.contains(key_path)) {
      SetDefault(key.default_value(), field, message);
    }
  }
}

}  // namespace

void ReadTree(const YamlNode& root, Message* message, Places* places, std::vector<Finding>* findings) {
  if (root.kind == Kind::kNull || root.kind == Kind::kBad) return;
  if (root.kind != Kind::kMap) {
    findings->push_back({"", "got a list or a single value, want a map of keys", root.place});
    return;
  }
  TreeReader(places, findings).ReadMap(root, "", message);
}

void FillDefaults(const Places& places, Message* message) {
  FillFields(places, "", message);
}

}  // namespace fedpeft::configs
