#include "peft/io/adapters_library.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "peft/core/files.h"
#include "peft/io/json.h"
#include "peft/io/quote.h"

namespace fedpeft {

namespace {

using nlohmann::json;

constexpr std::string_view kAdapterName = "adapter.safetensors", kAdapterPickleName = "pytorch_adapter.bin";
constexpr std::string_view kHeadConfigName = "head_config.json", kHeadName = "model_head.safetensors",
                           kHeadPickleName = "pytorch_model_head.bin";
constexpr std::int64_t kMostWidth = 1 << 20;

struct Setting {
  const char* key;
  json value;
};

/// What every adapter of ours has, with the library's values where it leaves them out.
std::vector<Setting> CommonSettings() {
  return {{"output_adapter", true}, {"original_ln_after", true}, {"ln_before", false},
          {"ln_after", false},      {"use_gating", false},       {"inv_adapter", nullptr},
          {"cross_adapter", false}, {"leave_out", json::array()}};
}
/// And with hypercomplex linears.
std::vector<Setting> PhmSettings() {
  return {{"factorized_phm_W", true},
          {"shared_W_phm", false},
          {"shared_phm_rule", true},
          {"factorized_phm_rule", false},
          {"phm_bias", true}};
}

/// What matters to beginnings and to training alone, or is read one by one; anything else that is set is refused.
const std::set<std::string_view>& KnownKeys() {
  static const std::set<std::string_view> keys = {"mh_adapter",
                                                  "reduction_factor",
                                                  "non_linearity",
                                                  "original_ln_before",
                                                  "init_weights",
                                                  "init_weights_seed",
                                                  "is_parallel",
                                                  "scaling",
                                                  "residual_before_ln",
                                                  "adapter_residual_before_ln",
                                                  "inv_adapter_reduction_factor",
                                                  "dropout",
                                                  "phm_layer",
                                                  "phm_dim",
                                                  "phm_c_init",
                                                  "phm_init_range",
                                                  "learn_phm",
                                                  "hypercomplex_nonlinearity",
                                                  "phm_rank",
                                                  "stochastic_depth"};
  return keys;
}

Status Unlike(const std::string& key, const json& got, const std::string& want) {
  return Unimplemented(key + ": got " + got.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace) +
                       ", want " + want);
}

Status Require(const json& config, const Setting& setting) {
  const json got = config.value(setting.key, setting.value);
  return got == setting.value ? OkStatus() : Unlike("config." + std::string(setting.key), got, setting.value.dump());
}

Result<bool> Flag(const json& config, const char* key, bool otherwise) {
  const json got = config.value(key, json(otherwise));
  if (!got.is_boolean()) return Unlike("config." + std::string(key), got, "true or false");
  return got.get<bool>();
}

Result<std::int64_t> Count(const json& object, const char* key, std::int64_t otherwise, const std::string& where) {
  const json got = object.value(key, json(otherwise));
  if (got.is_number_integer() && got >= 1 && got <= kMostWidth) return got.get<std::int64_t>();
  return InvalidArgument(where + key + ": want a whole number from 1 to " + std::to_string(kMostWidth));
}

Result<std::string> Text(const json& object, const char* key) {
  const json got = object.value(key, json());
  if (got.is_string()) return got.get<std::string>();
  return InvalidArgument(std::string(key) + ": is missing, or no text");
}

Status CheckKeys(const json& config) {
  for (const Setting& setting : CommonSettings()) RETURN_IF_ERROR(Require(config, setting));
  const std::vector<Setting> common = CommonSettings(), phm = PhmSettings();
  const auto is = [](const std::string& key) { return [&key](const Setting& s) { return s.key == key; }; };
  for (const auto& [key, value] : config.items()) {
    const bool known = KnownKeys().contains(key) || std::any_of(common.begin(), common.end(), is(key)) ||
                       std::any_of(phm.begin(), phm.end(), is(key));
    const bool is_set = !value.is_null() && value != false && !(value.is_structured() && value.empty());
    if (!known && is_set) return Unimplemented("config: has a setting " + Quoted(key) + ", which is not supported");
  }
  return OkStatus();
}

/// Which of our kinds these flags mean.
Result<std::string> KindOf(const json& config) {
  ASSIGN_OR_RETURN(const bool parallel, Flag(config, "is_parallel", false));
  ASSIGN_OR_RETURN(const bool norm_before, Flag(config, "original_ln_before", false));
  ASSIGN_OR_RETURN(const bool after_attention, Flag(config, "mh_adapter", false));
  const json residual = config.value("residual_before_ln", json(true));
  if (parallel) {
    if (after_attention) return Unlike("config.mh_adapter", true, "false with is_parallel");
    return std::string("parallel");
  }
  if (after_attention == norm_before) {
    return Unlike("config.original_ln_before", norm_before, "the contrary of mh_adapter: double_seq_bn or seq_bn");
  }
  // Before a norm it matters where the residual is taken from.
  if (norm_before ? residual != true : !residual.is_boolean()) {
    return Unlike("config.residual_before_ln", residual, "true");
  }
  return std::string(norm_before ? "pfeiffer" : "houlsby");
}

/// As Python's `//` of two floats.
double FloorDivide(double a, double b) {
  const double quotient = (a - std::fmod(a, b)) / b, whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

Result<std::int64_t> SizeOf(const json& config, std::int64_t hidden_size) {
  const json factor = config.value("reduction_factor", json());
  if (!factor.is_number() || !(factor.get<double>() > 0)) {
    return Unlike("config.reduction_factor", factor, "one positive number for all layers");
  }
  const double size = FloorDivide(static_cast<double>(hidden_size), factor.get<double>());
  if (!(size <= static_cast<double>(kMostWidth))) return Unlike("config.reduction_factor", factor, "a larger one");
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(size));
}

/// The number that SizeOf takes for `size`; amidst the interval where none divides evenly.
json ReductionFactor(std::int64_t hidden_size, std::int64_t size) {
  if (hidden_size % size == 0) return hidden_size / size;
  return static_cast<double>(hidden_size) / (static_cast<double>(size) + 0.5);
}

Status ReadPhm(const json& config, AdapterConfig& out) {
  ASSIGN_OR_RETURN(const bool phm, Flag(config, "phm_layer", false));
  if (!phm) return OkStatus();
  for (const Setting& setting : PhmSettings()) RETURN_IF_ERROR(Require(config, setting));
  ASSIGN_OR_RETURN(out.phm_dim, Count(config, "phm_dim", 4, "config."));
  ASSIGN_OR_RETURN(out.phm_rank, Count(config, "phm_rank", 1, "config."));
  return OkStatus();
}

Status ReadBottleneck(const json& config, std::int64_t hidden_size, AdapterConfig& out) {
  if (const json other = config.value("architecture", json()); !other.is_null()) {
    return Unlike("config.architecture", other, "a bottleneck adapter's, null");
  }
  RETURN_IF_ERROR(CheckKeys(config));
  ASSIGN_OR_RETURN(out.kind, KindOf(config));
  ASSIGN_OR_RETURN(out.size, SizeOf(config, hidden_size));
  const json activation = config.value("non_linearity", json()), scaling = config.value("scaling", json(1.0));
  if (!activation.is_string()) return Unlike("config.non_linearity", activation, "a name");
  out.activation = activation.get<std::string>();
  std::transform(out.activation.begin(), out.activation.end(), out.activation.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (!scaling.is_number()) return Unlike("config.scaling", scaling, "a number");
  out.scale = scaling.get<double>();
  return ReadPhm(config, out);
}

/// `SEQ_CLS` or `CAUSAL_LM`.
Result<std::string> TaskOf(const std::string& model_class) {
  if (model_class.ends_with("ForSequenceClassification")) return std::string("SEQ_CLS");
  if (model_class.ends_with("ForCausalLM") || model_class.ends_with("LMHeadModel")) return std::string("CAUSAL_LM");
  return Unlike("model_class", model_class,
                "a model of transformers for sequence classification or language modelling (the library's own "
                "AdapterModel classes have other heads)");
}

json ModelJson(const AdapterConfig& config, const LibraryModel& model) {
  return {{"config", nullptr},
          {"hidden_size", model.hidden_size},
          {"model_class", model.model_class},
          {"model_name", config.base_model_name_or_path},
          {"model_type", model.model_type},
          {"version", "adapters.1.3.0"}};
}

std::string DefaultLabel(std::size_t index) {
  return "LABEL_" + std::to_string(index);
}

Result<std::string> HeadConfigToJson(const AdapterConfig& config, const LibraryModel& model) {
  json out = ModelJson(config, model);
  out["name"] = nullptr;
  out["num_labels"] = model.outputs;
  for (std::size_t i = 0; i < static_cast<std::size_t>(model.outputs); ++i) {
    out["label2id"][config.labels.empty() ? DefaultLabel(i) : config.labels[i]] = i;
  }
  return DumpJson(out, 2);
}

/// The names of the classes; none where they are transformers' defaults, or of a single output.
Result<std::vector<std::string>> LabelsFromJson(std::string_view text) {
  ASSIGN_OR_RETURN(const json root, ParseJsonObject(text));
  const json ids = root.value("label2id", json());
  if (ids.is_null()) return std::vector<std::string>();
  std::vector<std::string> labels(ids.is_object() ? ids.size() : 0);
  std::set<std::size_t> seen;
  bool defaults = true;
  for (const auto& [label, id] : ids.items()) {
    const bool fits = id.is_number_unsigned() && id < labels.size() && seen.insert(id.get<std::size_t>()).second;
    if (!fits) return InvalidArgument("label2id: want an object of names, each with a number of its own from 0 on");
    labels[id.get<std::size_t>()] = label;
    defaults = defaults && label == DefaultLabel(id.get<std::size_t>());
  }
  return defaults || labels.size() == 1 ? std::vector<std::string>() : labels;
}

Status CheckNoPickle(const std::string& folder, std::string_view weights, std::string_view pickle) {
  if (PathExists(JoinPath(folder, weights)) || !PathExists(JoinPath(folder, pickle))) return OkStatus();
  return Unimplemented(JoinPath(folder, pickle) + ": is a pickle, which can run code when it is read, want " +
                       std::string(weights) + " (save the adapter with use_safetensors=True)");
}

/// The head's tensors join those of the adapter.
Status ReadHead(const std::string& folder, std::uint64_t max_bytes, AdapterFolder& adapter) {
  RETURN_IF_ERROR(CheckNoPickle(folder, kHeadName, kHeadPickleName));
  const std::string weights = JoinPath(folder, kHeadName), config = JoinPath(folder, kHeadConfigName);
  if (!PathExists(weights)) return OkStatus();
  ASSIGN_OR_RETURN(SafetensorsFile head, SafetensorsFile::Read(weights, max_bytes));
  RETURN_IF_ERROR(adapter.file.Join(std::move(head)).Annotate(weights));
  if (!PathExists(config)) return OkStatus();
  ASSIGN_OR_RETURN(const std::string text, ReadFile(config, kMostConfigBytes));
  Result<std::vector<std::string>> labels = LabelsFromJson(text);
  if (!labels.ok()) return labels.status().Annotate(config);
  adapter.config.labels = std::move(labels).value();
  return OkStatus();
}

}  // namespace

bool IsAdaptersLibrarys(std::string_view config) {
  const Result<json> root = ParseJsonObject(config);
  return root.ok() && root->contains("config") && !root->contains("peft_type");
}

Result<AdapterConfig> LibraryConfigFromJson(std::string_view text) {
  ASSIGN_OR_RETURN(const json root, ParseJsonObject(text));
  AdapterConfig out;
  out.peft_type = PeftType::kBottleneck;
  ASSIGN_OR_RETURN(out.adapter_name, Text(root, "name"));
  if (out.adapter_name.empty()) return InvalidArgument("name: is empty");
  if (!root.contains("version")) {
    return Unimplemented("version: is missing, as of old folders whose activations have other names (save it anew)");
  }
  ASSIGN_OR_RETURN(out.model_type, Text(root, "model_type"));
  ASSIGN_OR_RETURN(const std::string model_class, Text(root, "model_class"));
  ASSIGN_OR_RETURN(out.task_type, TaskOf(model_class));
  if (const json name = root.value("model_name", json()); name.is_string()) {
    out.base_model_name_or_path = name.get<std::string>();
  }
  const json config = root.value("config", json());
  if (!config.is_object()) return InvalidArgument("config: is not an object");
  ASSIGN_OR_RETURN(const std::int64_t hidden_size, Count(root, "hidden_size", 0, ""));
  RETURN_IF_ERROR(ReadBottleneck(config, hidden_size, out));
  return out;
}

Result<std::string> LibraryConfigToJson(const AdapterConfig& config, const LibraryModel& model) {
  const bool parallel = config.kind == "parallel", phm = config.phm_dim > 0;
  // Each value of the library's configuration class.
  json settings = {{"mh_adapter", config.kind == "houlsby"},
                   {"original_ln_before", config.kind == "pfeiffer"},
                   {"is_parallel", parallel},
                   {"reduction_factor", ReductionFactor(model.hidden_size, config.size)},
                   {"non_linearity", config.activation},
                   {"scaling", config.scale},
                   {"residual_before_ln", true},
                   {"adapter_residual_before_ln", false},
                   {"init_weights", parallel && !phm ? "mam_adapter" : "bert"},  // the former knows no PHM layers
                   {"init_weights_seed", nullptr},
                   {"inv_adapter_reduction_factor", nullptr},
                   {"dropout", 0.0},
                   {"stochastic_depth", 0.0},
                   {"phm_layer", phm},
                   {"phm_dim", phm ? config.phm_dim : 4},
                   {"phm_rank", config.phm_rank},
                   {"phm_c_init", "normal"},
                   {"phm_init_range", 0.0001},
                   {"learn_phm", true},
                   {"hypercomplex_nonlinearity", "glorot-uniform"}};
  for (const Setting& setting : CommonSettings()) settings[setting.key] = setting.value;
  for (const Setting& setting : PhmSettings()) settings[setting.key] = setting.value;
  json out = ModelJson(config, model);
  out["config"] = std::move(settings);
  out["name"] = config.adapter_name;
  return DumpJson(out, 2);
}

Status WriteLibraryFolder(const std::string& folder, const AdapterConfig& config, const LibraryModel& model,
                          std::span<const TensorView> adapter, std::span<const TensorView> head,
                          const StringMap& metadata) {
  ASSIGN_OR_RETURN(const std::string json, LibraryConfigToJson(config, model));
  RETURN_IF_ERROR(MakeFolders(folder));
  RETURN_IF_ERROR(WriteSafetensors(JoinPath(folder, kAdapterName), adapter, metadata));
  if (model.outputs > 0) {
    ASSIGN_OR_RETURN(const std::string head_json, HeadConfigToJson(config, model));
    RETURN_IF_ERROR(WriteSafetensors(JoinPath(folder, kHeadName), head));
    RETURN_IF_ERROR(WriteFileAtomically(JoinPath(folder, kHeadConfigName), AsBytes(head_json)));
  }
  return WriteFileAtomically(JoinPath(folder, kAdapterConfigName), AsBytes(json));
}

Result<AdapterFolder> ReadLibraryFolder(const std::string& folder, std::string_view config, std::uint64_t max_bytes) {
  Result<AdapterConfig> read = LibraryConfigFromJson(config);
  if (!read.ok()) return read.status().Annotate(JoinPath(folder, kAdapterConfigName));
  RETURN_IF_ERROR(CheckNoPickle(folder, kAdapterName, kAdapterPickleName));
  ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Read(JoinPath(folder, kAdapterName), max_bytes));
  AdapterFolder adapter{std::move(read).value(), {}, std::move(file)};
  RETURN_IF_ERROR(ReadHead(folder, max_bytes, adapter));
  return adapter;
}

}  // namespace fedpeft
