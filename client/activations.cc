#include "client/activations.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "client/batches.h"
#include "peft/core/bytes.h"
#include "peft/core/check.h"
#include "peft/core/fingerprint.h"

namespace fedpeft::client {

namespace {

/// Of what is kept in memory; of the rest, what a file is worth is in files.
constexpr std::uint64_t kMostInMemory = std::uint64_t{128} << 20;
constexpr std::uint64_t kLeastInFile = std::uint64_t{1} << 20;

bool IsPooled(const LowerModel& model) {
  return model.layer == static_cast<std::size_t>(model.base.shape().num_hidden_layers);
}

std::int64_t RowsOf(const Example& example, bool pooled) {
  return pooled ? 1 : static_cast<std::int64_t>(example.ids.size());
}

Digest DigestOf(const LowerModel& model) {
  Fingerprint of;
  for (const std::size_t number : {model.layer, model.batch_size, model.batch_tokens}) of.Number(number);
  of.Text(AsText(model.values_digest));
  return of.Finish();
}

/// Of all that a base sees of them.
Digest DigestOf(std::span<const Example> examples) {
  Fingerprint of;
  for (const Example& example : examples) {
    for (const auto* ids : {&example.ids, &example.type_ids}) {
      of.Text(AsText(AsBytes(std::span<const std::int32_t>(*ids))));
    }
    of.Number(example.documents.size());
    for (const Document& document : example.documents) of.Number(document.length);
  }
  return of.Finish();
}

/// A file that ends with this object, and has no name.
class UnnamedFile {
 public:
  static Result<UnnamedFile> Make(std::size_t bytes) {
    std::error_code error;
    const std::filesystem::path folder = std::filesystem::temp_directory_path(error);
    if (error) return FromErrno("TMPDIR, the folder for temporary files", error.value());
    std::string path = (folder / "fedpeft-activations-XXXXXX").string();
    UnnamedFile file;
    file.descriptor_ = mkstemp(path.data());
    if (file.descriptor_ < 0) return FromErrno(path, errno);
    unlink(path.c_str());
    // The space is taken beforehand: to write to a mapping of a full disk would end the process.
    const int failure = posix_fallocate(file.descriptor_, 0, static_cast<off_t>(bytes));
    if (failure != 0) return FromErrno(std::to_string(bytes) + " bytes in " + folder.string(), failure);
    return file;
  }
  ~UnnamedFile() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  UnnamedFile(UnnamedFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  UnnamedFile& operator=(UnnamedFile&&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  UnnamedFile() = default;
  int descriptor_ = -1;
};

Result<torch::Tensor> Mapped(at::IntArrayRef shape, torch::ScalarType type) {
  const std::size_t bytes = static_cast<std::size_t>(c10::multiply_integers(shape)) * c10::elementSize(type);
  ASSIGN_OR_RETURN(const UnnamedFile file, UnnamedFile::Make(bytes));
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor(), 0);
  if (data == MAP_FAILED) return FromErrno("a mapping of " + std::to_string(bytes) + " bytes", errno);
  return torch::from_blob(
      data, shape, [bytes](void* mapping) { munmap(mapping, bytes); }, type);
}

}  // namespace

std::uint64_t Activations::Bytes(const LowerModel& model, std::span<const Example> examples) {
  std::uint64_t rows = 0;
  for (const Example& example : examples) rows += static_cast<std::uint64_t>(RowsOf(example, IsPooled(model)));
  return rows * static_cast<std::uint64_t>(model.base.shape().hidden_size) * sizeof(float);
}

Result<Activations> Activations::Compute(const LowerModel& model, std::span<const Example> examples, bool in_file,
                                         const std::atomic<bool>* stop) {
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
  for (const auto& part : SortedBatches(LengthsOf(examples), model.batch_size, model.batch_tokens)) {
    if (stop != nullptr && stop->load()) return Cancelled("activations: was stopped");
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
  std::vector<std::int64_t> index;
  if (pooled_) {  // in the caller's order, as Pool has it
    for (const std::uint32_t row : batch.rows) index.push_back(first_[row]);
    return torch::tensor(index);
  }
  const std::vector<ExampleSequence> sequences = SequencesOf(batch.examples, batch.rows);
  std::vector<std::size_t> packed(sequences.size());
  const std::int64_t* rank = batch.packed.rank.const_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < packed.size(); ++i) packed[static_cast<std::size_t>(rank[i])] = i;
  for (const std::size_t i : packed) {
    const ExampleSequence& sequence = sequences[i];
    const std::int64_t first = first_[batch.rows[sequence.owner]] + static_cast<std::int64_t>(sequence.first);
    for (std::size_t t = 0; t < sequence.length; ++t) index.push_back(first + static_cast<std::int64_t>(t));
  }
  return torch::tensor(index);
}

void Activations::Enter(ExampleBatch& batch) const {
  FEDPEFT_CHECK(batch.packed.lead.positions() == 0);
  batch.packed.entry = Entry{layer_, rows_.index_select(0, IndexOf(batch))};
}

Result<const Activations*> ActivationStore::Of(const LowerModel& model, std::span<const Example> examples,
                                               const std::atomic<bool>* stop) {
  const std::uint64_t bytes = Activations::Bytes(model, examples);
  if (bytes > most_bytes_) return nullptr;
  const Digest lower = DigestOf(model), of = DigestOf(examples);
  const auto is_it = [&](const Kept& kept) { return kept.model == lower && kept.examples == of; };
  if (const auto found = std::ranges::find_if(kept_, is_it); found != kept_.end()) return &found->activations;
  const Place place = MakeRoom(lower, bytes);
  if (place == Place::kNowhere) return nullptr;
  const bool in_file = place == Place::kFile;
  ASSIGN_OR_RETURN(Activations activations, Activations::Compute(model, examples, in_file, stop));
  kept_.push_back({lower, of, bytes, in_file, std::move(activations)});
  bytes_ += bytes;
  if (!in_file) in_memory_ += bytes;
  return &kept_.back().activations;
}

ActivationStore::Place ActivationStore::MakeRoom(const Digest& model, std::uint64_t bytes) {
  for (;;) {
    if (bytes_ + bytes <= most_bytes_) {
      if (in_memory_ + bytes <= kMostInMemory) return Place::kMemory;
      if (bytes >= kLeastInFile) return Place::kFile;
    }
    const auto other = std::ranges::find_if(kept_, [&](const Kept& kept) { return kept.model != model; });
    if (other == kept_.end()) return Place::kNowhere;
    Drop(other);
  }
}

void ActivationStore::Drop(Iterator kept) {
  bytes_ -= kept->bytes;
  if (!kept->in_file) in_memory_ -= kept->bytes;
  kept_.erase(kept);
}

}  // namespace fedpeft::client
