// A program under test as an object: started with its output in files, signalled, waited for with a deadline, and never
// left behind: it dies with the object, and with the test however that ends.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace fedpeft::testing {

/// What a healthy system needs a fraction of, on a machine that is busy with other tests; who reaches it has failed.
inline constexpr std::chrono::seconds kPatience{60};

/// Whether `holds` came true in time. Asks every few milliseconds, for what only files and remote states can tell.
bool Eventually(const std::function<bool()>& holds, std::chrono::milliseconds patience = kPatience);

/// The file's content; empty when there is none.
std::string Slurp(const std::string& path);

class Process {
 public:
  /// Standard output and error go to `log`.out and `log`.err. `clean`: with an empty environment.
  Process(const std::vector<std::string>& command, std::string log, bool clean = false);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void Signal(int signal) const;
  /// True when it ended within `at_most`.
  bool EndsWithin(std::chrono::milliseconds at_most);
  /// Its exit status, or minus the signal that ended it. Fails the test, shows the log and kills it when it does not
  /// end in time.
  int Wait(std::chrono::milliseconds patience = kPatience);
  /// SIGKILL, and waits for the end.
  void Kill();

  std::string output() const { return Slurp(log_ + ".out"); }
  std::string errors() const { return Slurp(log_ + ".err"); }

 private:
  void Reap();

  std::string log_;
  pid_t pid_ = -1;
  int pid_fd_ = -1;
  std::optional<int> status_;
};

/// Runs a command to its end; its standard output. Fails the test when it does not end with 0.
std::string RunToEnd(const std::vector<std::string>& command, const std::string& log, bool clean = false);

}  // namespace fedpeft::testing
