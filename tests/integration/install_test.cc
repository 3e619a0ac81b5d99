// `cmake --install` makes a tree that runs wherever it is moved, without the build folder and without Python.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "tests/integration/federation.h"

namespace fedpeft::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// The installed tree, moved from where it was installed to.
class InstallTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempFolder>();
    tree_ = folder_->File("moved");
    const std::string there = folder_->File("there");
    RunToEnd({FEDPEFT_CMAKE, "--install", FEDPEFT_BINARY_DIR, "--prefix", there}, folder_->File("install"));
    std::filesystem::rename(there, tree_);
  }
  static void TearDownTestSuite() { folder_.reset(); }

  /// Runs an installed program in an empty environment; its standard output. Everything it loads, while it starts and
  /// later, has to be outside of the checkout, so the build folder and the Python environment may as well not exist.
  static std::string RunInstalled(const std::string& program, const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {"/usr/bin/env", "LD_DEBUG=files", tree_ + "/bin/" + program};
    command.insert(command.end(), arguments.begin(), arguments.end());
    const std::string log = folder_->File(program);
    const std::string output = RunToEnd(command, log, /*clean=*/true);
    const std::string loaded = Slurp(log + ".err");
    EXPECT_THAT(loaded, HasSubstr("calling init: ")) << "the loader no longer says what it loads";
    EXPECT_THAT(loaded, Not(HasSubstr("site-packages")));
    EXPECT_THAT(loaded, Not(HasSubstr(FEDPEFT_BINARY_DIR)));
    return output;
  }

  static inline std::unique_ptr<TempFolder> folder_;
  static inline std::string tree_;
};

TEST_F(InstallTest, ClientTrainsFromTheMovedTree) {
  Federation federation(Settings{.rounds = 1});
  const std::string data = federation.Data(0, 16);
  const std::string output =
      RunInstalled("fedpeft-client", {"train", federation.run(), "--base", federation.base(), "--data", data,
                                      "--eval-data", data, "--threads", "1", folder_->File("adapter")});
  EXPECT_THAT(output, HasSubstr("round 1/1"));
}

TEST_F(InstallTest, ServerChecksFromTheMovedTree) {
  const Federation federation(Settings{.rounds = 1});
  EXPECT_THAT(RunInstalled("fedpeft-server", {"check", federation.run()}), HasSubstr("good"));
}

}  // namespace
}  // namespace fedpeft::testing
