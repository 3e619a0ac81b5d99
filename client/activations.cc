#include "client/activations.h"

#include <fcntl.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "client/batches.h"
#include "peft/core/bytes.h"
#include "peft/core/check.h"

namespace fedpeft::client {

namespace {

/// Of what is kept in memory; the rest is in files.
constexpr std::uint64_t kMostInMemory = std::uint64_t{128} << 20;

bool IsPooled(const LowerModel& model) {
  return model.layer == static_cast<std::size_t>(model.base.shape().num_hidden_layers);
}

std::int64_t RowsOf(const Example& example, bool pooled) {
  return pooled ? 1 : static_cast<std::int64_t>(example.ids.size());
}

/// Everything that the rows depend on.
Digest KeyOf(const LowerModel& model, std::span<const Example> examples) {
  Sha256 hash;
  const auto number = [&](std::uint64_t value) {
    std::array<std::uint8_t, sizeof(value)> bytes{};
    StoreLe(value, bytes.data());
    hash.Update(bytes);
  };
  number(model.layer);
  hash.Update(model.values);
  for (const Example& example : examples) {
    number(example.ids.size());
    hash.Update(AsBytes(std::span<const std::int32_t>(example.ids)));
    number(example.type_ids.size());
    hash.Update(AsBytes(std::span<const std::int32_t>(example.type_ids)));
    for (const Document& document : example.documents) number(document.length);
  }
  return hash.Finish();
}

/// A file that ends with this object.
class UnnamedFile {
 public:
  explicit UnnamedFile(std::string path) : path_(std::move(path)), descriptor_(mkstemp(path_.data())) {}
  ~UnnamedFile() {
    if (descriptor_ < 0) return;
    unlink(path_.c_str());
    close(descriptor_);
  }
  UnnamedFile(const UnnamedFile&) = delete;
  UnnamedFile& operator=(const UnnamedFile&) = delete;
  bool good() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int descriptor_;
};

/// The file's space is taken beforehand: writing to a mapping of a full disk would end the process.
Result<torch::Tensor> Mapped(at::IntArrayRef shape, torch::ScalarType type) {
  const std::int64_t elements = c10::multiply_integers(shape);
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(error);
  if (error) return FromErrno("TMPDIR, the folder for temporary files", error.value());
  const UnnamedFile file((folder / "fedpeft-activations-XXXXXX").string());
  if (!file.good()) return FromErrno(file.path(), errno);
  const auto bytes = elements * static_cast<std::int64_t>(c10::elementSize(type));
  if (const int failure = posix_fallocate(file.descriptor(), 0, bytes); failure != 0) {
    return FromErrno(file.path(), failure).Annotate(std::to_string(bytes) + " bytes of activations");
  }
  return torch::from_file(file.path(), /*shared=*/true, elements, type).view(shape);
}

}  // namespace

std::uint64_t Activations::Bytes(const LowerModel& model, std::span<const Example> examples) {
  std::uint64_t rows = 0;
  for (const Example& example : examples) rows += static_cast<std::uint64_t>(RowsOf(example, IsPooled(model)));
  return rows * static_cast<std::uint64_t>(model.base.shape().hidden_size) * sizeof(float);
}

Result<Activations> Activations::Compute(const LowerModel& model, std::span<const Example> examples,
                                         std::size_t batch_size, std::size_t batch_tokens, bool in_file) {
  const c10::InferenceMode no_inference(false);  // what is made now may take part in training later
  const torch::NoGradGuard no_gradients;
  Activations out;
  out.layer_ = model.layer;
  out.pooled_ = IsPooled(model);
  std::int64_t rows = 0;
  for (const Example& example : examples) {
    out.first_.push_back(rows);
    rows += RowsOf(example, out.pooled_);
  }
  const ForwardMode mode;
  for (const auto& part : SortedBatches(LengthsOf(examples), batch_size, batch_tokens)) {
    ASSIGN_OR_RETURN(const ExampleBatch batch, PackRows(examples, part, model.base.limits(), Lead{}));
    const torch::Tensor found = out.pooled_ ? model.base.Pool(batch.packed, model.hook, mode)
                                            : model.base.Below(model.layer, batch.packed, model.hook, mode);
    if (!out.rows_.defined()) {
      const std::vector<std::int64_t> shape = {rows, found.size(1)};
      if (in_file) {
        ASSIGN_OR_RETURN(out.rows_, Mapped(shape, found.scalar_type()));
      } else {
        out.rows_ = torch::empty(shape, found.options());
      }
    }
    out.rows_.index_copy_(0, out.IndexOf(batch), found);
  }
  return out;
}

torch::Tensor Activations::IndexOf(const ExampleBatch& batch) const {
  std::vector<std::pair<std::int64_t, std::int64_t>> sequences;  // first row and rows, in the caller's order
  for (const std::uint32_t row : batch.rows) {
    const Example& example = batch.examples[row];
    std::int64_t first = first_[row];
    if (example.documents.empty()) sequences.emplace_back(first, RowsOf(example, pooled_));
    for (const Document& document : example.documents) {
      sequences.emplace_back(first, document.length);
      first += document.length;
    }
  }
  std::vector<std::int64_t> index;
  if (pooled_) {  // in the caller's order, as Pool has it
    for (const auto& [first, rows] : sequences) index.push_back(first);
    return torch::tensor(index);
  }
  std::vector<std::size_t> packed(sequences.size());
  const std::int64_t* rank = batch.packed.rank.const_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < packed.size(); ++i) packed[static_cast<std::size_t>(rank[i])] = i;
  for (const std::size_t i : packed) {
    for (std::int64_t row = 0; row < sequences[i].second; ++row) index.push_back(sequences[i].first + row);
  }
  return torch::tensor(index);
}

void Activations::Enter(ExampleBatch& batch) const {
  FEDPEFT_CHECK(batch.packed.lead.positions() == 0);
  batch.packed.entry = Entry{layer_, rows_.index_select(0, IndexOf(batch))};
}

Result<const Activations*> ActivationStore::Of(const LowerModel& model, std::span<const Example> examples,
                                               std::size_t batch_size, std::size_t batch_tokens) {
  const std::uint64_t bytes = Activations::Bytes(model, examples);
  if (model.layer == 0 || bytes > most_bytes_) return nullptr;
  const Digest key = KeyOf(model, examples);
  const auto found = std::ranges::find(kept_, key, &Kept::key);
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    return &kept_.front().activations;
  }
  while (bytes_ + bytes > most_bytes_) DropLast();
  const bool in_file = in_memory_ + bytes > kMostInMemory;
  ASSIGN_OR_RETURN(Activations activations, Activations::Compute(model, examples, batch_size, batch_tokens, in_file));
  kept_.push_front({key, bytes, in_file, std::move(activations)});
  bytes_ += bytes;
  if (!in_file) in_memory_ += bytes;
  return &kept_.front().activations;
}

void ActivationStore::DropLast() {
  const Kept& last = kept_.back();
  bytes_ -= last.bytes;
  if (!last.in_file) in_memory_ -= last.bytes;
  kept_.pop_back();
}

}  // namespace fedpeft::client
