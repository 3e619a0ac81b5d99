#include "peft/core/files.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"

namespace fedpeft {
namespace {

TEST(FilesTest, WriteThenReadAndLimit) {
  const testing::TempFolder folder;
  const std::string path = folder.File("a");
  ASSERT_TRUE(WriteFileAtomically(path, AsBytes(std::string_view("hello"))).ok());
  EXPECT_EQ(*ReadFile(path, 5), "hello");
  EXPECT_EQ(ReadFile(path, 4).status().code(), Code::kResourceExhausted);
  EXPECT_FALSE(PathExists(path + ".tmp"));
  ASSERT_TRUE(WriteFileAtomically(path, AsBytes(std::string_view("bye"))).ok());
  EXPECT_EQ(AsText(MappedFile::Open(path)->bytes()), "bye");
}

TEST(FilesTest, MissingFileIsNotFoundAndNamesThePath) {
  const Status status = ReadFile("/nonexistent/x", 10).status();
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_NE(status.message().find("/nonexistent/x"), std::string::npos);
}

TEST(FilesTest, LockExcludesASecondHolderUntilReleased) {
  const testing::TempFolder folder;
  {
    const Result<FolderLock> first = FolderLock::Take(folder.path());
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(FolderLock::Take(folder.path()).status().code(), Code::kFailedPrecondition);
  }
  EXPECT_TRUE(FolderLock::Take(folder.path()).ok());
}

}  // namespace
}  // namespace fedpeft
