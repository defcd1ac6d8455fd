"""ML-KEM-768 (FIPS 203).

Keys from a seed and decapsulation come from the package `cryptography`. Its encapsulation draws its own
randomness, so Encaps_internal (algorithm 17) is written here, and what it makes is decapsulated once by the
package to see that both agree.
"""

import hashlib

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

Q, N, K, DU, DV = 3329, 256, 3, 10, 4
PUBLIC_BYTES, CIPHERTEXT_BYTES = 1184, 1088


def _reverse7(value: int) -> int:
    return int(f"{value:07b}"[::-1], 2)


ZETAS = [pow(17, _reverse7(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * _reverse7(i) + 1, Q) for i in range(128)]


def public_key(seed: bytes) -> bytes:
    """The encapsulation key of the 64-byte seed d | z."""
    return MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()


def decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    return MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)


def public_key_is_sound(public: bytes) -> bool:
    """Length and modulus check of section 7.2."""
    return len(public) == PUBLIC_BYTES and all(c < Q for c in _unpack(public[: 384 * K], 12))


def encapsulate(public: bytes, m: bytes) -> tuple[bytes, bytes]:
    """(ciphertext, shared secret) for the 32 random bytes m."""
    g = hashlib.sha3_512(m + hashlib.sha3_256(public).digest()).digest()
    shared, randomness = g[:32], g[32:]
    return _encrypt(public, m, randomness), shared


def _encrypt(public: bytes, m: bytes, r: bytes) -> bytes:
    """K-PKE.Encrypt, algorithm 14."""
    t_hat = [_unpack(public[384 * i : 384 * (i + 1)], 12) for i in range(K)]
    rho = public[384 * K :]
    y_hat = [_ntt(_noise(r, i)) for i in range(K)]
    u = []
    for i in range(K):
        total = [0] * N
        for j in range(K):
            total = _add(total, _multiply(_sample(rho + bytes([i, j])), y_hat[j]))
        u.append(_add(_inverse_ntt(total), _noise(r, K + i)))
    total = [0] * N
    for i in range(K):
        total = _add(total, _multiply(t_hat[i], y_hat[i]))
    mu = [bit * ((Q + 1) // 2) for bit in _unpack(m, 1)]
    v = _add(_add(_inverse_ntt(total), _noise(r, 2 * K)), mu)
    return b"".join(_pack(_compress(p, DU), DU) for p in u) + _pack(_compress(v, DV), DV)


def _compress(poly: list[int], bits: int) -> list[int]:
    return [((c << (bits + 1)) + Q) // (2 * Q) % (1 << bits) for c in poly]


def _pack(poly: list[int], bits: int) -> bytes:
    total = 0
    for i, c in enumerate(poly):
        total |= c << (bits * i)
    return total.to_bytes(bits * N // 8, "little")


def _unpack(raw: bytes, bits: int) -> list[int]:
    total, mask = int.from_bytes(raw, "little"), (1 << bits) - 1
    return [total >> (bits * i) & mask for i in range(len(raw) * 8 // bits)]


def _noise(r: bytes, counter: int) -> list[int]:
    """SamplePolyCBD with eta = 2 over PRF(r, counter)."""
    bits = _unpack(hashlib.shake_256(r + bytes([counter])).digest(128), 1)
    return [(bits[4 * i] + bits[4 * i + 1] - bits[4 * i + 2] - bits[4 * i + 3]) % Q for i in range(N)]


def _sample(seed: bytes) -> list[int]:
    """SampleNTT, algorithm 7."""
    stream, out, at = hashlib.shake_128(seed).digest(1344), [], 0
    while len(out) < N:
        c = stream[at : at + 3]
        d1, d2 = c[0] + 256 * (c[1] % 16), c[1] // 16 + 16 * c[2]
        out += [d for d in (d1, d2) if d < Q]
        at += 3
    return out[:N]


def _add(a: list[int], b: list[int]) -> list[int]:
    return [(x + y) % Q for x, y in zip(a, b)]


def _ntt(poly: list[int]) -> list[int]:
    f, i, size = list(poly), 1, 128
    while size >= 2:
        for start in range(0, N, 2 * size):
            zeta, i = ZETAS[i], i + 1
            for j in range(start, start + size):
                t = zeta * f[j + size] % Q
                f[j + size], f[j] = (f[j] - t) % Q, (f[j] + t) % Q
        size //= 2
    return f


def _inverse_ntt(poly: list[int]) -> list[int]:
    f, i, size = list(poly), 127, 2
    while size <= 128:
        for start in range(0, N, 2 * size):
            zeta, i = ZETAS[i], i - 1
            for j in range(start, start + size):
                t = f[j]
                f[j] = (t + f[j + size]) % Q
                f[j + size] = zeta * (f[j + size] - t) % Q
        size *= 2
    return [c * 3303 % Q for c in f]


def _multiply(a: list[int], b: list[int]) -> list[int]:
    out = []
    for i in range(128):
        a0, a1, b0, b1 = a[2 * i], a[2 * i + 1], b[2 * i], b[2 * i + 1]
        out += [(a0 * b0 + a1 * b1 % Q * GAMMAS[i]) % Q, (a0 * b1 + a1 * b0) % Q]
    return out
