#include "peft/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/io/safetensors_bytes.h"
#include "tests/support/temp_folder.h"

namespace fedpeft {
namespace {

using ::testing::ElementsAre;
using testing::EntryJson;
using ::testing::HasSubstr;
using testing::SafetensorsBytes;

std::vector<float> Floats(const TensorView& tensor, std::size_t elements) {
  std::vector<float> out(elements);
  const Status status = CopyFloats(tensor, out);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return out;
}

/// The only tensor, "x", of a file with the given dtype, shape and data 0, 1, 2, ….
struct OneTensor {
  OneTensor(const std::string& dtype, const std::string& shape, std::size_t bytes)
      : file(SafetensorsBytes(
            "{\"x\":" + EntryJson('"' + dtype + '"', shape, "[0," + std::to_string(bytes) + "]") + "}", bytes)),
        parsed(ParseSafetensors(file)) {}
  const TensorView& x() const { return parsed->tensors.at("x"); }
  Bytes file;
  Result<Safetensors> parsed;
};

TEST(SafetensorsTest, ReadsTheGoldenFile) {
  Bytes golden = {0x40, 0, 0, 0, 0, 0, 0, 0};
  const std::string_view header = R"({"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}})";
  golden.insert(golden.end(), header.begin(), header.end());
  const std::vector<float> values = {0, 1, -2, 3.5f, 1e-30f, 5};
  const ByteSpan data = AsBytes(std::span<const float>(values));
  golden.insert(golden.end(), data.begin(), data.end());

  const Result<Safetensors> file = ParseSafetensors(golden);
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  ASSERT_EQ(file->tensors.size(), 1u);
  const TensorView& tensor = file->tensors.at("attn.0");
  EXPECT_EQ(tensor.dtype, Dtype::kF32);
  EXPECT_THAT(tensor.shape, ElementsAre(1, 2, 3));
  EXPECT_EQ(Floats(tensor, 6), values);
  EXPECT_TRUE(file->metadata.empty());
}

// The bytes that safetensors 0.8 writes for the same tensors and metadata.
TEST(SafetensorsTest, WritesTheBytesOfTheOfficialLibrary) {
  const std::vector<std::int64_t> a = {0, 1, 2};
  const std::vector<float> b = {1.5f, -2.0f};
  const Bytes h = {0x00, 0x3f};
  const std::vector<TensorView> tensors = {
      {"h", Dtype::kBF16, {1, 1}, h},
      FloatView("b", {2}, b),
      {"a", Dtype::kI64, {3}, AsBytes(std::span<const std::int64_t>(a))},
  };
  std::string want("\xc8\0\0\0\0\0\0\0", 8);
  want += R"({"__metadata__":{"format":"pt"},"a":{"dtype":"I64","shape":[3],"data_offsets":[0,24]},)"
          R"("b":{"dtype":"F32","shape":[2],"data_offsets":[24,32]},)"
          R"("h":{"dtype":"BF16","shape":[1,1],"data_offsets":[32,34]}} )";
  want += std::string("\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 24);
  want += std::string("\0\0\xc0\x3f\0\0\0\xc0\0\x3f", 10);

  const Result<Bytes> got = SerializeSafetensors(tensors);
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  EXPECT_EQ(AsText(*got), want);
}

TEST(SafetensorsTest, WhatIsWrittenToDiskIsReadBackMappedOrInMemory) {
  const testing::TempFolder folder;
  const std::string path = folder.File("x.safetensors");
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const std::vector<TensorView> tensors = {FloatView("b", {2, 3}, values), FloatView("a", {0, 7}, {}),
                                           FloatView("s\n\"é\"", {}, std::span(values).first(1))};
  ASSERT_TRUE(WriteSafetensors(path, tensors, {{"round", "7"}}).ok());
  EXPECT_EQ(*ReadFile(path, 1 << 20), AsText(*SerializeSafetensors(tensors, {{"round", "7"}})));
  const auto check = [&](Result<SafetensorsFile> opened) {
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    const SafetensorsFile file = std::move(opened).value();  // moved: the views must follow
    EXPECT_EQ(file.metadata().at("round"), "7");
    EXPECT_EQ(file.metadata().at("format"), "pt");
    EXPECT_EQ(file.tensors().size(), 3u);
    EXPECT_EQ(Floats(file.tensors().at("b"), 6), values);
    EXPECT_EQ(Floats(file.tensors().at("s\n\"é\""), 1)[0], 1);
    EXPECT_TRUE(Floats(file.tensors().at("a"), 0).empty());
  };
  check(SafetensorsFile::Map(path));
  check(SafetensorsFile::Read(path, 1 << 20));
  EXPECT_EQ(SafetensorsFile::Read(path, 10).status().code(), Code::kResourceExhausted);
}

TEST(SafetensorsTest, WriterRefusesWhatAReaderWould) {
  const std::vector<float> two = {1, 2};
  const auto error = [](const std::vector<TensorView>& tensors, const StringMap& metadata = {}) {
    return SerializeSafetensors(tensors, metadata).status().message();
  };
  const TensorView x = FloatView("x", {2}, two);
  TensorView negative = x;
  negative.shape = {-1, 0};
  TensorView short_data = x;
  short_data.data = short_data.data.first(7);
  EXPECT_THAT(error({x, x}), HasSubstr("\"x\" is given twice"));
  EXPECT_THAT(error({FloatView("__metadata__", {2}, two)}), HasSubstr("reserved"));
  EXPECT_THAT(error({FloatView("\xff", {2}, two)}), HasSubstr("UTF-8"));
  EXPECT_THAT(error({x}, {{"k", "\xff"}}), HasSubstr("UTF-8"));
  EXPECT_THAT(error({short_data}), HasSubstr("tensor \"x\" has 7 bytes"));
  EXPECT_THAT(error({negative}), HasSubstr("shape [-1,0]"));
}

TEST(SafetensorsTest, ConvertsEveryFloatDtype) {
  const Bytes half = {0x00, 0x3c, 0xff, 0xff};    // 1, NaN
  const Bytes brain = {0x80, 0x3f, 0x80, 0xff};   // 1, -infinity
  const std::vector<double> wide = {0.1, 1e300};  // rounds, overflows to infinity
  const std::vector<float> f16 = Floats({"x", Dtype::kF16, {2}, half}, 2);
  const std::vector<float> bf16 = Floats({"x", Dtype::kBF16, {2}, brain}, 2);
  const std::vector<float> f64 = Floats({"x", Dtype::kF64, {2}, AsBytes(std::span<const double>(wide))}, 2);
  EXPECT_EQ(f16[0], 1);
  EXPECT_TRUE(std::isnan(f16[1]));
  EXPECT_THAT(bf16, ElementsAre(1.0f, -std::numeric_limits<float>::infinity()));
  EXPECT_THAT(f64, ElementsAre(0.1f, std::numeric_limits<float>::infinity()));
}

TEST(SafetensorsTest, OtherDtypesAreReadButTheirValuesRefusedByName) {
  const std::map<std::string, std::size_t> bytes_of_four = {
      {"BOOL", 4},    {"F4", 2},      {"F6_E2M3", 3}, {"F6_E3M2", 3},     {"U8", 4},   {"I8", 4},
      {"F8_E5M2", 4}, {"F8_E4M3", 4}, {"F8_E8M0", 4}, {"F8_E4M3FNUZ", 4}, {"I16", 8},  {"F8_E5M2FNUZ", 4},
      {"U16", 8},     {"I32", 16},    {"U32", 16},    {"C64", 32},        {"I64", 32}, {"U64", 32}};
  for (const auto& [dtype, bytes] : bytes_of_four) {
    const OneTensor file(dtype, "[4]", bytes);
    ASSERT_TRUE(file.parsed.ok()) << dtype << ": " << file.parsed.status().ToString();
    EXPECT_EQ(DtypeName(file.x().dtype), dtype);
    std::vector<float> out(4);
    const Status status = CopyFloats(file.x(), out);
    EXPECT_EQ(status.code(), Code::kUnimplemented) << dtype;
    EXPECT_THAT(status.message(), HasSubstr("tensor \"x\" has dtype " + dtype));
  }
}

TEST(SafetensorsTest, WrongSizeOrShapeIsRefusedByName) {
  const OneTensor file("F32", "[2,3]", 24);
  std::vector<float> five(5);
  EXPECT_EQ(CopyFloats(file.x(), five).message(), "tensor \"x\" has 6 elements, want 5");
  EXPECT_TRUE(CheckShape(file.x(), {2, 3}).ok());
  EXPECT_EQ(CheckShape(file.x(), {3, 2}).message(), "tensor \"x\" has shape [2,3], want [3,2]");
}

TEST(SafetensorsTest, UnalignedDataIsRead) {
  for (std::size_t padding = 0; padding < 8; ++padding) {
    const std::string header = "{\"x\":" + EntryJson("\"F32\"", "[1]", "[0,4]") + "}" + std::string(padding, ' ');
    const Bytes file = SafetensorsBytes(header, 4);
    const Result<Safetensors> parsed = ParseSafetensors(file);
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(Floats(parsed->tensors.at("x"), 1)[0], std::bit_cast<float>(0x03020100));
  }
}

}  // namespace
}  // namespace fedpeft
