#include "configs/key_table.h"

#include <google/protobuf/descriptor.h>

#include "configs/finding.h"
#include "configs/keys.h"
#include "proto/run_config.pb.h"

namespace fedpeft::configs {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr std::string_view kStart = "<!-- keys -->\n";
constexpr std::string_view kEnd = "<!-- /keys -->";

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

}  // namespace

std::string KeyTable() {
  std::string table = "| key | type | default | meaning |\n| --- | --- | --- | --- |\n";
  AddRows(*v1::RunConfig::descriptor(), "", &table);
  return table;
}

Result<std::string> WithKeyTable(std::string_view readme) {
  const std::size_t start = readme.find(kStart);
  const std::size_t end = readme.find(kEnd);
  if (start == std::string_view::npos || end == std::string_view::npos || end < start) {
    return InvalidArgument("README.md: has no markers <!-- keys --> and <!-- /keys -->, each on a line of its own");
  }
  std::string text(readme.substr(0, start + kStart.size()));
  return text.append(KeyTable()).append(readme.substr(end));
}

}  // namespace fedpeft::configs
