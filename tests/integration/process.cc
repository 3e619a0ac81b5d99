#include "tests/integration/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <utility>

#include "peft/core/check.h"

namespace fedpeft::testing {

bool Eventually(const std::function<bool()>& holds, std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

std::string Slurp(const std::string& path) {
  const std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (file) content << file.rdbuf();
  return content.str();
}

namespace {

/// Becomes the program. Only calls that are safe after a fork of a process with threads.
[[noreturn]] void Become(char* const* argv, const char* out, const char* err, bool clean) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
  ::dup2(::open(out, kFlags, 0644), STDOUT_FILENO);
  ::dup2(::open(err, kFlags, 0644), STDERR_FILENO);
  if (clean) {
    char* const nothing[] = {nullptr};
    ::execve(argv[0], argv, nothing);
  } else {
    ::execv(argv[0], argv);
  }
  ::_exit(127);
}

}  // namespace

Process::Process(const std::vector<std::string>& command, std::string log, bool clean) : log_(std::move(log)) {
  std::vector<std::string> words = command;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string out = log_ + ".out", err = log_ + ".err";
  pid_ = ::fork();
  FEDPEFT_CHECK(pid_ >= 0);
  if (pid_ == 0) Become(argv.data(), out.c_str(), err.c_str(), clean);
  pid_fd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  FEDPEFT_CHECK(pid_fd_ >= 0);
}

Process::~Process() {
  if (!status_) Kill();
  ::close(pid_fd_);
}

void Process::Signal(int signal) const {
  if (!status_) ::kill(pid_, signal);
}

void Process::Reap() {
  int status = 0;
  FEDPEFT_CHECK(::waitpid(pid_, &status, 0) == pid_);
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

bool Process::EndsWithin(std::chrono::milliseconds at_most) {
  if (status_) return true;
  pollfd ended{.fd = pid_fd_, .events = POLLIN, .revents = 0};
  if (::poll(&ended, 1, static_cast<int>(at_most.count())) != 1) return false;
  Reap();
  return true;
}

int Process::Wait(std::chrono::milliseconds patience) {
  if (!EndsWithin(patience)) {
    ADD_FAILURE() << log_ << ": still runs after " << patience.count() << " ms; it wrote\n" << output() << errors();
    Kill();
  }
  return *status_;
}

void Process::Kill() {
  if (status_) return;
  ::kill(pid_, SIGKILL);
  Reap();
}

std::string RunToEnd(const std::vector<std::string>& command, const std::string& log, bool clean) {
  Process process(command, log, clean);
  EXPECT_EQ(process.Wait(), 0) << log << ": " << process.errors();
  return process.output();
}

}  // namespace fedpeft::testing
