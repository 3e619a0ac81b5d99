// Which norm a family has. By itself, so that the families' files need no LibTorch header.
#pragma once

namespace fedpeft {

/// LayerNorm or RMSNorm (FrozenNorm).
enum class NormKind { kLayer, kRms };

}  // namespace fedpeft
