// ClientRegistry: who is joined, and through which session. A client id belongs to the session that joined it last.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "server/events.h"

namespace fedpeft::server {

class ClientRegistry {
 public:
  void Join(SessionId session, const std::vector<ClientSpec>& clients);
  /// The clients that are gone with the session: those no newer session has joined.
  std::vector<std::string> Leave(SessionId session);

  /// Pre: joined.
  SessionId SessionOf(const std::string& client) const { return clients_.at(client).session; }
  /// As it joined. Pre: joined.
  const ClientSpec& SpecOf(const std::string& client) const { return clients_.at(client).spec; }
  bool Owns(SessionId session, const std::string& client) const;
  bool IsJoined(const std::string& client) const { return clients_.contains(client); }
  /// Every session and its first client.
  const std::map<SessionId, std::string>& sessions() const { return first_clients_; }
  std::size_t clients() const { return clients_.size(); }

 private:
  struct Client {
    SessionId session = 0;
    ClientSpec spec;
  };
  std::map<std::string, Client> clients_;
  std::map<SessionId, std::string> first_clients_;
};

}  // namespace fedpeft::server
