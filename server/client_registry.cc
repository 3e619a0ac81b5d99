#include "server/client_registry.h"

namespace fedpeft::server {

void ClientRegistry::Join(SessionId session, const std::vector<ClientSpec>& clients) {
  for (const ClientSpec& client : clients) {
    sessions_[client.id] = session;
    first_clients_.emplace(session, client.id);
  }
}

std::vector<std::string> ClientRegistry::Leave(SessionId session) {
  std::vector<std::string> gone;
  first_clients_.erase(session);
  for (auto client = sessions_.begin(); client != sessions_.end();) {
    if (client->second != session) {
      ++client;
      continue;
    }
    gone.push_back(client->first);
    client = sessions_.erase(client);
  }
  return gone;
}

bool ClientRegistry::Owns(SessionId session, const std::string& client) const {
  const auto found = sessions_.find(client);
  return found != sessions_.end() && found->second == session;
}

}  // namespace fedpeft::server
