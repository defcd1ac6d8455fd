"""Double Ratchet with header encryption (docs/protocol/ratchet.md, pq-ratchet.md)."""

from collections import OrderedDict
from dataclasses import dataclass, field

from . import sparse_kem
from .chain import number
from .handshake import HYBRID
from .primitives import Refused, ZERO32, be, dh, h, hkdf, hmac, label, seal, unseal, x25519_canonical, x25519_public

CONTROL, CAPSULE = 1, 2
HEADER_BYTES, ENC_HEADER_BYTES, TAG_BYTES = 62, 90, 16
MAX_SKIP, MAX_STORED, MAX_OLDER_CHAINS = 1000, 2000, 4
MAX_AGE_MS = 30 * 24 * 3600 * 1000
MAX_CHAIN_MESSAGES = 2**20


def kdf_rk(root: bytes, shared: bytes, ss: bytes = b"") -> tuple[bytes, bytes, bytes]:
    out = hkdf(root, shared + ss, label("UNH1/root"), 96)
    return out[:32], out[32:64], out[64:]


def step_chain(ck: bytes) -> tuple[bytes, bytes]:
    """(mk, the next CK)."""
    return hmac(ck, b"\x01"), hmac(ck, b"\x02")


@dataclass(frozen=True)
class Header:
    dh_pub: bytes
    pn: int
    n: int
    pq_epoch: int
    pq_type: int
    content: int
    sent_at: int
    own_list: int
    peer_list: int

    def encode(self) -> bytes:
        return (
            self.dh_pub + be(self.pn, 4) + be(self.n, 4) + be(self.pq_epoch, 4) + be(self.pq_type, 1)
            + be(self.content, 1) + be(self.sent_at, 8) + be(self.own_list, 4) + be(self.peer_list, 4)
        )


def read_header(raw: bytes, suite: int) -> Header:
    header = Header(
        raw[:32], number(raw[32:36]), number(raw[36:40]), number(raw[40:44]), raw[44], raw[45],
        number(raw[46:54]), number(raw[54:58]), number(raw[58:62]),
    )
    foreign = header.pq_type > 2 if suite == HYBRID else header.pq_epoch or header.pq_type
    if foreign or header.content not in (CONTROL, CAPSULE):
        raise Refused("Unsupported")
    if not x25519_canonical(header.dh_pub) or header.n == 2**32 - 1:
        raise Refused("Malformed")
    return header


def header_aad(suite: int) -> bytes:
    return label("UNH1/hdr") + be(suite, 2)


def seal_header(suite: int, hk: bytes, nonce: bytes, header: bytes) -> bytes:
    return nonce + seal(hk, nonce, header_aad(suite), header)


def message_key(mk: bytes, encrypted: bytes) -> tuple[bytes, bytes]:
    """(key, nonce); `encrypted` is enc_header and, where there is one, enc_pq."""
    out = hkdf(ZERO32, mk, label("UNH1/msg") + h(encrypted), 44)
    return out[:32], out[32:]


@dataclass(frozen=True)
class Facts:
    """What a sealing says besides the plaintext; `sent_at` is earlier than `now` in the answer to a RETRY."""

    now: int
    sent_at: int
    own_list: int
    peer_list: int
    both_pq_ratchet: bool


@dataclass
class Skipped:
    mk: bytes
    time: int


@dataclass
class Ratchet:
    """The state; secrets of key pairs, public halves are computed."""

    suite: int
    root: bytes
    own: bytes
    nhks: bytes
    nhkr: bytes
    kem: sparse_kem.SparseKem
    peer: bytes | None = None
    cks: bytes | None = None
    hks: bytes | None = None
    ckr: bytes | None = None
    hkr: bytes | None = None
    ns: int = 0
    nr: int = 0
    pn: int = 0
    step_due: bool = False
    skipped: OrderedDict = field(default_factory=OrderedDict)

    def seal(self, random, content: int, plaintext: bytes, ad: bytes, facts: "Facts") -> bytes:
        """enc_header | enc_pq | ciphertext | tag. `random(name, size)` gives the bytes of that name."""
        if facts.both_pq_ratchet:
            self.kem.check_overdue(facts.now)
        if self.step_due:
            self._sending_step(random("ratchet_key", 32), facts.now)
        if self.cks is None:
            raise Refused("NoSession")
        if self.ns >= MAX_CHAIN_MESSAGES:
            raise Refused("ChainFull")
        pq_type, part = sparse_kem.NONE, b""
        if facts.both_pq_ratchet and self.ns % sparse_kem.RIDES_EVERY == 0:
            pq_type, part = self.kem.ride(random, self.ns, self.suite == HYBRID, facts.now)
        header = Header(
            x25519_public(self.own), self.pn, self.ns, self.kem.epoch, pq_type, content,
            facts.sent_at, facts.own_list, facts.peer_list,
        )
        encrypted = seal_header(self.suite, self.hks, random("header_nonce", 12), header.encode())
        if part:
            encrypted += sparse_kem.seal_part(self.hks, random("part_nonce", 12), encrypted, part)
        mk, self.cks = step_chain(self.cks)
        self.ns += 1
        self.kem.count_message()
        key, nonce = message_key(mk, encrypted)
        return encrypted + seal(key, nonce, ad, plaintext)

    def _sending_step(self, fresh: bytes, now: int) -> None:
        self.pn, self.ns, self.own, self.hks = self.ns, 0, fresh, self.nhks
        shared = dh(self.own, self.peer)
        if shared is None:
            raise Refused("BadPeerKey")
        self.root, self.cks, self.nhks = kdf_rk(self.root, shared, self.kem.sending_secret(now))
        self.step_due = False

    def open(self, message: bytes, ad: bytes, now: int) -> tuple[Header, bytes]:
        """Changes this object even where it refuses: call it on a copy."""
        if len(message) < ENC_HEADER_BYTES + TAG_BYTES:
            raise Refused("Malformed")
        self._expire(now)
        header, hk = self._open_header(message[:ENC_HEADER_BYTES])
        split = ENC_HEADER_BYTES + (sparse_kem.ENC_PQ_BYTES if header.pq_type else 0)
        if len(message) < split + TAG_BYTES:
            raise Refused("Malformed")
        mk = self._position(header, hk, now)
        key, nonce = message_key(mk, message[:split])
        plaintext = unseal(key, nonce, ad, message[split:])
        if plaintext is None:
            raise Refused("BadTag")
        self.kem.count_message()
        if header.pq_type:
            enc_pq = message[ENC_HEADER_BYTES:split]
            self.kem.take(hk, message[:ENC_HEADER_BYTES], enc_pq, header.pq_epoch, header.pq_type)
        return header, plaintext

    def _position(self, header: Header, hk: bytes, now: int) -> bytes:
        """mk of the header's position, with the step and the skipped keys that lead there."""
        if hk == self.nhkr:
            self._check_new_chain(header)
            self._receiving_step(header, now)
        elif hk == self.hkr:
            if header.dh_pub != self.peer:
                raise Refused("Malformed")
            if header.pq_epoch != self.kem.epoch_r:
                raise Refused("Unsupported")
        if hk != self.hkr or header.n < self.nr:
            stored = self.skipped.pop((hk, header.n), None)
            if stored is None:
                raise Refused("KeyGone")
            return stored.mk
        if header.n - self.nr > MAX_SKIP:
            raise Refused("SkipTooFar")
        self._store_until(header.n, now)
        mk, self.ckr = step_chain(self.ckr)
        self.nr += 1
        return mk

    def _open_header(self, encrypted: bytes) -> tuple[Header, bytes]:
        for hk in [*self._older_chains(), self.hkr, self.nhkr]:
            raw = unseal(hk, encrypted[:12], header_aad(self.suite), encrypted[12:]) if hk else None
            if raw is not None:
                return read_header(raw, self.suite), hk
        raise Refused("NoSession")

    def _older_chains(self) -> list[bytes]:
        """Header keys of the chains before the current one that have keys, newest first."""
        older = []
        for hk, _ in reversed(self.skipped):
            if hk != self.hkr and hk not in older:
                older.append(hk)
        return older

    def _check_new_chain(self, header: Header) -> None:
        if self.step_due:
            raise Refused("KeyGone")
        if header.pn < self.nr or (header.pn > 0 and self.hkr is None):
            raise Refused("Malformed")
        if header.pn - self.nr > MAX_SKIP or header.n > MAX_SKIP:
            raise Refused("SkipTooFar")
        self.kem.check_receiving_step(header.pq_epoch)

    def _receiving_step(self, header: Header, now: int) -> None:
        shared = dh(self.own, header.dh_pub)
        if shared is None:
            raise Refused("Malformed")
        self._store_until(header.pn, now)
        self.hkr, self.peer = self.nhkr, header.dh_pub
        ss = self.kem.receiving_secret(header.pq_epoch, now)
        self.root, self.ckr, self.nhkr = kdf_rk(self.root, shared, ss)
        self.nr, self.step_due = 0, True
        older = self._older_chains()
        for place in [p for p in self.skipped if p[0] in older[MAX_OLDER_CHAINS:]]:
            del self.skipped[place]

    def _store_until(self, end: int, now: int) -> None:
        while self.nr < end:
            mk, self.ckr = step_chain(self.ckr)
            self.skipped[(self.hkr, self.nr)] = Skipped(mk, now)
            self.nr += 1
        while len(self.skipped) > MAX_STORED:
            self.skipped.popitem(last=False)

    def _expire(self, now: int) -> None:
        for place in [p for p, s in self.skipped.items() if now - s.time >= MAX_AGE_MS]:
            del self.skipped[place]


def initiator(suite: int, secrets, spk: bytes, fresh: bytes, now: int) -> Ratchet:
    """A: begins its sending chain at once. `secrets` are those of the handshake."""
    shared = dh(fresh, spk)
    if shared is None:
        raise Refused("BadPeerKey")
    root, cks, nhks = kdf_rk(secrets.root, shared)
    kem = sparse_kem.SparseKem(sparse_kem.READY, now)
    return Ratchet(suite, root, fresh, nhks, secrets.hkb, kem, peer=spk, cks=cks, hks=secrets.hka)


def responder(suite: int, secrets, spk_secret: bytes, now: int) -> Ratchet:
    """B: sends after the first message of A."""
    kem = sparse_kem.SparseKem(sparse_kem.WAIT, now)
    return Ratchet(suite, secrets.root, spk_secret, secrets.hkb, secrets.hka, kem)
