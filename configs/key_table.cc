#include "configs/key_table.h"

#include <google/protobuf/descriptor.h>

#include "configs/finding.h"
#include "configs/keys.h"
#include "proto/run_config.pb.h"

namespace fedpeft::configs {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

std::string DefaultText(const FieldDescriptor& field) {
  const v1::Key& key = KeyOf(field);
  if (key.required()) return "required";
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) return "";
  return key.default_value().empty() ? "empty" : "`" + key.default_value() + "`";
}

void AddRows(const Descriptor& type, const std::string& path, std::string* table) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string key = JoinKey(path, field.name());
    std::string kind = TypeText(field);
    if (const std::string range = RangeText(field); !range.empty()) kind += ", " + range;
    table->append("| `" + key + "` | " + kind + " | " + DefaultText(field) + " | " + KeyOf(field).help() + " |\n");
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    AddRows(*field.message_type(), field.is_repeated() ? key + ".N" : key, table);
  }
}

std::string KeyTable(const Descriptor& type) {
  std::string table = "| key | type | default | meaning |\n| --- | --- | --- | --- |\n";
  AddRows(type, "", &table);
  return table;
}

/// `readme` with what stands between the markers of that name replaced by the table of the message's keys.
Result<std::string> WithTable(std::string_view readme, const std::string& name, const Descriptor& type) {
  const std::string before = "<!-- " + name + " -->", after = "<!-- /" + name + " -->";
  const std::size_t start = readme.find(before + "\n");
  const std::size_t end = readme.find(after);
  if (start == std::string_view::npos || end == std::string_view::npos || end < start) {
    return InvalidArgument("README.md: has no markers " + before + " and " + after + ", each on a line of its own");
  }
  std::string text(readme.substr(0, start + before.size() + 1));
  return text.append(KeyTable(type)).append(readme.substr(end));
}

}  // namespace

Result<std::string> WithKeyTables(std::string_view readme) {
  ASSIGN_OR_RETURN(const std::string text, WithTable(readme, "keys", *v1::RunConfig::descriptor()));
  return WithTable(text, "policy", *v1::Policy::descriptor());
}

}  // namespace fedpeft::configs
