// A client of an execution as the coordinator knows it, for the .cc files of the coordinator's side.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "privacy/secagg/server_session.h"
#include "proto/secure_aggregation.pb.h"

namespace fedpeft::privacy {

/// From the first stage on.
struct Member {
  std::string id;
  /// Messages of it are wanted. What it gave before it left stays: its vector in the sum, its shares.
  bool here = true;
  /// Its answer to this stage is in.
  bool answered = false;
  /// Of answers, by stage: what comes again is not a second one.
  std::map<ServerSession::Stage, Digest> answers;

  v1::AdvertisedKeys keys;
  // Of the cohort, from the second stage on.
  std::vector<std::uint32_t> neighbours;
  std::vector<std::string> sealed;
  Digest commitment{};
  bool shared = false;
  bool uploaded = false;
  /// How many could not open its shares.
  std::uint32_t accusers = 0;
  std::string survivor_signature;
};

/// Errors: kInvalidArgument saying `what` the client did, unless it is good.
inline Status Want(bool good, const char* what) {
  return good ? OkStatus() : InvalidArgument(what);
}

}  // namespace fedpeft::privacy
