"""Prekeys and bundles (docs/protocol/prekeys.md)."""

from dataclasses import dataclass, field

from . import mlkem
from .chain import CAP_PQ, Chain, number
from .primitives import Refused, ZERO32, be, label, sign, verify, x25519_canonical, x25519_public

SPK, PQ_ONE_TIME, PQ_LAST_RESORT = 1, 2, 3
BUNDLE_BYTES, CLASSICAL_BUNDLE_BYTES = 1461, 200
PUBLIC_MS = 14 * 24 * 3600 * 1000


def signed_input(
    kind: int, key_id: int, public: bytes, user: bytes, device: bytes, generation: int, not_after: int
) -> bytes:
    return label("UNH1/prekey") + be(kind, 1) + be(key_id, 4) + public + user + device + be(generation, 8) + be(not_after, 8)


@dataclass
class Prekey:
    """One private half and what stands beside its public half."""

    kind: int
    key_id: int
    secret: bytes
    public: bytes
    not_after: int = 0
    signature: bytes = b""


@dataclass
class PrekeySet:
    """All private halves of a device, by id."""

    generation: int
    signed: dict[int, Prekey] = field(default_factory=dict)
    one_time: dict[int, Prekey] = field(default_factory=dict)
    kem: dict[int, Prekey] = field(default_factory=dict)

    def add_signed(self, kind: int, key_id: int, secret: bytes, owner: tuple[bytes, bytes, bytes], made: int) -> Prekey:
        """owner = (user, device, seed of DSK); secret is an X25519 key or a KEM seed."""
        public = x25519_public(secret) if kind == SPK else mlkem.public_key(secret)
        user, device, seed = owner
        not_after = made + PUBLIC_MS
        signature = sign(seed, signed_input(kind, key_id, public, user, device, self.generation, not_after))
        key = Prekey(kind, key_id, secret, public, not_after, signature)
        (self.signed if kind == SPK else self.kem)[key_id] = key
        return key

    def add_one_time(self, key_id: int, secret: bytes) -> Prekey:
        key = self.one_time[key_id] = Prekey(0, key_id, secret, x25519_public(secret))
        return key


def encode_bundle(device: bytes, cert_hash: bytes, generation: int, spk: Prekey, pq: Prekey | None, opk: Prekey | None) -> bytes:
    out = device + cert_hash + be(generation, 8)
    out += be(spk.key_id, 4) + be(spk.not_after, 8) + spk.public + spk.signature
    if pq is not None:
        out += be(pq.kind, 1) + be(pq.key_id, 4) + be(pq.not_after, 8) + pq.public + pq.signature
    return out + (be(opk.key_id, 4) + opk.public if opk else be(0, 4) + ZERO32)


@dataclass(frozen=True)
class Bundle:
    device: bytes
    cert_hash: bytes
    generation: int
    spk_id: int
    spk_not_after: int
    spk: bytes
    spk_sig: bytes
    pq_kind: int
    pq_id: int
    pq_not_after: int
    pq: bytes
    pq_sig: bytes
    opk_id: int
    opk: bytes


def read_bundle(raw: bytes) -> Bundle:
    if len(raw) not in (BUNDLE_BYTES, CLASSICAL_BUNDLE_BYTES):
        raise Refused("Malformed")
    pq = raw[164:-36] if len(raw) == BUNDLE_BYTES else b""
    bundle = Bundle(
        raw[:16], raw[16:48], number(raw[48:56]), number(raw[56:60]), number(raw[60:68]), raw[68:100], raw[100:164],
        pq[0] if pq else 0, number(pq[1:5]), number(pq[5:13]), pq[13:1197], pq[1197:], number(raw[-36:-32]), raw[-32:],
    )
    sound = bundle.spk_id and x25519_canonical(bundle.spk) and x25519_canonical(bundle.opk)
    sound = sound and (bundle.opk_id or bundle.opk == ZERO32)
    if pq:
        sound = sound and bundle.pq_kind in (PQ_ONE_TIME, PQ_LAST_RESORT) and bundle.pq_id
        sound = sound and mlkem.public_key_is_sound(bundle.pq)
    if not sound:
        raise Refused("Malformed")
    return bundle


def check_bundle(raw: bytes, asked: bytes, chain: Chain, highest_generation: int, now: int) -> Bundle:
    """What a sender checks before any DH, in this order."""
    bundle = read_bundle(raw)
    if bundle.device != asked:
        raise Refused("OtherDevice")
    device = chain.devices.get(asked)
    if device is None or not device.live(now):
        raise Refused("NotLive")
    if bundle.cert_hash != device.cert_hashes[-1]:
        raise Refused("OtherCertificate")
    if bundle.generation < highest_generation:
        raise Refused("EarlierGeneration")
    if bool(device.caps & CAP_PQ) != bool(bundle.pq):
        raise Refused("KemMissing" if device.caps & CAP_PQ else "KemUnannounced")
    lines = [(SPK, bundle.spk_id, bundle.spk, bundle.spk_not_after, bundle.spk_sig)]
    if bundle.pq:
        lines.append((bundle.pq_kind, bundle.pq_id, bundle.pq, bundle.pq_not_after, bundle.pq_sig))
    for kind, key_id, public, not_after, signature in lines:
        text = signed_input(kind, key_id, public, chain.user, asked, bundle.generation, not_after)
        if not verify(device.dsk, text, signature):
            raise Refused("Forged")
        if now > not_after:
            raise Refused("Expired")
    return bundle
