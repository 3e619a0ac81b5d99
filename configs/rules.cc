#include "configs/rules.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <memory>

#include "configs/keys.h"
#include "configs/reader.h"

namespace fedpeft::configs {

void Rules::RequireDefaults(const std::string& path, const google::protobuf::Message& message,
                            std::initializer_list<const char*> keys, const std::string& where) {
  const std::unique_ptr<google::protobuf::Message> defaults(message.New());
  FillDefaults({}, defaults.get());
  for (const char* key : keys) {
    const auto& field = *message.GetDescriptor()->FindFieldByName(key);
    const std::string got = ScalarText(message, field);
    const std::string want = ScalarText(*defaults, field);
    Require(got == want, JoinKey(path, key),
            "got " + got + ", which has no effect " + where + ", want the default " + want + " (leave the key out)");
  }
}

}  // namespace fedpeft::configs
