// What a hostile file may hold: the table of rejects, what is legal though odd, truncations and mutations.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/core/random.h"
#include "peft/io/safetensors.h"
#include "tests/io/safetensors_bytes.h"
#include "tests/support/mutate.h"

namespace fedpeft {
namespace {

using testing::EntryJson;
using ::testing::HasSubstr;
using testing::SafetensorsBytes;

const std::string kGood = EntryJson(R"("F32")", "[2]", "[0,8]");

struct Case {
  std::string what;
  Bytes file;
  std::string error;
};

/// A file of this header and eight data bytes, which kGood fits.
Case HeaderCase(const std::string& what, const std::string& header, const std::string& error) {
  return {what, SafetensorsBytes(header, 8), error};
}
/// A file of the one tensor "x".
Case TensorCase(const std::string& what, const std::string& entry, std::size_t data, const std::string& error) {
  return {what, SafetensorsBytes("{\"x\":" + entry + "}", data), error};
}

Bytes WithLength(std::uint64_t length) {
  Bytes file = SafetensorsBytes("{}", 0);
  StoreLe(length, file.data());
  return file;
}

std::vector<Case> FramingCases() {
  return {
      {"empty", {}, "at least 8"},
      {"seven bytes", Bytes(7), "at least 8"},
      {"no header", Bytes(8), "JSON"},
      {"header beyond the file", WithLength(3), "want at most 2"},
      {"header of 2^64-1", WithLength(~std::uint64_t{0}), "18446744073709551615"},
      {"header whose end overflows", WithLength(~std::uint64_t{7}), "by its length field"},
      {"header of 100000001", WithLength(100'000'001), "100000001"},
      {"a byte appended", SafetensorsBytes("{}", 1), "appended"},
      {"a byte missing", SafetensorsBytes("{\"x\":" + kGood + "}", 7), "truncated"},
      HeaderCase("not JSON", "x", "JSON"),
      HeaderCase("not UTF-8", "{\"\xff\":" + kGood + "}", "UTF-8"),
      HeaderCase("overlong UTF-8", "{\"\xc0\x80\":" + kGood + "}", "UTF-8"),
      HeaderCase("unfinished", "{\"x\":" + kGood, "JSON"),
      HeaderCase("two values", "{\"x\":" + kGood + "}{}", "JSON"),
      HeaderCase("comment", "{\"x\":" + kGood + "}//", "JSON"),
      HeaderCase("NUL and more", "{\"x\":" + kGood + "}" + std::string("\0{", 2), "NUL"),
      HeaderCase("byte-order mark", "\xef\xbb\xbf{\"x\":" + kGood + "}", "byte-order"),
  };
}

std::vector<Case> SchemaCases() {
  const std::string x = "\"x\":" + kGood;
  return {
      HeaderCase("an array", "[]", "an array"),
      HeaderCase("a string", "\"x\"", "a string"),
      HeaderCase("tensor is null", R"({"x":null})", "null"),
      HeaderCase("tensor is an array", R"({"x":["F32",[2],[0,8]]})", "an array"),
      HeaderCase("name twice", "{" + x + "," + x + "}", "\"x\" occurs twice"),
      HeaderCase("name twice by escape", "{" + x + ",\"\\u0078\":" + kGood + "}", "\"x\" occurs twice"),
      HeaderCase("metadata twice", R"({"__metadata__":{},"__metadata__":{},)" + x + "}", "occurs twice"),
      HeaderCase("metadata key twice", R"({"__metadata__":{"a":"1","a":"2"},)" + x + "}", "\"a\""),
      HeaderCase("metadata number", R"({"__metadata__":{"a":1},)" + x + "}", "a number"),
      HeaderCase("metadata nested", R"({"__metadata__":{"a":{}},)" + x + "}", "an object"),
      HeaderCase("metadata null", R"({"__metadata__":null,)" + x + "}", "null"),
      HeaderCase("no dtype", R"({"x":{"shape":[2],"data_offsets":[0,8]}})", "lacks"),
      HeaderCase("no shape", R"({"x":{"dtype":"F32","data_offsets":[0,8]}})", "lacks"),
      HeaderCase("no offsets", R"({"x":{"dtype":"F32","shape":[2]}})", "lacks"),
      HeaderCase("dtype twice", R"({"x":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "twice"),
      HeaderCase("unknown key", R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"a":1}})", "unknown key"),
      TensorCase("unknown dtype", EntryJson(R"("F33")", "[2]", "[0,8]"), 8, "unknown dtype \"F33\""),
      TensorCase("dtype number", EntryJson("1", "[2]", "[0,8]"), 8, "a number"),
      TensorCase("dtype boolean", EntryJson("true", "[2]", "[0,8]"), 8, "a boolean"),
      TensorCase("shape number", EntryJson(R"("F32")", "2", "[0,8]"), 8, "a number"),
      TensorCase("negative size", EntryJson(R"("F32")", "[-2]", "[0,8]"), 8, "negative"),
      TensorCase("minus zero", EntryJson(R"("F32")", "[-0]", "[0,0]"), 0, "negative"),
      TensorCase("float size", EntryJson(R"("F32")", "[2.0]", "[0,8]"), 8, "no 64-bit integer"),
      TensorCase("size of 2^64", EntryJson(R"("F32")", "[18446744073709551616]", "[0,8]"), 8, "no 64-bit integer"),
      TensorCase("size of 2^63", EntryJson(R"("F32")", "[9223372036854775808,0]", "[0,0]"), 0, "2^63"),
      TensorCase("nested shape", EntryJson(R"("F32")", "[[2]]", "[0,8]"), 8, "an array"),
      TensorCase("three offsets", EntryJson(R"("F32")", "[2]", "[0,8,8]"), 8, "not a pair"),
      TensorCase("one offset", EntryJson(R"("F32")", "[2]", "[8]"), 8, "not a pair"),
      TensorCase("string offset", EntryJson(R"("F32")", "[2]", R"(["0",8])"), 8, "a string"),
  };
}

/// Two tensors of four bytes at these offsets over eight bytes of data.
Case PairCase(const std::string& a, const std::string& b, const std::string& error) {
  return HeaderCase("a " + a + " b " + b,
                    "{\"a\":" + EntryJson(R"("U8")", "[4]", a) + ",\"b\":" + EntryJson(R"("U8")", "[4]", b) + "}",
                    error);
}

std::vector<Case> TilingCases() {
  return {
      PairCase("[0,4]", "[0,4]", "\"b\" has data_offsets [0,4], want them to begin at 4"),
      PairCase("[0,4]", "[3,7]", "want them to begin at 4"),
      PairCase("[0,4]", "[5,9]", "want them to begin at 4"),
      PairCase("[4,8]", "[8,12]", "want them to begin at 0"),
      TensorCase("backwards", EntryJson(R"("F32")", "[2]", "[0,-8]"), 8, "negative"),
      TensorCase("end before begin", EntryJson(R"("F32")", "[2]", "[8,0]"), 8, "begin at 0"),
      TensorCase("offsets too short", EntryJson(R"("F32")", "[2]", "[0,4]"), 4, "do not fit"),
      TensorCase("offsets beyond the data", EntryJson(R"("U8")", "[4096]", "[0,4096]"), 8, "want 4096"),
      TensorCase("offsets of 2^64-1", EntryJson(R"("U8")", "[1]", "[0,18446744073709551615]"), 8, "do not fit"),
      TensorCase("half a byte", EntryJson(R"("F4")", "[1]", "[0,1]"), 1, "do not fit"),
      TensorCase("shape overflows", EntryJson(R"("F32")", "[2,9223372036854775807]", "[0,8]"), 8, "do not fit"),
      TensorCase("overflow before a zero", EntryJson(R"("F32")", "[4294967296,4294967296,0]", "[0,0]"), 0,
                 "do not fit"),
      TensorCase("bits overflow", EntryJson(R"("F64")", "[576460752303423488]", "[0,0]"), 0, "do not fit"),
  };
}

class SafetensorsRejectTest : public ::testing::TestWithParam<std::vector<Case> (*)()> {};

TEST_P(SafetensorsRejectTest, EachCaseIsRefusedWithItsReason) {
  for (const Case& c : GetParam()()) {
    const Result<Safetensors> parsed = ParseSafetensors(c.file);
    ASSERT_FALSE(parsed.ok()) << c.what;
    EXPECT_EQ(parsed.status().code(), Code::kInvalidArgument) << c.what;
    EXPECT_THAT(parsed.status().message(), HasSubstr(c.error)) << c.what;
  }
}
INSTANTIATE_TEST_SUITE_P(Tables, SafetensorsRejectTest, ::testing::Values(FramingCases, SchemaCases, TilingCases));

TEST(SafetensorsHostileTest, OddButLegalFilesAreRead) {
  const std::string empty_then_full =
      R"({"a":)" + EntryJson(R"("F32")", "[0]", "[4,4]") + R"(,"b":)" + EntryJson(R"("F32")", "[1]", "[0,4]") + "}";
  const std::vector<std::pair<std::string, std::size_t>> files = {
      {"{}", 0},
      {" \t\r\n{\"x\":" + kGood + "} \n ", 8},
      {R"({"__metadata__":{}})", 0},
      {R"({"s":)" + EntryJson(R"("F32")", "[]", "[0,4]") + "}", 4},
      {empty_then_full, 4},
      {R"({"":)" + kGood + "}", 8},
      {R"({"x":{"data_offsets":[0,8],"shape":[2],"dtype":"F32"}})", 8},
  };
  for (const auto& [header, data] : files) {
    const Bytes file = SafetensorsBytes(header, data);
    const Result<Safetensors> parsed = ParseSafetensors(file);
    EXPECT_TRUE(parsed.ok()) << header << ": " << parsed.status().ToString();
  }
}

TEST(SafetensorsHostileTest, LimitsOnDimensionsAndNestingHold) {
  std::string ones = "1";
  for (int i = 1; i < 64; ++i) ones += ",1";
  const auto parse = [](const std::string& shape) {
    return ParseSafetensors(SafetensorsBytes("{\"x\":" + EntryJson(R"("U8")", shape, "[0,1]") + "}", 1)).status();
  };
  EXPECT_TRUE(parse("[" + ones + "]").ok());
  EXPECT_THAT(parse("[" + ones + ",1]").message(), HasSubstr("more than 64 dimensions"));
  EXPECT_THAT(parse(std::string(1 << 20, '[')).message(), HasSubstr("an array"));
}

TEST(SafetensorsHostileTest, NamesInMessagesAreEscapedAndCut) {
  const std::string name = "a\\n" + std::string(1000, 'b');
  const Status status = ParseSafetensors(SafetensorsBytes("{\"" + name + "\":null}", 0)).status();
  EXPECT_THAT(status.message(), HasSubstr("\"a\\x0abbb"));
  EXPECT_LT(status.message().size(), 400u);
}

Bytes SampleFile() {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const Bytes narrow = {1, 2, 3, 4};
  return *SerializeSafetensors(std::vector<TensorView>{FloatView("layer.0.weight", {2, 3}, values),
                                                       {"layer.0.mask", Dtype::kBool, {4}, narrow},
                                                       {"layer.0.bias", Dtype::kF16, {2}, narrow}},
                               {{"round", "3"}});
}

TEST(SafetensorsHostileTest, TruncationAtEveryByteIsRefused) {
  const Bytes file = SampleFile();
  ASSERT_TRUE(ParseSafetensors(file).ok());
  for (std::size_t size = 0; size < file.size(); ++size) {
    const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(ParseSafetensors(cut).ok()) << size;
  }
}

TEST(SafetensorsHostileTest, TenThousandMutationsAreRefusedOrConsistent) {
  RandomStream random(1, "safetensors mutations");
  const Bytes original = SampleFile();
  int accepted = 0;
  for (int i = 0; i < 10'000; ++i) {
    Bytes file = original;
    testing::Mutate(random, file);
    const Result<Safetensors> parsed = ParseSafetensors(file);
    if (!parsed.ok()) continue;
    ++accepted;
    std::size_t data = 0;
    for (const auto& [name, tensor] : parsed->tensors) {
      EXPECT_EQ(DenseBytes(tensor.dtype, tensor.shape), tensor.data.size()) << name;
      data += tensor.data.size();
    }
    EXPECT_EQ(8 + LoadLe<std::uint64_t>(file) + data, file.size());
  }
  EXPECT_GT(accepted, 0);      // changes within the data are legal
  EXPECT_LT(accepted, 5'000);  // most of the file is header
}

}  // namespace
}  // namespace fedpeft
