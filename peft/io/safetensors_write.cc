// The writing half of safetensors.h.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "peft/io/json.h"
#include "peft/io/quote.h"
#include "peft/io/safetensors.h"
#include "peft/params/layout.h"

namespace fedpeft {

namespace {

using Order = std::vector<const TensorView*>;

/// Widest dtype first, so that in a file whose data begins 8-aligned every tensor is aligned to its element.
Result<Order> WriteOrder(std::span<const TensorView> tensors) {
  Order order;
  order.reserve(tensors.size());
  for (const TensorView& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const TensorView* a, const TensorView* b) { return a->name < b->name; });
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (order[i]->name == "__metadata__") return InvalidArgument("tensor \"__metadata__\": the name is reserved");
    if (i > 0 && order[i]->name == order[i - 1]->name) {
      return InvalidArgument("tensor " + Quoted(order[i]->name) + " is given twice");
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const TensorView* a, const TensorView* b) { return a->dtype > b->dtype; });
  return order;
}

/// Length field and JSON, padded with spaces to a multiple of 8.
Result<std::string> MakeHeader(const Order& order, const StringMap& metadata) {
  nlohmann::json root;
  root["__metadata__"] = metadata;
  root["__metadata__"]["format"] = "pt";
  ASSIGN_OR_RETURN(std::string json, DumpJson(root));
  json.pop_back();  // the tensors follow
  std::uint64_t at = 0;
  for (const TensorView* tensor : order) {
    const std::optional<std::uint64_t> bytes = DenseBytes(tensor->dtype, tensor->shape);
    if (bytes != tensor->data.size()) {
      return InvalidArgument("tensor " + Quoted(tensor->name) + " has " + std::to_string(tensor->data.size()) +
                             " bytes, want those of dtype " + std::string(DtypeName(tensor->dtype)) + " and shape " +
                             ShapeText(tensor->shape));
    }
    ASSIGN_OR_RETURN(const std::string name, DumpJson(tensor->name));
    json.append(",").append(name).append(":{\"dtype\":\"").append(DtypeName(tensor->dtype));
    json.append("\",\"shape\":").append(ShapeText(tensor->shape));
    json.append(",\"data_offsets\":[").append(std::to_string(at)).append(",");
    at += tensor->data.size();
    json.append(std::to_string(at)).append("]}");
  }
  json.push_back('}');
  json.resize((json.size() + 7) / 8 * 8, ' ');
  std::string header(8, '\0');
  StoreLe<std::uint64_t>(json.size(), reinterpret_cast<std::uint8_t*>(header.data()));
  return header.append(json);
}

}  // namespace

Result<Bytes> SerializeSafetensors(std::span<const TensorView> tensors, const StringMap& metadata) {
  ASSIGN_OR_RETURN(const Order order, WriteOrder(tensors));
  ASSIGN_OR_RETURN(const std::string header, MakeHeader(order, metadata));
  std::size_t size = header.size();
  for (const TensorView* tensor : order) size += tensor->data.size();
  Bytes file;
  file.reserve(size);
  file.insert(file.end(), header.begin(), header.end());
  for (const TensorView* tensor : order) file.insert(file.end(), tensor->data.begin(), tensor->data.end());
  return file;
}

Status WriteSafetensors(const std::string& path, std::span<const TensorView> tensors, const StringMap& metadata) {
  ASSIGN_OR_RETURN(const Order order, WriteOrder(tensors));
  ASSIGN_OR_RETURN(const std::string header, MakeHeader(order, metadata));
  std::vector<ByteSpan> pieces = {AsBytes(header)};
  for (const TensorView* tensor : order) pieces.push_back(tensor->data);
  return WriteFileAtomically(path, pieces);
}

}  // namespace fedpeft
