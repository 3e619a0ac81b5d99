// BertPreTokenizer: words end at white space, which is dropped, and every punctuation character is a word.
#pragma once

#include "peft/text/pre_tokenizer.h"

namespace fedpeft::text {

class BertPreTokenizer final : public PreTokenizer {
 public:
  Status Split(Words& words) const override;
  void AddTo(Fingerprint& fingerprint) const override { fingerprint.Text("BertPreTokenizer"); }
};

}  // namespace fedpeft::text
