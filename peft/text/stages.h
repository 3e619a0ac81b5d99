// How every kind of stage makes its plain ones, and its `Sequence`: the members, each made as a stage of that kind.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/fingerprint.h"
#include "peft/text/json_object.h"

namespace fedpeft::text {

template <typename Stage>
using Stages = std::vector<std::unique_ptr<Stage>>;

/// The members under `key`, all that a sequence has. Errors: kInvalidArgument for more than kMostStages of them or
/// another key; `make`'s.
template <typename Stage>
Result<Stages<Stage>> ReadStages(JsonObject& object, const char* key,
                                 Result<std::unique_ptr<Stage>> (*make)(const nlohmann::json&, const std::string&)) {
  ASSIGN_OR_RETURN(const auto members, object.Array(key, kMostStages));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  Stages<Stage> stages;
  for (std::size_t i = 0; i < members->size(); ++i) {
    const std::string where = object.where() + "." + key + "[" + std::to_string(i) + "]";
    ASSIGN_OR_RETURN(stages.emplace_back(), make((*members)[i], where));
  }
  return stages;
}

/// A stage that has no settings in the file. Errors: kUnimplemented when `object` has any.
template <typename Stage, typename Plain, typename... Arguments>
Result<std::unique_ptr<Stage>> MakePlain(const JsonObject& object, Arguments... arguments) {
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  return std::unique_ptr<Stage>(std::make_unique<Plain>(arguments...));
}

template <typename Stage>
void AddStages(const Stages<Stage>& stages, Fingerprint& fingerprint) {
  fingerprint.Text("Sequence");
  fingerprint.Number(stages.size());
  for (const auto& stage : stages) stage->AddTo(fingerprint);
}

}  // namespace fedpeft::text
