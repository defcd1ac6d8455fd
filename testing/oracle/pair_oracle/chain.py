"""Identities and the device chain (docs/protocol/identity.md)."""

import hashlib
from dataclasses import dataclass, field

from .primitives import Refused, ZERO32, be, ed25519_key_is_sound, h, label, verify, x25519_canonical

GENESIS, DEVCERT, REVOKE = label("UNH1/genesis"), label("UNH1/devcert"), label("UNH1/revoke")
GENESIS_BYTES, DEVCERT_BYTES, REVOKE_BYTES = 229, 231, 152
CAP_PQ, CAP_CERTIFY, CAP_PQ_RATCHET = 1, 2, 4
MAX_RECORDS, MAX_DEVICES = 4096, 32
DAY_MS = 24 * 3600 * 1000


class Invalid(Exception):
    """A chain that is not valid as a whole. The specification names no reasons."""


@dataclass(frozen=True)
class Identity:
    """I: all that names a device in a handshake."""

    user: bytes
    device: bytes
    uik: bytes
    dsk: bytes
    dik: bytes

    def encode(self) -> bytes:
        return self.user + self.device + self.uik + self.dsk + self.dik


@dataclass
class Device:
    """What a chain says of one device_id."""

    kind: int
    dsk: bytes
    dik: bytes
    caps: int = 0
    not_before: int = 0
    not_after: int = 0
    cert_hashes: list[bytes] = field(default_factory=list)
    revoked: bool = False

    def live(self, now: int) -> bool:
        """In date with 24 h of tolerance, both dates inclusive, and not revoked."""
        return not self.revoked and self.not_before - DAY_MS <= now <= self.not_after + DAY_MS


@dataclass
class Chain:
    user: bytes
    uik: bytes
    genesis_hash: bytes
    devices: dict[bytes, Device] = field(default_factory=dict)
    version: int = 0
    head: bytes = b""

    def identity(self, device_id: bytes) -> Identity:
        device = self.devices[device_id]
        return Identity(self.user, device_id, self.uik, device.dsk, device.dik)


def genesis_unsigned(user: bytes, uik: bytes, prev_uik: bytes, created_at: int) -> bytes:
    """All bytes before sig_prev."""
    return GENESIS + user + uik + prev_uik + be(created_at, 8)


def devcert_unsigned(
    kind: int, user: bytes, device: bytes, dsk: bytes, dik: bytes, caps: int, dates: tuple[int, int], seq: int, prev: bytes
) -> bytes:
    """All bytes before sig."""
    return (
        DEVCERT + be(1, 1) + be(kind, 1) + user + device + dsk + dik + be(caps, 4)
        + be(dates[0], 8) + be(dates[1], 8) + be(seq, 4) + prev
    )


def revoke_unsigned(user: bytes, device: bytes, seq: int, prev: bytes, time: int) -> bytes:
    """All bytes before sig."""
    return REVOKE + user + device + be(seq, 4) + prev + be(time, 8)


def number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def read_chain(records: list[bytes]) -> Chain:
    """The chain that these records are, or `Invalid`."""
    if not records or len(records) > MAX_RECORDS:
        raise Invalid("length")
    chain = _read_genesis(records[0])
    for seq, record in enumerate(records[1:], 1):
        if record.startswith(DEVCERT) and len(record) == DEVCERT_BYTES:
            _read_devcert(chain, record, seq)
        elif record.startswith(REVOKE) and len(record) == REVOKE_BYTES:
            _read_revoke(chain, record, seq)
        else:
            raise Invalid("record")
        chain.version, chain.head = seq, h(record)
    return chain


def _read_genesis(record: bytes) -> Chain:
    if not record.startswith(GENESIS) or len(record) != GENESIS_BYTES:
        raise Invalid("genesis")
    user, uik, prev, sig_prev, sig = record[13:29], record[29:61], record[61:93], record[101:165], record[165:]
    if not ed25519_key_is_sound(uik) or (prev == ZERO32) != (sig_prev == bytes(64)):
        raise Invalid("genesis keys")
    if prev != ZERO32 and not (ed25519_key_is_sound(prev) and verify(prev, record[:101], sig_prev)):
        raise Invalid("previous key")
    if not verify(uik, record[:165], sig):
        raise Invalid("genesis signature")
    return Chain(user, uik, h(record), head=h(record))


def _read_devcert(chain: Chain, record: bytes, seq: int) -> None:
    body = record[13:-64]
    alg, kind, user, device_id, dsk, dik = body[0], body[1], body[2:18], body[18:34], body[34:66], body[66:98]
    caps, not_before, not_after = number(body[98:102]), number(body[102:110]), number(body[110:118])
    if alg != 1 or kind not in range(1, 6):
        raise Invalid("newer version")
    if user != chain.user or number(body[118:122]) != seq or body[122:154] != chain.head:
        raise Invalid("place")
    if not ed25519_key_is_sound(dsk) or not x25519_canonical(dik) or not verify(chain.uik, record[:-64], record[-64:]):
        raise Invalid("certificate")
    device = chain.devices.get(device_id)
    if device is None:
        taken = {key for other in chain.devices.values() for key in (other.dsk, other.dik)}
        if dsk in taken or dik in taken:
            raise Invalid("key serves another device")
        if sum(not other.revoked for other in chain.devices.values()) >= MAX_DEVICES:
            raise Invalid("devices")
        device = chain.devices[device_id] = Device(kind, dsk, dik)
    elif device.revoked or (device.kind, device.dsk, device.dik) != (kind, dsk, dik):
        raise Invalid("renewal")
    device.caps, device.not_before, device.not_after = caps, not_before, not_after
    device.cert_hashes.append(h(record))


def _read_revoke(chain: Chain, record: bytes, seq: int) -> None:
    body = record[12:-64]
    if body[:16] != chain.user or number(body[32:36]) != seq or body[36:68] != chain.head:
        raise Invalid("place")
    if not verify(chain.uik, record[:-64], record[-64:]):
        raise Invalid("revocation")
    device = chain.devices.get(body[16:32])
    if device is None or device.revoked:
        raise Invalid("revocation of nobody")
    device.revoked = True


def direct_conversation(a: bytes, b: bytes) -> bytes:
    return h(label("UNH1/dm") + min(a, b) + max(a, b))[:16]


def safety_number(a: tuple[bytes, bytes], b: tuple[bytes, bytes]) -> str:
    """60 digits for two (user_id, UIK)."""
    halves = []
    for user, uik in sorted((a, b)):
        digest = hashlib.sha512(label("UNH1/safety") + user + uik).digest()
        for _ in range(5200):
            digest = hashlib.sha512(digest + user + uik).digest()
        halves.append("".join(f"{number(digest[5 * i : 5 * i + 5]) % 100_000:05d}" for i in range(6)))
    return "".join(halves)


def login_input(origin: str, challenge: bytes) -> bytes:
    raw = origin.encode()
    return label("UNH1/auth") + be(len(raw), 4) + raw + challenge


def possession_input(identity: Identity) -> bytes:
    return label("UNH1/pop") + identity.user + identity.device + identity.dsk + identity.dik


def introduce(records: list[bytes], device_id: bytes, cert_hash: bytes, now: int) -> tuple[Chain, Device]:
    """The sender of a first message, in its verified chain (handshake.md, step 3)."""
    chain = read_chain(records)
    device = chain.devices.get(device_id)
    if device is None or not device.live(now):
        raise Refused("NotLive")
    if cert_hash not in device.cert_hashes:
        raise Refused("OtherCertificate")
    return chain, device
