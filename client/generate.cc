// `fedpeft-client generate`: a text and its continuation by a language model.
#include <atomic>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "client/base.h"
#include "client/commands.h"
#include "client/compute.h"
#include "client/signals.h"
#include "configs/adapter.h"
#include "peft/core/files.h"
#include "peft/core/log.h"
#include "peft/io/generation_config.h"
#include "peft/method/frozen_hook.h"
#include "peft/text/stream_decoder.h"
#include "peft/text/utf8.h"

namespace fedpeft::client {

namespace {

constexpr std::uint64_t kMostPromptBytes = std::uint64_t{64} << 20;

std::string WithoutLastLineBreak(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

Result<std::string> ReadPrompt(const GenerateCommand& command) {
  if (command.prompt) return *command.prompt;
  if (!command.prompt_file.empty()) {
    ASSIGN_OR_RETURN(std::string text, ReadFile(command.prompt_file, kMostPromptBytes));
    return WithoutLastLineBreak(std::move(text));
  }
  return WithoutLastLineBreak({std::istreambuf_iterator<char>(std::cin), {}});
}

/// An adapter and what it does to the base; nothing without one.
struct LoadedAdapter {
  std::optional<ImportedAdapter> imported;
  std::shared_ptr<const SiteHook> hook;

  Adapted adapted() const { return {hook.get(), imported ? LeadOf(imported->run.plan.method) : Lead{}}; }
};

Result<LoadedAdapter> LoadAdapter(const std::string& folder, const BaseInfo& base) {
  LoadedAdapter adapter;
  if (folder.empty()) return adapter;
  ASSIGN_OR_RETURN(adapter.imported, ImportAdapter(folder, base.shape, base.folder));
  RunSpec& run = adapter.imported->run;
  if (run.problem.type != ProblemType::kLanguageModelling) {
    return FailedPrecondition(folder + ": is an adapter of a classifier or a regression, want one of a language model");
  }
  RETURN_IF_ERROR(CheckBaseIsAdapters(base, run).Annotate(folder));
  adapter.hook = MakeFrozenHook(run.plan, adapter.imported->params);
  return adapter;
}

void LogEnd(const Generated& text, const BaseInfo& base, double seconds) {
  LogInfo("generate.done",
          {{"tokens", text.ids.size()}, {"reason", StopReasonName(text.reason)}, {"seconds", seconds}});
  if (text.reason != StopReason::kPositionLimit) return;
  LogWarning("generate.position_limit",
             {{"positions", base.shape.longest()},
              {"meaning", "the text is cut off: the base has no positions for more tokens than these"}});
}

/// A text may hold any character, NUL too.
void Print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

Result<Generated> Stream(const BaseModel& model, const Adapted& adapter, const BaseInfo& base,
                         std::span<const std::int32_t> prompt, const GenerateOptions& options, bool quiet,
                         std::string& text) {
  text::StreamDecoder decoder(base.tokenizer, prompt);
  const auto take = [&](const std::string& more) {
    text += more;
    if (!quiet) Print(more);
  };
  std::atomic<bool> stopped = false;
  const StopOnSignal on_signal([&] { stopped = true; });
  const auto on_token = [&](std::int32_t id) {
    take(decoder.Add(id));
    return !stopped;
  };
  Result<Generated> generated = Generate(model, adapter, prompt, options, on_token);
  if (!generated.ok()) return generated;
  take(decoder.Finish());
  if (!quiet) Print("\n");
  return generated;
}

/// The options with what the folder and chance decide.
Result<GenerateOptions> Complete(const GenerateCommand& command) {
  GenerateOptions options = command.options;
  RETURN_IF_ERROR(CheckSampling(options.sampling));
  ASSIGN_OR_RETURN(options.end_ids, ReadEndIds(command.compute.base));
  options.seed = command.seed ? *command.seed : std::random_device()();
  if (options.sampling.temperature > 0) LogInfo("generate.seed", {{"seed", options.seed}});
  return options;
}

}  // namespace

Status RunGenerate(const GenerateCommand& command) {
  ASSIGN_OR_RETURN(const std::string prompt, ReadPrompt(command));
  BlockStopSignals();  // not before, or nothing could end the wait for standard input
  ASSIGN_OR_RETURN(const GenerateOptions options, Complete(command));
  ASSIGN_OR_RETURN(const BaseInfo base, OpenBase(command.compute.base));
  UseThreads(command.compute.threads);
  ASSIGN_OR_RETURN(const auto model, LoadBaseAs(base, command.bfloat16 ? BaseDtype::kBfloat16 : BaseDtype::kFloat32));
  RETURN_IF_ERROR(CheckGenerates(*model).Annotate(command.compute.base));
  ASSIGN_OR_RETURN(const auto adapter, LoadAdapter(command.adapter, base));
  ASSIGN_OR_RETURN(const Encoding encoded, base.tokenizer.Encode(prompt));

  const Instant start = Clock::System().Now();
  std::string text;
  ASSIGN_OR_RETURN(const Generated generated,
                   Stream(*model, adapter.adapted(), base, encoded.ids, options, command.json, text));
  LogEnd(generated, base, ToSeconds(Clock::System().Now() - start));
  if (command.json) {
    const nlohmann::ordered_json result = {{"text", text},
                                           {"prompt_ids", encoded.ids},
                                           {"ids", generated.ids},
                                           {"stopped_by", StopReasonName(generated.reason)}};
    Print(result.dump() + "\n");
  }
  if (generated.reason == StopReason::kCancelled) return Cancelled("generate: stopped by a signal");
  return OkStatus();
}

}  // namespace fedpeft::client
