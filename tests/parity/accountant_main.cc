// accountant_main: what releases cost, for scripts that know it otherwise. Reads lines
//
//   pld|rdp DELTA (gaussian|poisson|capped|fixed|zcdp TIMES NUMBER...)...
//
// with the numbers of each release: gaussian NOISE, poisson SAMPLING NOISE, capped CLIENTS SAMPLING CAP NOISE, fixed
// SAMPLING NOISE, zcdp RHO; answers each with its epsilon.
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

#include "privacy/accounting/accountant.h"

namespace fedpeft::privacy {
namespace {

Result<Release> ReadRelease(const std::string& kind, std::istream& in) {
  if (GaussianSum sum; kind == "gaussian" && in >> sum.noise_multiplier) return Release(sum);
  if (PoissonSum sum; kind == "poisson" && in >> sum.sampling >> sum.noise_multiplier) return Release(sum);
  if (CappedPoissonSum sum; kind == "capped" && in >> sum.clients >> sum.sampling >> sum.cap >> sum.noise_multiplier) {
    return Release(sum);
  }
  if (FixedSizeSum sum; kind == "fixed" && in >> sum.sampling >> sum.noise_multiplier) return Release(sum);
  if (ZcdpRelease one; kind == "zcdp" && in >> one.rho) return Release(one);
  return InvalidArgument("release: got " + kind);
}

Result<double> Answer(const std::string& line) {
  std::istringstream in(line);
  std::string accountant_kind, kind;
  double delta = 0;
  in >> accountant_kind >> delta;
  Accountant accountant(accountant_kind == "rdp" ? AccountantKind::kRdp : AccountantKind::kPld);
  for (std::uint64_t times = 0; in >> kind >> times;) {
    ASSIGN_OR_RETURN(const Release release, ReadRelease(kind, in));
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
