#include "privacy/secagg/masks_vaes.h"

#include "peft/core/check.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define FEDPEFT_VAES __attribute__((target("avx512f,avx512bw,avx512vl,vaes,aes")))

namespace fedpeft::privacy::vaes {

namespace {

constexpr int kRounds = 14;
/// Registers in flight, of four blocks each: enough to hide the latency of a round.
constexpr std::size_t kWide = 8;
constexpr std::size_t kElements = 16;  // in a register

/// In all lanes. By the form that g++ 12 does not warn of (GCC bug 105593).
FEDPEFT_VAES inline __m512i Broadcast(__m128i block) {
  return _mm512_maskz_broadcast_i32x4(0xffff, block);
}

/// The next round key of the same half of the key: each word is the exclusive or of those up to it and one of `mixed`.
template <int kWord>
FEDPEFT_VAES inline __m128i NextKey(__m128i key, __m128i mixed) {
  for (int i = 0; i < 3; ++i) key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
  return _mm_xor_si128(key, _mm_shuffle_epi32(mixed, kWord));
}

/// The two round keys at `to` from the two before. Source: FIPS 197, 5.2.
template <int kConstant>
FEDPEFT_VAES inline void ExpandPair(__m128i* to) {
  to[0] = NextKey<0xff>(to[-2], _mm_aeskeygenassist_si128(to[-1], kConstant));
  to[1] = NextKey<0xaa>(to[-1], _mm_aeskeygenassist_si128(to[0], 0));
}

struct RoundKeys {
  __m512i key[kRounds + 1];
};

FEDPEFT_VAES RoundKeys Load(const Schedule& schedule) {
  RoundKeys keys;
  for (int i = 0; i <= kRounds; ++i) {
    const auto* const from = reinterpret_cast<const __m128i*>(schedule.bytes.data() + 16 * i);
    keys.key[i] = Broadcast(_mm_load_si128(from));
  }
  return keys;
}

/// Four blocks from the counter in `counters` on, whose lanes are little-endian.
FEDPEFT_VAES inline __m512i Plain(__m512i counters) {
  const __m128i reverse = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_shuffle_epi8(counters, Broadcast(reverse));
}

template <std::size_t N>
FEDPEFT_VAES inline void Encrypt(const RoundKeys& keys, __m512i (&state)[N]) {
  for (std::size_t i = 0; i < N; ++i) state[i] = _mm512_xor_si512(state[i], keys.key[0]);
  for (int round = 1; round < kRounds; ++round) {
    for (std::size_t i = 0; i < N; ++i) state[i] = _mm512_aesenc_epi128(state[i], keys.key[round]);
  }
  for (std::size_t i = 0; i < N; ++i) state[i] = _mm512_aesenclast_epi128(state[i], keys.key[kRounds]);
}

template <bool kSubtract>
FEDPEFT_VAES inline __m512i Combined(__m512i value, __m512i mask) {
  return kSubtract ? _mm512_sub_epi32(value, mask) : _mm512_add_epi32(value, mask);
}

template <bool kSubtract>
FEDPEFT_VAES void Apply(const RoundKeys& keys, std::uint64_t block, std::span<std::uint32_t> elements) {
  const auto at = static_cast<long long>(block);
  __m512i counters = _mm512_set_epi64(0, at + 3, 0, at + 2, 0, at + 1, 0, at);
  const __m512i step = _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4);
  std::uint32_t* data = elements.data();
  std::size_t left = elements.size();
  for (; left >= kWide * kElements; left -= kWide * kElements, data += kWide * kElements) {
    __m512i state[kWide];
    for (__m512i& lanes : state) {
      lanes = Plain(counters);
      counters = _mm512_add_epi64(counters, step);
    }
    Encrypt(keys, state);
    for (std::size_t i = 0; i < kWide; ++i) {
      std::uint32_t* const to = data + i * kElements;
      _mm512_storeu_si512(to, Combined<kSubtract>(_mm512_loadu_si512(to), state[i]));
    }
  }
  for (; left > 0; data += kElements) {
    const std::size_t count = left < kElements ? left : kElements;
    const auto lanes = static_cast<__mmask16>((1u << count) - 1);
    __m512i state[1] = {Plain(counters)};
    counters = _mm512_add_epi64(counters, step);
    Encrypt(keys, state);
    _mm512_mask_storeu_epi32(data, lanes, Combined<kSubtract>(_mm512_maskz_loadu_epi32(lanes, data), state[0]));
    left -= count;
  }
}

}  // namespace

bool Available() {
  // VAES by its bit: not all compilers' __builtin_cpu_supports knows its name. AVX-512 also needs the system's consent,
  // which that asks for. A processor with VAES has AES.
  constexpr unsigned kVaesBit = 1u << 9;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) == 1 && (c & kVaesBit) != 0 && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

FEDPEFT_VAES void Expand(const SecretKey& key, Schedule& schedule) {
  const auto* const from = reinterpret_cast<const __m128i*>(key.bytes().data());
  auto* const to = reinterpret_cast<__m128i*>(schedule.bytes.data());
  to[0] = _mm_loadu_si128(from);
  to[1] = _mm_loadu_si128(from + 1);
  ExpandPair<0x01>(to + 2);
  ExpandPair<0x02>(to + 4);
  ExpandPair<0x04>(to + 6);
  ExpandPair<0x08>(to + 8);
  ExpandPair<0x10>(to + 10);
  ExpandPair<0x20>(to + 12);
  to[14] = NextKey<0xff>(to[12], _mm_aeskeygenassist_si128(to[13], 0x40));
}

FEDPEFT_VAES void AddKeystream(const Schedule& schedule, std::uint64_t block, bool subtract,
                               std::span<std::uint32_t> elements) {
  const RoundKeys keys = Load(schedule);
  if (subtract) {
    Apply<true>(keys, block, elements);
  } else {
    Apply<false>(keys, block, elements);
  }
}

}  // namespace fedpeft::privacy::vaes

#else

namespace fedpeft::privacy::vaes {

bool Available() {
  return false;
}
void Expand(const SecretKey&, Schedule&) {
  FEDPEFT_CHECK(false);
}
void AddKeystream(const Schedule&, std::uint64_t, bool, std::span<std::uint32_t>) {
  FEDPEFT_CHECK(false);
}

}  // namespace fedpeft::privacy::vaes

#endif
