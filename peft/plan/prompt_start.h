// Which of the base's tokens a prompt starts from. Here alone, so that whoever needs them (a client that trains, an
// export that adds their vectors) finds the same; the coordinator's rounds need none.
#pragma once

#include "peft/core/status.h"
#include "peft/io/model_folder.h"
#include "peft/plan/plan.h"
#include "peft/text/tokenizer.h"

namespace fedpeft {

/// Fills in PromptConfig::ids where the plan's method is a prompt that starts from tokens, and changes nothing else: a
/// text's tokens, special ones included, again and again or cut off to the prompt's length, as `peft` has them; or
/// tokens that the seed draws from the whole vocabulary, a token more than once if so. Errors: kInvalidArgument for a
/// text without tokens, or a token that the base lacks; those of encoding.
Status ResolvePrompt(const Tokenizer& tokenizer, PeftPlan& plan);

/// The same; reads the folder's tokenizer.json where a text has to be tokenised. Errors: also those of the file, and
/// kFailedPrecondition for a tokenizer other than `hash`, unless that is all zero.
Status ResolvePrompt(const ModelFolder& base, const Digest& hash, PeftPlan& plan);

}  // namespace fedpeft
