// MethodConfig: what is trained on a frozen base, as plain values. A method is its settings here, its tensors in a file
// of this folder (lora.cc, bottleneck.cc, …), its arithmetic in peft/method. Torch-free.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "peft/core/status.h"

#include "peft/plan/base_config.h"

namespace fedpeft {

/// Another rank or alpha for some of a method's linears.
struct LoraPattern {
  /// As in target_modules.
  std::string module;
  /// 0: the method's.
  std::int64_t rank = 0;
  double alpha = 0;
};

/// Low-rank adaptation (Hu et al. 2021): y = W·x + b + s·B·A·dropout(x), A [rank, in], B [out, rank].
struct LoraConfig {
  std::int64_t rank = 8;
  /// s = alpha / rank.
  double alpha = 16;
  /// Probability of zeroing an element of the branch's input while training.
  double dropout = 0;
  /// A site matches a target t when its path is t or ends with `.t`; the one target `all-linear` is all of them.
  /// Empty: the base's DefaultTargets.
  std::vector<std::string> target_modules = {};
  /// Only sites of these layers of the base; empty: of all.
  std::vector<std::int64_t> layers = {};
  std::vector<LoraPattern> patterns = {};
  /// s = alpha / √rank (Kalajdzievski 2023).
  bool use_rslora = false;
  /// y = m/‖W + s·B·A‖ ∘ (W + s·B·A)·x + b, norms of rows, taken for constants by the gradient (Liu et al. 2024). What
  /// is trained is m − ‖W‖.
  bool use_dora = false;
};

/// AdaLoRA (Zhang et al. 2023): y = W·x + b + s·B·E·A·dropout(x), E diagonal and zero at first. Of the ranks of all
/// linears together those that matter stay (ranks.h). The loss has γ times the mean of ‖A·Aᵀ − I‖ and ‖Bᵀ·B − I‖.
struct AdaLoraConfig {
  /// Its rank is where each linear begins; s = alpha / rank.
  LoraConfig lora = {.rank = 12, .alpha = 32};
  /// Of a linear in the mean, at the end.
  std::int64_t target_rank = 8;
  /// Rounds before ranks fall away, and at the end, when none does any more.
  std::uint32_t warmup_rounds = 0;
  std::uint32_t final_rounds = 0;
  /// Of the scores' moving averages over a client's steps.
  double beta1 = 0.85;
  double beta2 = 0.85;
  /// γ.
  double orthogonality = 0.5;
};

/// (IA)³ (Liu et al. 2022): activations times trained factors, which start as ones.
struct Ia3Config {
  /// As LoRA's. Empty: the base's default.
  std::vector<std::string> target_modules = {};
  /// Of these, linears whose input is scaled and not their output. Empty with empty targets: the base's default.
  std::vector<std::string> feedforward_modules = {};
};

/// Bottleneck adapters: h += s·(Wu·act(Wd·x + bd) + bu), h being what a layer's attention or feed-forward adds. With
/// phm_dim n, Compacter (Karimi Mahabadi et al. 2021): Wd and Wu are transposes of Σ_i A_i ⊗ (S_i·T_i), A [n, n, n] one
/// for all of them, S [n, in/n, r] and T [n, r, out/n] each its own.
struct BottleneckConfig {
  enum class Kind {
    /// Houlsby et al. 2019: after both, x = h.
    kHoulsby,
    /// Pfeiffer et al. 2020: after the feed-forward, x = norm(h + stream), or h + stream where no norm follows.
    kPfeiffer,
    /// He et al. 2021: beside the feed-forward, x = the stream it reads.
    kParallel,
  };
  Kind kind = Kind::kHoulsby;
  /// Rows of Wd.
  std::int64_t size = 32;
  Activation activation = Activation::kRelu;
  double scale = 1;
  /// 0: plain linears.
  std::int64_t phm_dim = 0;
  /// r, of S_i·T_i.
  std::int64_t phm_rank = 1;
};

/// What makes virtual tokens while they are trained (token_encoder.h). Only its output is exported.
enum class TokenEncoder { kNone, kMlp };

/// Prefix tuning (Li & Liang 2021), as P-tuning v2 has it: `length` keys and values in front of every layer's.
struct PrefixConfig {
  std::int64_t length = 16;
  TokenEncoder encoder = TokenEncoder::kNone;
  /// Width inside the encoder; 0: that of a layer's keys.
  std::int64_t encoder_size = 0;
};

/// Prompt tuning (Lester et al. 2021): `length` vectors in front of the token embeddings; with an encoder, P-tuning
/// (Liu et al. 2021).
struct PromptConfig {
  enum class Start {
    kRandom,
    /// The vectors of a text's tokens.
    kText,
    /// The vectors of tokens that the seed draws.
    kVocabulary,
  };
  std::int64_t length = 16;
  TokenEncoder encoder = TokenEncoder::kNone;
  /// Width inside the encoder; 0: that of the base.
  std::int64_t encoder_size = 0;
  /// But for kRandom, what is trained is added to the base's vectors of `ids`.
  Start start = Start::kRandom;
  std::string text = {};
  std::uint64_t seed = 0;
  /// The tokens it starts from; empty before ResolvePrompt (prompt_start.h), which needs the base's tokenizer.
  std::vector<std::int32_t> ids = {};
};

/// LLaMA-Adapter (Zhang et al. 2023): each query of the top layers also attends to `length` trained vectors, by a
/// softmax of their own; what comes of it is multiplied by a trained gate, zero at first.
struct LlamaAdapterConfig {
  std::int64_t length = 10;
  /// How many of the top layers; 0: all but the first two, at least one.
  std::int64_t layers = 0;
};

/// Parts of the base itself, trained as what is added to them.
struct OffsetConfig {
  enum class What {
    /// BitFit (Ben Zaken et al. 2021): the biases of linears and norms.
    kBiases,
    /// Weights and biases of the norms.
    kNorms,
    /// Everything.
    kAll,
  };
  What what = What::kBiases;
};

/// Elements of the linears' weights, chosen at random, trained as what is added to them.
struct SparseConfig {
  /// Share of each weight's elements; at least one is trained.
  double density = 0.005;
  /// As LoRA's. Empty: all linears.
  std::vector<std::string> target_modules = {};
  /// Chooses the elements.
  std::uint64_t seed = 0;
};

using MethodConfig = std::variant<LoraConfig, Ia3Config, BottleneckConfig, PrefixConfig, PromptConfig, OffsetConfig,
                                  AdaLoraConfig, SparseConfig, LlamaAdapterConfig>;

/// What a method puts in front of every sequence: `prompt` tokens that pass through the base like others, `prefix` keys
/// and values. Each takes a position.
struct Lead {
  std::int64_t prompt = 0;
  std::int64_t prefix = 0;
  /// The tokens of the prompt's rows, whose vectors the method adds to; empty: it has vectors of its own.
  std::vector<std::int32_t> ids = {};

  std::int64_t positions() const { return prompt + prefix; }
};
Lead LeadOf(const MethodConfig& method);

/// For people: `LoRA of rank 8`, `a prompt of 16 vectors`.
std::string DescribeMethod(const MethodConfig& method);

/// That single examples have gradients of their own under it, from one pass of many. Errors: kUnimplemented, with those
/// methods that have.
Status CheckExampleGradients(const MethodConfig& method);

/// The dropout of a method's own branch, 0 where it has none.
double BranchDropout(const MethodConfig& method);

}  // namespace fedpeft
