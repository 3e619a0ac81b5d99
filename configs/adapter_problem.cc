#include "configs/adapter_problem.h"

#include <charconv>

#include "configs/adapter.h"

namespace fedpeft {

namespace {

constexpr std::string_view kTextColumn = "fedpeft.text_column";
constexpr std::string_view kTextPairColumn = "fedpeft.text_pair_column";
constexpr std::string_view kLabelColumn = "fedpeft.label_column";
constexpr std::string_view kPrompt = "fedpeft.prompt";
constexpr std::string_view kResponse = "fedpeft.response";
constexpr std::string_view kMaxLength = "fedpeft.max_length";
constexpr std::int64_t kMostLabels = 65536;

/// What the folder's file puts before the path of a head's parameter.
std::string HeadPrefix(const AdapterConfig& config) {
  if (!config.adapter_name.empty()) return "";
  return config.is_prompt_learning() ? "base_model." : "base_model.model.";
}

/// None of a head with one row: it is a regression's, as in transformers.
Result<std::vector<std::string>> LabelsOf(const AdapterFolder& adapter, const BaseShape& base) {
  const SafetensorsFile& file = adapter.file;
  const std::string path = HeadLayers(base, /*labels=*/1).back().path + ".weight";
  const std::string weight = HeadPrefix(adapter.config) + path;
  const auto head = file.tensors().find(weight);
  if (head == file.tensors().end() || head->second.shape.size() != 2) {
    return InvalidArgument("has no classification head " + weight + " [labels, hidden]");
  }
  // What the file claims is checked before labels are made of it.
  const std::int64_t width = HeadLayers(base, /*labels=*/1).back().in;
  if (head->second.shape[0] < 1 || head->second.shape[0] > kMostLabels || head->second.shape[1] != width) {
    return InvalidArgument("tensor \"" + weight + "\" has shape " + ShapeText(head->second.shape) + ", want [1 to " +
                           std::to_string(kMostLabels) + "," + std::to_string(width) + "]");
  }
  const auto rows = static_cast<std::size_t>(head->second.shape[0]);
  std::vector<std::string> labels = adapter.config.labels;
  const auto text = file.metadata().find(adapter_metadata::kLabels);
  if (text != file.metadata().end()) {
    ASSIGN_OR_RETURN(labels, DecodeLabels(text->second));
  }
  if (text != file.metadata().end() || !labels.empty()) {
    if (labels.size() == (rows == 1 ? 0 : rows)) return labels;
    return InvalidArgument("names " + std::to_string(labels.size()) + " labels, but its head has " +
                           std::to_string(rows) + " rows");
  }
  for (std::size_t i = 0; rows > 1 && i < rows; ++i) labels.push_back("LABEL_" + std::to_string(i));
  return labels;
}

/// Whether the adapter is a language model's: it says so, or says nothing and has no head.
Result<bool> IsLanguageModels(const AdapterConfig& config, const BaseShape& base) {
  if (config.task_type.empty()) return PredictsNextToken(base) && config.modules_to_save.empty();
  if (config.task_type == kCausal) return true;
  if (config.task_type == kClassifies) return false;
  return Unimplemented("task_type: got " + config.task_type + ", want SEQ_CLS or CAUSAL_LM");
}

}  // namespace

Result<ProblemSpec> ProblemOf(const AdapterFolder& adapter, const BaseShape& base) {
  const SafetensorsFile& file = adapter.file;
  ProblemSpec problem;
  ASSIGN_OR_RETURN(const bool language, IsLanguageModels(adapter.config, base));
  if (language) {
    problem.type = ProblemType::kLanguageModelling;
    problem.prompt = MetadataText(file.metadata(), kPrompt, "");
    problem.response = MetadataText(file.metadata(), kResponse, "{text}");
  } else {
    ASSIGN_OR_RETURN(problem.labels, LabelsOf(adapter, base));
    problem.type = problem.labels.empty() ? ProblemType::kRegression : ProblemType::kClassification;
  }
  problem.text_column = MetadataText(file.metadata(), kTextColumn, "text");
  problem.text_pair_column = MetadataText(file.metadata(), kTextPairColumn, "");
  problem.label_column = MetadataText(file.metadata(), kLabelColumn, "label");
  const std::string length = MetadataText(file.metadata(), kMaxLength, "128");
  const char* end = length.data() + length.size();
  const auto parsed = std::from_chars(length.data(), end, problem.max_length);
  if (parsed.ec != std::errc() || parsed.ptr != end || problem.max_length < 3) {
    return InvalidArgument("metadata " + std::string(kMaxLength) + ": got \"" + length + "\", want a number from 3");
  }
  return problem;
}

std::string MetadataText(const StringMap& metadata, std::string_view key, std::string otherwise) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::move(otherwise) : found->second;
}

Result<StringMap> AdapterMetadata(const RunSpec& run) {
  StringMap metadata;
  ASSIGN_OR_RETURN(metadata[std::string(adapter_metadata::kLabels)], EncodeLabels(run.problem.labels));
  metadata[std::string(adapter_metadata::kBaseHash)] = Hex(run.weights);
  metadata[std::string(adapter_metadata::kTokenizerHash)] = Hex(run.tokenizer);
  metadata[std::string(kTextColumn)] = run.problem.text_column;
  metadata[std::string(kTextPairColumn)] = run.problem.text_pair_column;
  metadata[std::string(kLabelColumn)] = run.problem.label_column;
  if (run.problem.type == ProblemType::kLanguageModelling) {
    metadata[std::string(kPrompt)] = run.problem.prompt;
    metadata[std::string(kResponse)] = run.problem.response;
  }
  metadata[std::string(kMaxLength)] = std::to_string(run.problem.max_length);
  return metadata;
}

}  // namespace fedpeft
