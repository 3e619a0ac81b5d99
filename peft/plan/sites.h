// Sites: the named places of a base where PEFT methods attach, and the classification head of its task model. All that
// a method sees of a base; nothing here says that a base has attention, or what its linears are called.
#pragma once

#include <cstdint>
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
  /// The file holds Wᵀ, [in, out] (GPT-2's Conv1D), which an adapter's configuration has to say.
  bool transposed = false;
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

/// The token embedding, where prompts attach: [vocab, width].
struct EmbeddingSite {
  std::string path;
  std::int64_t vocab = 0;
  std::int64_t width = 0;
};

/// In the order of the forward pass.
struct BaseSites {
  EmbeddingSite embedding;
  std::vector<Site> linears;
  std::vector<AttentionSite> attentions;
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

}  // namespace fedpeft
