#include "server/client_registry.h"

namespace fedpeft::server {

void ClientRegistry::Join(SessionId session, const std::vector<ClientSpec>& clients) {
  for (const ClientSpec& client : clients) {
    clients_[client.id] = {session, client};
    first_clients_.emplace(session, client.id);
  }
}

std::vector<std::string> ClientRegistry::Leave(SessionId session) {
  std::vector<std::string> gone;
  first_clients_.erase(session);
  for (auto client = clients_.begin(); client != clients_.end();) {
    if (client->second.session != session) {
      ++client;
      continue;
    }
    gone.push_back(client->first);
    client = clients_.erase(client);
  }
  return gone;
}

bool ClientRegistry::Owns(SessionId session, const std::string& client) const {
  const auto found = clients_.find(client);
  return found != clients_.end() && found->second.session == session;
}

}  // namespace fedpeft::server
