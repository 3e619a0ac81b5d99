#include "peft/io/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/core/files.h"
#include "tests/support/temp_folder.h"

namespace fedpeft {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class EndIdsTest : public ::testing::Test {
 protected:
  void Put(const char* name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(folder_.File(name), AsBytes(text)).ok());
  }
  std::vector<std::int32_t> Read() {
    const auto ids = ReadEndIds(folder_.path());
    EXPECT_TRUE(ids.ok()) << ids.status().ToString();
    return *ids;
  }
  testing::TempFolder folder_;
};

TEST_F(EndIdsTest, ComeFromConfigJsonWhereThereIsNoOther) {
  Put("config.json", R"({"eos_token_id": 7})");
  EXPECT_THAT(Read(), ElementsAre(7));
}

TEST_F(EndIdsTest, GenerationConfigHidesConfigJson) {
  Put("config.json", R"({"eos_token_id": 7})");
  Put("generation_config.json", R"({"eos_token_id": [128001, 0]})");
  EXPECT_THAT(Read(), ElementsAre(128001, 0));
  Put("generation_config.json", R"({"temperature": 0.6})");
  EXPECT_THAT(Read(), IsEmpty());
}

TEST_F(EndIdsTest, MayBeNone) {
  for (const char* none : {"{}", R"({"eos_token_id": null})", R"({"eos_token_id": []})"}) {
    Put("config.json", none);
    EXPECT_THAT(Read(), IsEmpty()) << none;
  }
}

TEST_F(EndIdsTest, OtherThingsThanIdsAreRefusedNamingTheFile) {
  for (const char* bad : {"-1", "2147483648", "1.0", "\"</s>\"", "[1, [2]]", "true", "{}"}) {
    Put("config.json", std::string(R"({"eos_token_id": )") + bad + "}");
    EXPECT_THAT(ReadEndIds(folder_.path()).status().message(), ::testing::HasSubstr("config.json: eos_token_id"))
        << bad;
  }
  Put("config.json", "{");
  EXPECT_FALSE(ReadEndIds(folder_.path()).ok());
  EXPECT_EQ(ReadEndIds(folder_.File("nowhere")).status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace fedpeft
