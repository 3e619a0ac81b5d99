#include "client/personal.h"

#include <algorithm>
#include <cstdio>

#include "client/base.h"
#include "client/commands.h"
#include "client/update_store.h"
#include "configs/adapter.h"
#include "peft/core/files.h"
#include "peft/io/adapter_folder.h"
#include "peft/io/safetensors.h"
#include "peft/plan/base_values.h"
#include "peft/plan/token_encoder.h"

namespace fedpeft::client {

namespace {

PayloadLayout PayloadOf(const OwnTensors& own) {
  return DensePayload(*own.values.layout(), own.which, /*max_abs=*/0);
}

}  // namespace

Bytes EncodeOwn(const OwnTensors& own) {
  if (std::find(own.which.begin(), own.which.end(), true) == own.which.end()) return {};
  Bytes bytes(own.which.begin(), own.which.end());
  const Bytes values = own.values.Gather(PayloadOf(own));
  bytes.insert(bytes.end(), values.begin(), values.end());
  return bytes;
}

Result<OwnTensors> DecodeOwn(std::shared_ptr<const ParamLayout> layout, ByteSpan bytes) {
  const std::size_t tensors = layout->tensors().size();
  OwnTensors own{std::vector<bool>(tensors, false), ParamVector(std::move(layout))};
  if (bytes.empty()) return own;
  if (bytes.size() < tensors) {
    return InvalidArgument("own tensors: have " + std::to_string(bytes.size()) + " bytes, want at least " +
                           std::to_string(tensors));
  }
  for (std::size_t i = 0; i < tensors; ++i) own.which[i] = bytes[i] != 0;
  RETURN_IF_ERROR(own.values.Scatter(PayloadOf(own), bytes.subspan(tensors)));
  return own;
}

std::string PersonalPath(const std::string& state, const std::string& client) {
  return JoinPath(state, "personal-" + FileNameOf(client) + ".safetensors");
}

namespace {

/// Whether a tensor of an export comes of the client's own: of the same name, or made by its encoder.
bool IsOwn(const OwnTensors& own, const std::string& name) {
  const auto& specs = own.values.layout()->tensors();
  if (const auto index = own.values.layout()->Find(name)) return own.which[*index];
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].role == Role::kEncoder) return own.which[i];
  }
  return false;
}

}  // namespace

Status WritePersonal(const std::string& path, const std::string& run_id, const PeftPlan& plan, const std::string& base,
                     const OwnTensors& own) {
  ParamVector exported = EncodeTokens(plan, own.values);
  if (std::holds_alternative<PromptConfig>(plan.method)) {
    ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Open(base));
    RETURN_IF_ERROR(AddBaseValues(folder, plan, 1, exported));
  }
  std::vector<TensorView> tensors;
  const auto& specs = exported.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (IsOwn(own, specs[i].name)) tensors.push_back(FloatView(specs[i].name, specs[i].shape, exported.tensor(i)));
  }
  return WriteSafetensors(path, tensors, {{std::string(adapter_metadata::kRun), run_id}});
}

Status ReadPersonal(const std::string& path, const std::string& run_id, ParamVector& params) {
  const std::uint64_t limit = std::uint64_t{params.layout()->size()} * sizeof(float) + (std::uint64_t{64} << 20);
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Read(path, limit));
  const auto run = file.metadata().find(adapter_metadata::kRun);
  if (run == file.metadata().end() || run->second != run_id) {
    return FailedPrecondition(path + ": is of run " + (run == file.metadata().end() ? "?" : run->second) +
                              ", want the adapter's " + (run_id.empty() ? "?" : run_id) +
                              " (export the adapter of the same run)");
  }
  for (const auto& [name, tensor] : file.tensors()) {
    const std::optional<std::size_t> index = params.layout()->Find(name);
    if (!index) return InvalidArgument(path + ": has a tensor \"" + name + "\", which the adapter has not");
    Status taken = CheckShape(tensor, params.layout()->tensors()[*index].shape);
    if (taken.ok()) taken = CopyFloats(tensor, params.tensor(*index));
    if (!taken.ok()) return taken.Annotate(path);
  }
  return OkStatus();
}

namespace {

/// The file of the client that is asked for, or of the only one.
Result<std::string> FindPersonal(const PersonaliseOptions& options) {
  if (!options.client.empty()) return PersonalPath(options.state, options.client);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(options.state));
  std::vector<std::string> found;
  for (const std::string& name : names) {
    if (name.starts_with("personal-") && name.ends_with(".safetensors")) found.push_back(name);
  }
  if (found.size() == 1) return JoinPath(options.state, found.front());
  return FailedPrecondition(options.state + ": holds parts of " + std::to_string(found.size()) +
                            " clients, want one (choose with --client; a client has some after its first training in a "
                            "run that leaves it parts of the model)");
}

}  // namespace

Status RunPersonalise(const PersonaliseOptions& options) {
  ASSIGN_OR_RETURN(const BaseInfo base, OpenBase(options.base));
  ASSIGN_OR_RETURN(ImportedAdapter adapter, ImportAdapter(options.adapter, base.shape, options.base));
  RETURN_IF_ERROR(CheckBaseIsAdapters(base, adapter.run).Annotate(options.adapter));
  ASSIGN_OR_RETURN(const std::string file, FindPersonal(options));
  RETURN_IF_ERROR(ReadPersonal(file, adapter.run_id, adapter.params));
  const StringMap provenance = {{std::string(adapter_metadata::kRun), adapter.run_id}};
  RETURN_IF_ERROR(ExportAdapter(adapter.run, adapter.params, options.out, options.base, provenance));
  std::printf("adapter with %s written to %s\n", file.c_str(), options.out.c_str());
  return OkStatus();
}

}  // namespace fedpeft::client
