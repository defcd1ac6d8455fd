"""Primitives and labels (docs/protocol/conventions.md).

X25519, ChaCha20-Poly1305 and Ed25519 signing come from the package `cryptography`. The refusals that the
specification adds to the standards are made here, because OpenSSL lets small-order Ed25519 keys pass.
"""

import hashlib
import hmac as hmac_module

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

P25519 = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
EDWARDS_D = -121665 * pow(121666, -1, P25519) % P25519

ZERO32 = bytes(32)


class Refused(Exception):
    """A refusal of docs/protocol/errors.md; `reason` is its name there."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def label(text: str) -> bytes:
    """`L(x)`: one length byte, then x in ASCII."""
    raw = text.encode("ascii")
    return bytes([len(raw)]) + raw


def be(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def h(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hmac(key: bytes, data: bytes) -> bytes:
    return hmac_module.new(key, data, hashlib.sha256).digest()


def hkdf(salt: bytes, ikm: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869, extract and expand."""
    prk = hmac(salt, ikm)
    out, block, counter = b"", b"", 1
    while len(out) < size:
        block = hmac(prk, block + info + bytes([counter]))
        out += block
        counter += 1
    return out[:size]


def seal(key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(nonce, plaintext, aad)


def unseal(key: bytes, nonce: bytes, aad: bytes, sealed: bytes) -> bytes | None:
    """The plaintext, or None when the tag fails."""
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        return None


# X25519


def x25519_public(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def x25519_canonical(public: bytes) -> bool:
    return len(public) == 32 and int.from_bytes(public, "little") < P25519


def dh(secret: bytes, public: bytes) -> bytes | None:
    """The shared secret, or None when it is all zero."""
    try:
        shared = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return None
    return None if shared == ZERO32 else shared


# Ed25519


def ed25519_public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def _decode_point(encoded: bytes) -> tuple[int, int] | None:
    """RFC 8032 section 5.1.3, which refuses y >= p and a sign bit on x = 0."""
    raw = int.from_bytes(encoded, "little")
    sign_bit, y = raw >> 255, raw & (2**255 - 1)
    if y >= P25519:
        return None
    u = (y * y - 1) % P25519
    v = (EDWARDS_D * y * y + 1) % P25519
    x = u * pow(v, 3, P25519) * pow(u * pow(v, 7, P25519), (P25519 - 5) // 8, P25519) % P25519
    if (v * x * x - u) % P25519:
        x = x * pow(2, (P25519 - 1) // 4, P25519) % P25519
        if (v * x * x - u) % P25519:
            return None
    if x == 0 and sign_bit:
        return None
    return (P25519 - x if x & 1 != sign_bit else x), y


def _double(point: tuple[int, int]) -> tuple[int, int]:
    x, y = point
    t = EDWARDS_D * x * x * y * y % P25519
    return (
        2 * x * y * pow(1 + t, -1, P25519) % P25519,
        (y * y + x * x) * pow(1 - t, -1, P25519) % P25519,
    )


def _sound_point(encoded: bytes) -> bool:
    """A canonical encoding of a point that is not of small order."""
    point = _decode_point(encoded) if len(encoded) == 32 else None
    if point is None:
        return False
    for _ in range(3):
        point = _double(point)
    return point != (0, 1)


def ed25519_key_is_sound(public: bytes) -> bool:
    return _sound_point(public)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Strict: canonical S, neither A nor R of small order, the equation without cofactor."""
    if len(signature) != 64 or not _sound_point(public) or not _sound_point(signature[:32]):
        return False
    if int.from_bytes(signature[32:], "little") >= ORDER:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True
