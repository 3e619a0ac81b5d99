// Any bytes: an error, or a file whose tensors can be read, and written again to an equal file.
#include "peft/io/safetensors.h"

namespace fedpeft {
namespace {

void ReadAll(ByteSpan bytes) {
  const Result<Safetensors> file = ParseSafetensors(bytes);
  if (!file.ok()) return;
  std::vector<TensorView> tensors;
  for (const auto& [name, tensor] : file->tensors) {
    tensors.push_back(tensor);
    std::vector<float> values(tensor.data.size() * 8 / DtypeBits(tensor.dtype));
    static_cast<void>(CopyFloats(tensor, values));
  }
  const Result<Bytes> written = SerializeSafetensors(tensors, file->metadata);
  FEDPEFT_CHECK(written.ok());
  const Result<Safetensors> again = ParseSafetensors(*written);
  FEDPEFT_CHECK(again.ok() && again->tensors.size() == file->tensors.size());
}

}  // namespace
}  // namespace fedpeft

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fedpeft::ReadAll({data, size});
  return 0;
}
