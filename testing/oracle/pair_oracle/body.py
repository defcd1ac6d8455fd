"""Body objects and padding (docs/protocol/body.md)."""

from hmac import compare_digest

from .chain import direct_conversation
from .primitives import ZERO32, Refused, be, h, hkdf, label, seal, unseal

LABEL = label("UNH1/body")
MAX_BODY_BYTES = 256 * 1024


def padded_size(total: int) -> int:
    if total <= 1024:
        return -(-total // 64) * 64
    e = total.bit_length() - 1
    step = 1 << (e - e.bit_length())
    return -(-total // step) * step


def pad(content: bytes) -> bytes:
    total = 4 + len(content)
    return be(len(content), 4) + content + bytes(padded_size(total) - total)


def unpad(padded: bytes) -> bytes:
    size = int.from_bytes(padded[:4], "big")
    if len(padded) < 4 or size > len(padded) - 4 or padded_size(4 + size) != len(padded) or any(padded[4 + size :]):
        raise Refused("Malformed")
    return padded[4 : 4 + size]


def _keys(k_b: bytes, conv: bytes, msg: bytes, user: bytes, device: bytes) -> tuple[bytes, bytes]:
    out = hkdf(ZERO32, k_b, LABEL + conv + msg + user + device, 64)
    return out[:32], out[32:]


def seal_body(k_b: bytes, conv: bytes, msg: bytes, sender: tuple[bytes, bytes], padded: bytes) -> bytes:
    """The body object of an already padded plaintext; sender = (user, device)."""
    key, com = _keys(k_b, conv, msg, *sender)
    return be(1, 1) + com + seal(key, bytes(12), LABEL + be(1, 1), padded)


def plaintext(peer: bytes, cseq: int, after: bytes, content: bytes) -> bytes:
    return peer + be(cseq, 8) + after + content


def open_body(capsule: bytes, body: bytes, conv: bytes, msg: bytes, sender: tuple[bytes, bytes], own_user: bytes):
    """(peer, cseq, after, content), checked in the order of the page."""
    k_b, digest = capsule[:32], capsule[32:]
    if h(body) != digest:
        raise Refused("BadTag")
    if body[:1] != be(1, 1):
        raise Refused("Unsupported" if body else "Malformed")
    key, com = _keys(k_b, conv, msg, *sender)
    if not compare_digest(body[1:33], com):
        raise Refused("BadTag")
    padded = unseal(key, bytes(12), LABEL + body[:1], body[33:])
    if padded is None:
        raise Refused("BadTag")
    text = unpad(padded)
    if len(text) < 40:
        raise Refused("Malformed")
    peer, cseq, after, content = text[:16], int.from_bytes(text[16:24], "big"), text[24:40], text[40:]
    if cseq == 0:
        raise Refused("Malformed")
    if conv != direct_conversation(sender[0], peer) or own_user not in (sender[0], peer):
        raise Refused("BadTag")
    return peer, cseq, after, content
