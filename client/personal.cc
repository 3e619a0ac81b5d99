#include "client/personal.h"

#include <algorithm>
#include <cstdio>

#include "client/base.h"
#include "client/commands.h"
#include "configs/adapter.h"
#include "peft/core/files.h"
#include "peft/io/safetensors.h"

namespace fedpeft::client {

std::string PersonalPath(const std::string& state, const std::string& client) {
  std::string name = client;
  std::replace(name.begin(), name.end(), '/', '+');  // as the kept updates' names
  return JoinPath(state, "personal-" + name + ".safetensors");
}

Status WritePersonal(const std::string& path, const ParamVector& params, const std::vector<bool>& personal) {
  std::vector<TensorView> tensors;
  const auto& specs = params.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (personal[i]) tensors.push_back(FloatView(specs[i].name, specs[i].shape, params.tensor(i)));
  }
  return WriteSafetensors(path, tensors);
}

Status ReadPersonal(const std::string& path, ParamVector& params) {
  const std::uint64_t limit = std::uint64_t{params.layout()->size()} * sizeof(float) + (std::uint64_t{64} << 20);
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Read(path, limit));
  for (const auto& [name, tensor] : file.tensors()) {
    const std::optional<std::size_t> index = params.layout()->Find(name);
    if (!index) {
      return InvalidArgument(path + ": has a tensor \"" + name +
                             "\", which the adapter has not (want the export of the same run)");
    }
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
    if (name.starts_with("personal-")) found.push_back(name);
  }
  if (found.size() == 1) return JoinPath(options.state, found.front());
  return FailedPrecondition(options.state + ": holds parts of " + std::to_string(found.size()) +
                            " clients, want one (choose with --client; they are there once a run that leaves parts of "
                            "the model to clients is finished)");
}

}  // namespace

Status RunPersonalise(const PersonaliseOptions& options) {
  ASSIGN_OR_RETURN(const BaseInfo base, OpenBase(options.base));
  ASSIGN_OR_RETURN(ImportedAdapter adapter, ImportAdapter(options.adapter, base.shape, options.base));
  RETURN_IF_ERROR(CheckBaseIsAdapters(base, adapter.run).Annotate(options.adapter));
  ASSIGN_OR_RETURN(const std::string file, FindPersonal(options));
  RETURN_IF_ERROR(ReadPersonal(file, adapter.params));
  RETURN_IF_ERROR(ExportAdapter(adapter.run, adapter.params, options.out, options.base));
  std::printf("adapter with %s written to %s\n", file.c_str(), options.out.c_str());
  return OkStatus();
}

}  // namespace fedpeft::client
