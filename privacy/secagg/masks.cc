#include "privacy/secagg/masks.h"

#include <algorithm>
#include <array>

#include "peft/core/check.h"
#include "privacy/crypto/keystream.h"
#include "privacy/secagg/masks_vaes.h"

namespace fedpeft::privacy {

namespace {

/// A piece that stays in the first cache beside its keystream.
constexpr std::size_t kTile = 4096;
constexpr std::size_t kBlockElements = kBlockBytes / sizeof(std::uint32_t);

void AddKeystream(Keystream& stream, bool subtract, std::span<std::uint32_t> elements) {
  std::array<std::uint32_t, kTile> words;
  stream.Read({reinterpret_cast<std::uint8_t*>(words.data()), elements.size_bytes()});
  if (subtract) {
    for (std::size_t i = 0; i < elements.size(); ++i) elements[i] -= words[i];
  } else {
    for (std::size_t i = 0; i < elements.size(); ++i) elements[i] += words[i];
  }
}

void AddByOpenssl(std::span<const Mask> masks, std::uint64_t first, std::span<std::uint32_t> elements) {
  std::vector<Keystream> streams;
  streams.reserve(masks.size());
  for (const Mask& mask : masks) {
    streams.emplace_back(mask.key);
    streams.back().Seek(first / kBlockElements);
  }
  for (std::size_t at = 0; at < elements.size(); at += kTile) {
    const auto tile = elements.subspan(at, std::min(kTile, elements.size() - at));
    for (std::size_t i = 0; i < masks.size(); ++i) AddKeystream(streams[i], masks[i].subtract, tile);
  }
}

void AddByVaes(std::span<const Mask> masks, std::uint64_t first, std::span<std::uint32_t> elements) {
  std::vector<vaes::Schedule> schedules(masks.size());
  for (std::size_t i = 0; i < masks.size(); ++i) vaes::Expand(masks[i].key, schedules[i]);
  for (std::size_t at = 0; at < elements.size(); at += kTile) {
    const auto tile = elements.subspan(at, std::min(kTile, elements.size() - at));
    for (std::size_t i = 0; i < masks.size(); ++i) {
      vaes::AddKeystream(schedules[i], (first + at) / kBlockElements, masks[i].subtract, tile);
    }
  }
  for (vaes::Schedule& schedule : schedules) Wipe(schedule.bytes);
}

}  // namespace

MaskKernel FastestMaskKernel() {
  static const bool vaes = vaes::Available();
  return vaes ? MaskKernel::kVaes : MaskKernel::kOpenssl;
}

std::string_view NameOf(MaskKernel kernel) {
  return kernel == MaskKernel::kVaes ? "VAES" : "OpenSSL";
}

void AddMasks(std::span<const Mask> masks, std::uint64_t first, std::span<std::uint32_t> elements, MaskKernel kernel) {
  FEDPEFT_CHECK(first % kMaskAlignment == 0);
  if (kernel == MaskKernel::kVaes) {
    AddByVaes(masks, first, elements);
  } else {
    AddByOpenssl(masks, first, elements);
  }
}

}  // namespace fedpeft::privacy
