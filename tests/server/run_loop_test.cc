// What the loop hands to the store, without threads: the test is the disk.
#include "server/run_loop.h"

#include <gtest/gtest.h>

#include <deque>

#include "tests/server/small_run.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

class SilentService : public Outbox {
 public:
  void Send(SessionId, Task) override {}
  void WithdrawTasks() override {}
  void SetBusy(SessionId, bool) override {}
  BlobRef Publish(std::shared_ptr<const Bytes> blob) override { return {Sha256Of(*blob), blob->size()}; }
  void Retire(const Digest&) override {}
  void CloseUploadsBefore(std::uint32_t, std::uint32_t) override {}
};

TEST(RunLoopTest, ManyWhoComeAndGoAreOneJobForTheDisk) {
  fedpeft::testing::TempFolder folder;
  const RunSpec run = testing::SmallRun(1, 100);
  Store store = *Store::Open(folder.path(), "config", run);
  SilentService service;
  std::deque<std::pair<RunLoop::Job, std::function<void()>>> jobs;
  GlobalModel model = *GlobalModel::Make(run);
  ASSERT_TRUE(store.Commit(RoundCommit(), *model.checkpoint()).ok());
  RunLoop loop(run, {"run"}, std::move(model), {}, Clock::System());
  loop.Start(
      service,
      [&](RunLoop::Job job, std::function<void()> done) { jobs.emplace_back(std::move(job), std::move(done)); },
      [](const RunOutcome&) {});
  for (SessionId session = 1; session <= 50; ++session) {
    loop.Handle(ClientsJoined{session, {{"client-" + std::to_string(session), false, 10}}});
    if (session % 2 == 0) loop.Handle(ClientsLeft{session, "left"});
  }
  EXPECT_EQ(jobs.size(), 1u);
  while (!jobs.empty()) {
    const auto [job, done] = std::move(jobs.front());
    jobs.pop_front();
    loop.Stored(job(store), done);
    EXPECT_LE(jobs.size(), 1u);
  }
  const auto resume = store.LoadResumePoint();
  ASSERT_TRUE(resume.ok());
  EXPECT_EQ(resume->expected.size(), 25u);
  EXPECT_TRUE(resume->expected.contains("client-49"));
}

}  // namespace
}  // namespace fedpeft::server
