#include "client/transport.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>
#include <utility>

#include "proto/protocol.grpc.pb.h"

namespace fedpeft::client {
namespace {

/// A coordinator that answers every offer of an update with the same words, true or not.
class OfferAnswerer : public v1::Coordinator::Service {
 public:
  explicit OfferAnswerer(v1::OpenUploadReply reply) : reply_(std::move(reply)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~OfferAnswerer() override { server_->Shutdown(); }
  grpc::Status OpenUpload(grpc::ServerContext*, const v1::OpenUploadRequest*, v1::OpenUploadReply* reply) override {
    *reply = reply_;
    return grpc::Status::OK;
  }
  std::unique_ptr<Transport> Connect() const {
    ConnectOptions options;
    options.server = "127.0.0.1:" + std::to_string(port_);
    return std::move(Transport::Make(options)).value();
  }

 private:
  const v1::OpenUploadReply reply_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST(TransportTest, PlainTextStaysOnLoopbackUnlessItIsAskedFor) {
  ConnectOptions options;
  for (const char* server : {"127.0.0.1:7070", "localhost:7070"}) {
    options.server = server;
    EXPECT_TRUE(Transport::Make(options).ok()) << server;
  }
  for (const char* server : {"192.0.2.1:7070", "127.example.org:7070"}) {
    options.server = server;
    options.insecure = false;
    EXPECT_EQ(Transport::Make(options).status().code(), Code::kFailedPrecondition) << server;
    options.insecure = true;
    EXPECT_TRUE(Transport::Make(options).ok()) << server;
  }
}

TEST(TransportTest, UploadThatIsToGoOnAtOrPastItsEndIsRefused) {
  const Bytes update(100);
  for (const std::uint64_t offset : {update.size(), update.size() + 1}) {
    v1::OpenUploadReply reply;
    reply.mutable_accepted()->set_upload(1);
    reply.mutable_accepted()->set_offset(offset);
    const OfferAnswerer coordinator(reply);
    EXPECT_EQ(coordinator.Connect()->Upload("session", v1::UploadManifest(), update).status().code(),
              Code::kOutOfRange);
  }
}

TEST(TransportTest, ProxyOfTheEnvironmentIsNotAskedForLoopback) {
  ::setenv("http_proxy", "http://127.0.0.1:1", /*overwrite=*/1);
  v1::OpenUploadReply reply;
  reply.mutable_accepted()->set_complete(true);
  const OfferAnswerer coordinator(reply);
  const auto uploaded = coordinator.Connect()->Upload("session", v1::UploadManifest(), Bytes(100));
  EXPECT_TRUE(uploaded.ok()) << uploaded.status().ToString();
  ::unsetenv("http_proxy");
}

TEST(TransportTest, UploadTellsHowLongTheCoordinatorAsksToWait) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto& [asked, wait] : {std::pair(1.5, 1.5), {1e300, 60.0}, {-1.0, 0.0}, {nan, 0.0}}) {
    v1::OpenUploadReply reply;
    reply.set_retry_after_s(asked);
    const OfferAnswerer coordinator(reply);
    const auto told = coordinator.Connect()->Upload("session", v1::UploadManifest(), Bytes(100));
    ASSERT_TRUE(told.ok());
    EXPECT_EQ(*told, Seconds(wait)) << asked;
  }
}

}  // namespace
}  // namespace fedpeft::client
