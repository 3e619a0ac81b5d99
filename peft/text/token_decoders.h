// The decoders that rewrite tokens one by one, and the small ones that join them.
#pragma once

#include <cstddef>

#include "peft/text/decoder.h"

namespace fedpeft::text {

class JsonObject;

/// WordPiece: a space before every token but the first and those with the prefix, which they lose.
class WordPieceDecoder final : public Decoder {
 public:
  /// `cleanup` undoes the spaces before English punctuation and contractions.
  WordPieceDecoder(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  static Result<std::unique_ptr<Decoder>> FromJson(JsonObject& object);
  void Decode(std::vector<std::string>& tokens) const override;

 private:
  std::string prefix_;
  bool cleanup_;
};

/// BPEDecoder: the suffix that ends words becomes a space, and nothing in the last token.
class SuffixDecoder final : public Decoder {
 public:
  explicit SuffixDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  static Result<std::unique_ptr<Decoder>> FromJson(JsonObject& object);
  void Decode(std::vector<std::string>& tokens) const override;

 private:
  std::string suffix_;
};

/// Replace: one plain text for another in every token.
class ReplaceDecoder final : public Decoder {
 public:
  ReplaceDecoder(std::string from, std::string to) : from_(std::move(from)), to_(std::move(to)) {}
  static Result<std::unique_ptr<Decoder>> FromJson(JsonObject& object);
  void Decode(std::vector<std::string>& tokens) const override;

 private:
  std::string from_, to_;
};

/// Strip: takes up to so many of one character from each end of every token.
class StripDecoder final : public Decoder {
 public:
  StripDecoder(std::string content, std::size_t start, std::size_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  static Result<std::unique_ptr<Decoder>> FromJson(JsonObject& object);
  void Decode(std::vector<std::string>& tokens) const override;

 private:
  std::string content_;  // one character
  std::size_t start_, stop_;
};

/// ByteFallback: a run of tokens `<0xHH>` is the text with these bytes, or, where that is ill-formed, a U+FFFD for
/// each.
class ByteFallbackDecoder final : public Decoder {
 public:
  void Decode(std::vector<std::string>& tokens) const override;
};

/// Fuse: all tokens are one from here on.
class FuseDecoder final : public Decoder {
 public:
  void Decode(std::vector<std::string>& tokens) const override;
};

}  // namespace fedpeft::text
