#include "privacy/crypto/kdf.h"

#include <gtest/gtest.h>

#include "peft/core/bytes.h"
#include "tests/privacy/hex.h"

namespace fedpeft::privacy {
namespace {

using testing::Counting;

struct Vector {
  Bytes key_material, salt, info;
  std::string_view output;
};

// RFC 5869, A.1 to A.3.
TEST(KdfTest, C2EqualsTheRfcsVectors) {
  const Vector vectors[] = {
      {Bytes(22, 0x0b), Counting(0x00, 13), Counting(0xf0, 10),
       "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
      {Counting(0x00, 80), Counting(0x60, 80), Counting(0xb0, 80),
       "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b"
       "8"
       "367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
      {Bytes(22, 0x0b), {}, {}, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
  };
  for (const Vector& vector : vectors) {
    Bytes output(vector.output.size() / 2);
    HkdfSha256(vector.key_material, vector.salt, vector.info, output);
    EXPECT_EQ(Hex(output), vector.output);
  }
}

TEST(KdfTest, KeyIsTheFirst32Bytes) {
  const Bytes material = Counting(1, 32), salt = Counting(2, 32), info = Counting(3, 7);
  Bytes output(64);
  HkdfSha256(material, salt, info, output);
  EXPECT_EQ(Hex(DeriveKey(material, salt, info).bytes()), Hex(ByteSpan(output).first(32)));
}

}  // namespace
}  // namespace fedpeft::privacy
