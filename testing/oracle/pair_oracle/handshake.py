"""PQXDH and the prefix of a first message (docs/protocol/handshake.md)."""

from dataclasses import dataclass

from . import mlkem
from .chain import CAP_PQ, Identity, number
from .prekeys import Bundle, PrekeySet
from .primitives import Refused, ZERO32, be, dh, h, hkdf, label, x25519_canonical, x25519_public

CLASSICAL, HYBRID = 0x0001, 0x0101
SUITES = (CLASSICAL, HYBRID)


def suite_of(caps_a: int, caps_b: int) -> int:
    return HYBRID if caps_a & caps_b & CAP_PQ else CLASSICAL


@dataclass(frozen=True)
class Offer:
    """B's public keys that a handshake uses."""

    spk_id: int
    spk: bytes
    opk_id: int
    opk: bytes
    pq_id: int
    pq_kind: int
    pq: bytes


def offer_of(bundle: Bundle, suite: int) -> Offer:
    if suite == CLASSICAL:
        return Offer(bundle.spk_id, bundle.spk, bundle.opk_id, bundle.opk, 0, 0, b"")
    return Offer(bundle.spk_id, bundle.spk, bundle.opk_id, bundle.opk, bundle.pq_id, bundle.pq_kind, bundle.pq)


@dataclass(frozen=True)
class Secrets:
    """What both ends have after a handshake."""

    transcript: bytes
    root: bytes
    hka: bytes
    hkb: bytes


def transcript(suite: int, a: Identity, b: Identity, ek: bytes, offer: Offer, ct: bytes) -> bytes:
    return h(
        label("UNH1/pqxdh") + be(suite, 2) + a.encode() + b.encode() + ek + be(offer.spk_id, 4) + offer.spk
        + be(offer.opk_id, 4) + offer.opk + be(offer.pq_id, 4) + be(offer.pq_kind, 1) + offer.pq + ct
    )


def derive(t: bytes, shares: list[bytes | None], ss: bytes, culprit: str) -> Secrets:
    """Mixes DH1 to DH4 and ss; a share of None (all zero) is refused as `culprit`."""
    if any(share is None for share in shares):
        raise Refused(culprit)
    ikm = b"\xff" * 32 + b"".join(shares) + ss
    out = hkdf(ZERO32, ikm, label("UNH1/pqxdh/keys") + t, 96)
    return Secrets(t, out[:32], out[32:64], out[64:])


def initiate(suite: int, a: Identity, dik: bytes, b: Identity, offer: Offer, ek: bytes, m: bytes) -> tuple[Secrets, bytes]:
    """A's side: (secrets, ct). dik and ek are secrets, m the randomness of Encaps."""
    shares = [dh(dik, offer.spk), dh(ek, b.dik), dh(ek, offer.spk)]
    if offer.opk_id:
        shares.append(dh(ek, offer.opk))
    ct, ss = mlkem.encapsulate(offer.pq, m) if suite == HYBRID else (b"", b"")
    return derive(transcript(suite, a, b, x25519_public(ek), offer, ct), shares, ss, "BadPeerKey"), ct


@dataclass(frozen=True)
class Prefix:
    """What stands before a ratchet message until A has opened one."""

    suite: int
    user: bytes
    device: bytes
    cert_hash: bytes
    ek: bytes
    spk_id: int
    opk_id: int
    pq_id: int
    ct: bytes

    def encode(self) -> bytes:
        return (
            be(self.suite, 2) + self.user + self.device + self.cert_hash + self.ek
            + be(self.spk_id, 4) + be(self.opk_id, 4) + be(self.pq_id, 4) + self.ct
        )


def read_prefix(raw: bytes) -> tuple[Prefix, bytes]:
    """(prefix, the ratchet message behind it)."""
    if len(raw) < 2:
        raise Refused("Malformed")
    suite = number(raw[:2])
    if suite not in SUITES:
        raise Refused("Unsupported")
    size = 110 + (mlkem.CIPHERTEXT_BYTES if suite == HYBRID else 0)
    if len(raw) < size:
        raise Refused("Malformed")
    prefix = Prefix(
        suite, raw[2:18], raw[18:34], raw[34:66], raw[66:98],
        number(raw[98:102]), number(raw[102:106]), number(raw[106:110]), raw[110:size],
    )
    if not prefix.spk_id or bool(prefix.pq_id) != (suite == HYBRID) or not x25519_canonical(prefix.ek):
        raise Refused("Malformed")
    return prefix, raw[size:]


def respond(prefix: Prefix, a: Identity, b: Identity, dik: bytes, prekeys: PrekeySet) -> tuple[Secrets, Offer]:
    """B's side, from the prekeys that the prefix names."""
    spk = prekeys.signed.get(prefix.spk_id)
    opk = prekeys.one_time.get(prefix.opk_id)
    pq = prekeys.kem.get(prefix.pq_id)
    if spk is None or (prefix.opk_id and opk is None) or (prefix.pq_id and pq is None):
        raise Refused("UnknownPrekey")
    offer = Offer(
        prefix.spk_id, spk.public, prefix.opk_id, opk.public if opk else ZERO32,
        prefix.pq_id, pq.kind if pq else 0, pq.public if pq else b"",
    )
    shares = [dh(spk.secret, a.dik), dh(dik, prefix.ek), dh(spk.secret, prefix.ek)]
    if opk:
        shares.append(dh(opk.secret, prefix.ek))
    ss = mlkem.decapsulate(pq.secret, prefix.ct) if pq else b""
    t = transcript(prefix.suite, a, b, prefix.ek, offer, prefix.ct)
    return derive(t, shares, ss, "Malformed"), offer
