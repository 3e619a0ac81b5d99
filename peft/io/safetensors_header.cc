#include "peft/io/safetensors_header.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "peft/io/quote.h"

namespace fedpeft::internal {

namespace {

constexpr std::size_t kMostEntries = 1'000'000;
constexpr std::size_t kMostDimensions = 64;
constexpr std::string_view kMetadataKey = "__metadata__";

/// Walks the one schema there is, token by token, so that a header costs no more than the entries it describes:
///   { "__metadata__": {string: string …}, NAME: {"dtype": string, "shape": [u64 …], "data_offsets": [u64, u64]} … }
/// Each callback returns false, after saying why in error_, to end the parse. The places below are all that can nest,
/// so nothing deeper than three levels is ever entered.
class HeaderSax final : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool start_object(std::size_t /*elements*/) override {
    switch (place_) {
      case Place::kStart:
        place_ = Place::kTop;
        return true;
      case Place::kMetadataStart:
        place_ = Place::kMetadata;
        return true;
      case Place::kTensorStart:
        place_ = Place::kTensor;
        return true;
      default:
        return Unexpected("an object");
    }
  }

  bool key(string_t& key) override {
    if (place_ == Place::kTop) return TopKey(key);
    if (place_ == Place::kMetadata) {
      metadata_key_ = key;
      if (header_.metadata.contains(key)) return Fail("key " + Quoted(key) + " of __metadata__ occurs twice");
      return CountEntry();
    }
    return TensorKey(key);
  }

  bool end_object() override {
    if (place_ == Place::kTensor && seen_ != (kDtype | kShape | kOffsets)) {
      return Fail(Tensor() + " lacks one of dtype, shape, data_offsets");
    }
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      header_.metadata.emplace(std::move(metadata_key_), std::move(value));
      return true;
    }
    if (place_ != Place::kDtype) return Unexpected("a string");
    const std::optional<Dtype> dtype = DtypeOf(value);
    if (!dtype) return Fail(Tensor() + " has unknown dtype " + Quoted(value));
    entry_->dtype = *dtype;
    place_ = Place::kTensor;
    return true;
  }

  bool start_array(std::size_t /*elements*/) override {
    if (place_ == Place::kShapeStart) {
      place_ = Place::kShape;
      return true;
    }
    if (place_ != Place::kOffsetsStart) return Unexpected("an array");
    place_ = Place::kOffsets;
    offsets_ = 0;
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && offsets_ != 2) return Fail(Tensor() + ": data_offsets is not a pair");
    place_ = Place::kTensor;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) {
      if (entry_->shape.size() == kMostDimensions) return Fail(Tensor() + " has more than 64 dimensions");
      if (value > std::numeric_limits<std::int64_t>::max()) return Fail(Tensor() + " has a dimension beyond 2^63");
      entry_->shape.push_back(static_cast<std::int64_t>(value));
      return true;
    }
    if (place_ != Place::kOffsets) return Unexpected("a number");
    if (offsets_ == 2) return Fail(Tensor() + ": data_offsets is not a pair");
    (offsets_++ == 0 ? entry_->begin : entry_->end) = value;
    return true;
  }

  bool number_integer(number_integer_t) override { return Unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return Unexpected("a number that is no 64-bit integer");
  }
  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool binary(binary_t&) override { return Unexpected("binary"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    if (error_.empty()) error_ = "not valid UTF-8 JSON at byte " + std::to_string(position);
    return false;
  }

  Header TakeHeader() { return std::move(header_); }
  const std::string& error() const { return error_; }

 private:
  enum class Place {
    kStart,
    kTop,
    kMetadataStart,
    kMetadata,
    kTensorStart,
    kTensor,
    kDtype,
    kShapeStart,
    kShape,
    kOffsetsStart,
    kOffsets,
    kEnd
  };
  enum Seen : unsigned { kDtype = 1, kShape = 2, kOffsets = 4 };

  bool TopKey(const string_t& key) {
    if (key == kMetadataKey) {
      if (std::exchange(seen_metadata_, true)) return Fail("__metadata__ occurs twice");
      place_ = Place::kMetadataStart;
      return true;
    }
    const auto [it, inserted] = header_.tensors.try_emplace(key);
    if (!inserted) return Fail("tensor " + Quoted(key) + " occurs twice");
    name_ = &it->first;
    entry_ = &it->second;
    seen_ = 0;
    place_ = Place::kTensorStart;
    return CountEntry();
  }

  bool TensorKey(const string_t& key) {
    unsigned field = 0;
    if (key == "dtype") {
      field = kDtype;
      place_ = Place::kDtype;
    } else if (key == "shape") {
      field = kShape;
      place_ = Place::kShapeStart;
    } else if (key == "data_offsets") {
      field = kOffsets;
      place_ = Place::kOffsetsStart;
    } else {
      return Fail(Tensor() + " has unknown key " + Quoted(key));
    }
    if ((seen_ & field) != 0) return Fail(Tensor() + ": key " + key + " occurs twice");
    seen_ |= field;
    return true;
  }

  bool CountEntry() { return ++entries_ <= kMostEntries || Fail("more than 1000000 tensors and metadata entries"); }
  std::string Tensor() const { return "tensor " + Quoted(*name_); }
  bool Unexpected(const char* what) {
    return Fail((entry_ == nullptr ? std::string("top level") : "at or after " + Tensor()) + ": " + what +
                " where the format has none");
  }
  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }

  Place place_ = Place::kStart;
  Header header_;
  std::string error_;
  std::size_t entries_ = 0;
  bool seen_metadata_ = false;
  std::string metadata_key_;
  const std::string* name_ = nullptr;  // of the tensor last entered; map nodes do not move
  HeaderEntry* entry_ = nullptr;
  unsigned seen_ = 0;
  int offsets_ = 0;
};

}  // namespace

Result<Header> ParseHeader(std::string_view json) {
  // The library takes a NUL for the end of its input and skips a byte-order mark: both would hide bytes from us.
  if (json.find('\0') != std::string_view::npos) return InvalidArgument("header: has a NUL byte, want JSON");
  if (json.starts_with("\xEF")) return InvalidArgument("header: begins with a byte-order mark, want '{'");
  HeaderSax sax;
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &sax)) return InvalidArgument("header: " + sax.error());
  return sax.TakeHeader();
}

}  // namespace fedpeft::internal
