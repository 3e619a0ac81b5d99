#include "peft/params/half.h"

#include "peft/core/check.h"

namespace fedpeft {

namespace {

template <float (*kWiden)(std::uint16_t)>
void Widen(ByteSpan narrow, std::span<float> out) {
  FEDPEFT_CHECK(narrow.size() == 2 * out.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = kWiden(LoadLe<std::uint16_t>(narrow, 2 * i));
}

template <std::uint16_t (*kNarrow)(float)>
void Narrow(std::span<const float> values, MutableByteSpan out) {
  FEDPEFT_CHECK(out.size() == 2 * values.size());
  for (std::size_t i = 0; i < values.size(); ++i) StoreLe(kNarrow(values[i]), out.data() + 2 * i);
}

}  // namespace

void HalvesToFloats(ByteSpan halves, std::span<float> out) {
  Widen<HalfToFloat>(halves, out);
}
void FloatsToHalves(std::span<const float> values, MutableByteSpan out) {
  Narrow<FloatToHalf>(values, out);
}
void Bfloat16sToFloats(ByteSpan bfloats, std::span<float> out) {
  Widen<Bfloat16ToFloat>(bfloats, out);
}
void FloatsToBfloat16s(std::span<const float> values, MutableByteSpan out) {
  Narrow<FloatToBfloat16>(values, out);
}

}  // namespace fedpeft
