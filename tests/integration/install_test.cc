// `cmake --install` makes a tree that runs wherever it is moved, without the build folder and without Python.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/integration/federation.h"

namespace fedpeft::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// The installed tree, moved from where it was installed to.
class InstallTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string there = folder_.File("there");
    RunToEnd({FEDPEFT_CMAKE, "--install", FEDPEFT_BINARY_DIR, "--prefix", there}, folder_.File("install"));
    std::filesystem::rename(there, tree_);
  }

  const TempFolder folder_;
  const std::string tree_ = folder_.File("moved");
};

TEST_F(InstallTest, ProgramsFindEveryLibraryOutsideTheCheckout) {
  for (const std::string program : {"fedpeft-client", "fedpeft-server"}) {
    const std::string libraries = RunToEnd({"/usr/bin/ldd", tree_ + "/bin/" + program}, folder_.File("ldd"), true);
    EXPECT_THAT(libraries, Not(HasSubstr("not found")));
    EXPECT_THAT(libraries, Not(HasSubstr("site-packages")));
    EXPECT_THAT(libraries, Not(HasSubstr(FEDPEFT_BINARY_DIR)));
  }
}

TEST_F(InstallTest, ClientTrainsFromTheMovedTree) {
  Federation federation(Settings{.rounds = 1});
  const std::string data = federation.Data(0, 16);
  const std::string out =
      RunToEnd({tree_ + "/bin/fedpeft-client", "train", federation.run(), "--base", federation.base(), "--data", data,
                "--eval-data", data, "--threads", "1", folder_.File("adapter")},
               folder_.File("train"), true);
  EXPECT_THAT(out, HasSubstr("round 1/1"));
  EXPECT_THAT(RunToEnd({tree_ + "/bin/fedpeft-server", "check", federation.run()}, folder_.File("check"), true),
              HasSubstr("good"));
}

}  // namespace
}  // namespace fedpeft::testing
