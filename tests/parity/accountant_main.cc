// accountant_main: what releases cost, for scripts that know it otherwise. Reads lines
//
//   pld|rdp DELTA; TIMES RELEASE; TIMES RELEASE; ...
//
// with releases as ledgers have them (accountant.h); answers each with its epsilon.
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

#include "privacy/accounting/accountant.h"

namespace fedpeft::privacy {
namespace {

Result<double> Answer(const std::string& line) {
  std::istringstream in(line);
  std::string kind, part;
  double delta = 0;
  in >> kind >> delta;
  Accountant accountant(kind == "rdp" ? AccountantKind::kRdp : AccountantKind::kPld);
  std::getline(in, part, ';');
  while (std::getline(in, part, ';')) {
    std::istringstream words(part);
    std::uint64_t times = 0;
    std::string text;
    words >> times >> std::ws;
    std::getline(words, text);
    ASSIGN_OR_RETURN(const Release release, ParseRelease(text));
    RETURN_IF_ERROR(accountant.Add(release, times));
  }
  return accountant.Epsilon(delta);
}

}  // namespace
}  // namespace fedpeft::privacy

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const fedpeft::Result<double> epsilon = fedpeft::privacy::Answer(line);
    if (!epsilon.ok()) {
      std::fprintf(stderr, "accountant_main: %s: %s\n", line.c_str(), epsilon.status().message().c_str());
      return 1;
    }
    std::printf("%.17g\n", *epsilon);
    std::fflush(stdout);
  }
  return 0;
}
