// LocalRunner: the clients of a process on one base. It holds each client's examples and one set of working parameters,
// and trains them one after another.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/runner.h"
#include "client/trainer.h"
#include "configs/run.h"
#include "peft/params/param_vector.h"

namespace fedpeft::client {

class LocalRunner final : public Runner {
 public:
  /// `data[i]` are client i's examples. Errors: the planner's and LocalTrainer's.
  static Result<std::unique_ptr<LocalRunner>> Make(RunSpec run, std::shared_ptr<const BaseModel> base,
                                                   std::vector<std::vector<Example>> data);

  Result<Update> Train(std::size_t index, const std::string& name, std::uint32_t round, ByteSpan start,
                       const std::atomic<bool>& stop, const LocalTrainer::Progress& progress) override;
  Result<EvaluateStats> Evaluate(std::size_t index, ByteSpan params, const std::atomic<bool>& stop) override;

  std::uint32_t total_rounds() const override { return run_.total_rounds(); }
  const Digest& layout_digest() const override { return layout_->digest(); }
  Digest PayloadDigest(std::uint32_t round) const override { return PayloadAt(round).digest; }
  std::uint64_t payload_bytes() const override { return PayloadAt(1).size * sizeof(float); }
  std::size_t clients() const override { return data_.size(); }
  std::size_t examples(std::size_t index) const override { return data_[index].size(); }

 private:
  LocalRunner(RunSpec run, std::shared_ptr<const ParamLayout> layout, std::unique_ptr<LocalTrainer> trainer,
              std::vector<std::vector<Example>> data);
  PayloadLayout PayloadAt(std::uint32_t round) const;

  RunSpec run_;
  std::shared_ptr<const ParamLayout> layout_;
  std::unique_ptr<LocalTrainer> trainer_;
  std::vector<std::vector<Example>> data_;
  /// What is not shared keeps the initial values that the seed makes.
  ParamVector start_;
  ParamVector work_;
};

}  // namespace fedpeft::client
