"""fedpeft's named random streams (peft/core/random.h) and the masks drawn from them (peft/plan/sparse.cc), written a
second time from their definitions."""
import hashlib
import struct

WORD = (1 << 32) - 1


def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011): a block of four words."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & WORD, (a >> 32) ^ c[3] ^ k[1], a & WORD]
        k = [(k[0] + 0x9E3779B9) & WORD, (k[1] + 0xBB67AE85) & WORD]
    return c


class RandomStream:
    def __init__(self, seed, purpose, *path):
        purpose = purpose.encode()
        text = struct.pack("<QQ", seed, len(purpose)) + purpose + b"".join(struct.pack("<Q", part) for part in path)
        *self.key, high, highest = struct.unpack_from("<4I", hashlib.sha256(text).digest())
        self.high, self.block, self.words = [high, highest], 0, []

    def next_u64(self):
        if not self.words:
            self.words = philox([self.block & WORD, self.block >> 32, *self.high], self.key)
            self.block += 1
        low, high, *self.words = self.words
        return low | high << 32

    def next_below(self, bound):
        """Lemire's rejection."""
        while True:
            product = self.next_u64() * bound
            if (product & (1 << 64) - 1) >= (1 << 64) % bound:
                return product >> 64


def sparse_mask(seed, path, size, density):
    """Which elements of the weight [out, in] of the linear at `path` are trained, ascending."""
    name = int.from_bytes(hashlib.sha256(f"{path}.weight".encode()).digest()[:8], "little")
    stream, chosen = RandomStream(seed, "mask", name), set()
    for last in range(size - max(1, int(density * size + 0.5)), size):
        at = stream.next_below(last + 1)
        chosen.add(last if at in chosen else at)
    return sorted(chosen)
