// Sites: the named places of a base where PEFT methods attach, and the classification head of its task model. All that
// a method sees of a base; nothing here says that a base has attention, or what its linears are called. A base calls
// its hook (peft/model/base_model.h) with the index of a site in these lists.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "peft/plan/base_shape.h"

namespace fedpeft {

/// A linear layer y = x·Wᵀ + b, W [out, in].
struct Site {
  /// Module path in the task model, as Hugging Face names it (`bert.encoder.layer.0.attention.self.query`).
  std::string path;
  /// Layer of the base, or −1 outside of them.
  int layer = -1;
  std::int64_t in = 0;
  std::int64_t out = 0;
  bool bias = true;
  /// The file holds Wᵀ, [in, out] (GPT-2's Conv1D), which an adapter's configuration has to say.
  bool transposed = false;
};

/// A normalisation: weight [width] and, if so, bias [width].
struct NormSite {
  std::string path;
  /// As Site's.
  int layer = -1;
  std::int64_t width = 0;
  bool bias = true;
};

/// What a layer adds to the stream in one go: its attention, or its feed-forward. Bottleneck adapters attach here.
struct SublayerSite {
  /// Of the linear that comes last in it.
  std::string path;
  int layer = 0;
  /// Of the stream.
  std::int64_t width = 0;
  bool feed_forward = false;
};

/// A layer's attention, where prefixes of keys and values attach.
struct AttentionSite {
  std::string path;
  int layer = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  /// Width of a head.
  std::int64_t width = 0;
};

/// A table of vectors, [rows, width]: of tokens, positions, token types.
struct TableSite {
  std::string path;
  std::int64_t rows = 0;
  std::int64_t width = 0;
};

/// In the order of the forward pass.
struct BaseSites {
  /// Tokens' first: prompts stand among its rows.
  std::vector<TableSite> tables;
  std::vector<Site> linears;
  std::vector<NormSite> norms;
  std::vector<SublayerSite> sublayers;
  std::vector<AttentionSite> attentions;
  /// The head that predicts the next token, where it is not the table of tokens.
  std::optional<TableSite> language_head;
};

/// Everything to attach to, the classification head excluded. Pre: shape checked.
BaseSites SitesOf(const BaseShape& shape);
/// Its linears alone.
std::vector<Site> LinearSites(const BaseShape& shape);

/// One linear of a task model's classification head: dropout, if so, then x·Wᵀ + b, then the activation.
struct HeadLayer {
  enum class Activation { kNone, kTanh, kRelu };
  /// `classifier`, `classifier.out_proj`, `score`.
  std::string path;
  std::int64_t in = 0;
  std::int64_t out = 0;
  bool bias = true;
  bool dropout = true;
  Activation activation = Activation::kNone;
};

/// The head of the base's sequence classification model on top of BaseModel::Pool, first layer first; the last one's
/// `out` is `labels`. Pre: shape checked.
std::vector<HeadLayer> HeadLayers(const BaseShape& shape, std::int64_t labels);

/// Whether the family has a language-model head, for the next token. Pre: shape checked, or false.
bool PredictsNextToken(const BaseShape& shape);

/// The modules that peft has to save whole for that head: the first components of its paths.
std::vector<std::string> HeadModules(const BaseShape& shape);

/// What `peft` adapts of this base by default, and a run that names no targets: for most, query and value.
std::vector<std::string> DefaultTargets(const BaseShape& shape);
/// The same of (IA)³, and those of them whose input is scaled.
std::vector<std::string> DefaultIa3Targets(const BaseShape& shape);
std::vector<std::string> DefaultIa3FeedForward(const BaseShape& shape);

}  // namespace fedpeft
