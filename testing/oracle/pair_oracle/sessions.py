"""Sessions with one device, and which of them sends (docs/protocol/handshake.md, ratchet.md, envelope.md)."""

import copy
from dataclasses import dataclass

from . import handshake, ratchet
from .chain import CAP_PQ, CAP_PQ_RATCHET, Identity, introduce
from .primitives import Refused, be, h, label, x25519_public

PREKEY, RATCHET = 1, 2
SENDING, STANDBY, RETIRED = "sending", "standby", "retired"
FOLLOW_AFTER = 32
MAX_ARCHIVED, ARCHIVE_MS = 8, 30 * 24 * 3600 * 1000
MAX_SEEN = 4096
CONTROL_LOG = bytes(16)


@dataclass(frozen=True)
class Envelope:
    """What the server says around one capsule, and the capsule."""

    sender_user: bytes
    sender_device: bytes
    conv: bytes
    msg: bytes
    kind: int
    dest: bytes
    sealed: bytes
    version: int = 1
    flags: int = 0

    def check(self) -> None:
        if self.version != 1 or self.kind not in (PREKEY, RATCHET):
            raise Refused("Unsupported")
        if self.flags or self.msg == bytes(16):
            raise Refused("Malformed")

    def env(self) -> bytes:
        return be(self.version, 1) + be(self.kind, 1) + be(self.flags, 2) + self.dest + self.msg


def associated(suite: int, t: bytes, sender: tuple[bytes, bytes], receiver: tuple[bytes, bytes], conv: bytes, env: bytes) -> bytes:
    return label("UNH1/ad") + be(suite, 2) + t + sender[0] + sender[1] + receiver[0] + receiver[1] + conv + env


@dataclass
class Session:
    suite: int
    transcript: bytes
    ek_hash: bytes
    mine: bool
    state: ratchet.Ratchet
    prefix: bytes = b""
    opened: bool = False
    standing: str = SENDING
    archived_at: int = 0


@dataclass
class Opened:
    session: Session
    header: ratchet.Header
    plaintext: bytes
    began: bool = False
    last_resort: bool = False


class Sessions:
    """All sessions of one own device with one other device, newest first."""

    def __init__(self, own: Identity, peer: tuple[bytes, bytes]):
        self.own, self.peer, self.all = own, peer, []
        self.in_a_row = 0

    def sending(self) -> Session | None:
        return next((s for s in self.all if s.standing == SENDING), None)

    def begin(self, random, suite: int, dik: bytes, cert_hash: bytes, peer: Identity, bundle, now: int) -> Session:
        """From a checked bundle."""
        offer = handshake.offer_of(bundle, suite)
        ek = random("ephemeral_key", 32)
        m = random("encapsulation", 32) if suite == handshake.HYBRID else b""
        secrets, ct = handshake.initiate(suite, self.own, dik, peer, offer, ek, m)
        state = ratchet.initiator(suite, secrets, offer.spk, random("ratchet_key", 32), now)
        public = x25519_public(ek)
        prefix = handshake.Prefix(
            suite, self.own.user, self.own.device, cert_hash, public, offer.spk_id, offer.opk_id, offer.pq_id, ct
        )
        session = Session(suite, secrets.transcript, h(public), True, state, prefix.encode())
        self.retire(now)
        self._add(session, now)
        return session

    def retire(self, now: int) -> None:
        """All that this device has: they receive and never send again."""
        self.in_a_row = 0
        for session in self.all:
            self._archive(session, RETIRED, now)
        self._prune(now)

    def retire_one(self, session: Session, now: int) -> None:
        self._archive(session, RETIRED, now)
        self._prune(now)

    def seal(self, random, conv: bytes, msg: bytes, content: int, plaintext: bytes, facts: ratchet.Facts) -> tuple[int, bytes]:
        """(kind, bytes), in the sending session."""
        session = self.sending()
        if session is None:
            raise Refused("NoSession")
        changed = copy.deepcopy(session)
        kind = PREKEY if changed.prefix and not changed.opened else RATCHET
        env = be(1, 1) + be(kind, 1) + be(0, 2) + self.peer[1] + msg
        ad = associated(session.suite, session.transcript, (self.own.user, self.own.device), self.peer, conv, env)
        sealed = changed.state.seal(random, content, plaintext, ad, facts)
        session.__dict__.update(changed.__dict__)
        self._prune(now=facts.now)
        return kind, (session.prefix if kind == PREKEY else b"") + sealed

    def open(self, envelope: Envelope, now: int, accept) -> Opened:
        """`accept(opened)` reads the content; what it refuses changes nothing either."""
        if envelope.kind != RATCHET:
            raise Refused("Malformed")
        ordered = sorted(self.all, key=lambda s: s.standing != SENDING)
        return self._open_in(ordered, envelope, envelope.sealed, now, accept)

    def open_known(self, session: Session, envelope: Envelope, message: bytes, now: int, accept) -> Opened:
        """A first message's repetition, in its session alone."""
        return self._open_in([session], envelope, message, now, accept)

    def begun_by_peer(self, ek: bytes) -> Session | None:
        return next((s for s in self.all if not s.mine and s.ek_hash == h(ek)), None)

    def take_new(self, session: Session, opened: Opened, now: int) -> None:
        """A session that the peer began, after its first message has opened."""
        before = self.sending()
        session.opened = True
        if before is not None and before.mine and not before.opened and before.ek_hash < session.ek_hash:
            self._add(session, now)
            self._archive(session, STANDBY, now)
            self._prune(now)
            return
        self.in_a_row = 0
        if before is not None:
            self._archive(before, STANDBY, now)
        self._add(session, now)

    def _open_in(self, sessions: list[Session], envelope: Envelope, message: bytes, now: int, accept) -> Opened:
        for session in (s for s in sessions if self._in_time(s, now)):
            ad = associated(
                session.suite, session.transcript, (envelope.sender_user, envelope.sender_device),
                (self.own.user, self.own.device), envelope.conv, envelope.env(),
            )
            changed = copy.deepcopy(session)
            try:
                header, plaintext = changed.state.open(message, ad, now)
            except Refused as refused:
                if refused.reason == "NoSession":
                    continue
                refused.session = session
                raise
            opened = Opened(session, header, plaintext)
            accept(opened)
            session.__dict__.update(changed.__dict__)
            session.opened = True
            self._follow(session, now)
            self._prune(now)
            return opened
        raise Refused("NoSession")

    def _follow(self, session: Session, now: int) -> None:
        """Which session sends, after one has opened a message."""
        if session.standing == SENDING:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        current = self.sending()
        if session.standing == STANDBY:
            both_theirs = current is None or (not current.mine and not session.mine)
            if both_theirs or session.ek_hash < current.ek_hash or self.in_a_row >= FOLLOW_AFTER:
                self._switch(session, now)
        elif self.in_a_row >= FOLLOW_AFTER:
            self.in_a_row = 0
            own = next((s for s in self.all if s.mine and s.standing == STANDBY), None)
            if own is not None:
                self._switch(own, now)

    def _switch(self, session: Session, now: int) -> None:
        current = self.sending()
        if current is not None:
            self._archive(current, STANDBY, now)
        session.standing = SENDING
        self.in_a_row = 0

    def follow_retry(self, session: Session, now: int) -> None:
        if session.standing == STANDBY:
            self._switch(session, now)

    def _archive(self, session: Session, standing: str, now: int) -> None:
        if session.standing == SENDING:
            session.archived_at = now
        session.standing = standing

    def _add(self, session: Session, now: int) -> None:
        self.all.insert(0, session)
        self._prune(now)

    def _prune(self, now: int) -> None:
        """With every change: the sessions past their age go, and the oldest above the bound."""
        archived = [s for s in self.all if s.standing != SENDING and self._in_time(s, now)]
        archived.sort(key=lambda s: -s.archived_at)
        kept = archived[:MAX_ARCHIVED]
        self.all = [s for s in self.all if s.standing == SENDING or s in kept]

    @staticmethod
    def _in_time(session: Session, now: int) -> bool:
        return session.standing == SENDING or now - session.archived_at < ARCHIVE_MS


def both_have(caps_a: int, caps_b: int) -> bool:
    need = CAP_PQ | CAP_PQ_RATCHET
    return caps_a & need == need and caps_b & need == need


class Endpoint:
    """One device: identity, prekeys, table of first messages, sessions with every other device."""

    def __init__(self, identity: Identity, dik: bytes, caps: int, prekeys):
        self.identity, self.dik, self.caps, self.prekeys = identity, dik, caps, prekeys
        self.seen, self.with_device = {}, {}

    def sessions(self, user: bytes, device: bytes) -> Sessions:
        return self.with_device.setdefault((user, device), Sessions(self.identity, (user, device)))

    def open(self, envelope: Envelope, records: list[bytes], now: int, accept) -> Opened:
        """The whole order of checks; `records` is the chain that this device holds of the sender."""
        envelope.check()
        sessions = self.sessions(envelope.sender_user, envelope.sender_device)
        if envelope.kind == RATCHET:
            return sessions.open(envelope, now, accept)
        prefix, message = handshake.read_prefix(envelope.sealed)
        if (prefix.user, prefix.device) != (envelope.sender_user, envelope.sender_device):
            raise Refused("Malformed")
        known = sessions.begun_by_peer(prefix.ek)
        if known is not None:
            if prefix.suite != known.suite:
                raise Refused("Malformed")
            return sessions.open_known(known, envelope, message, now, accept)
        return self._open_first(envelope, prefix, message, records, now, accept)

    def _open_first(self, envelope, prefix, message, records, now, accept) -> Opened:
        chain, device = introduce(records, prefix.device, prefix.cert_hash, now)
        if prefix.suite < handshake.suite_of(device.caps, self.caps):
            raise Refused("Downgrade")
        if h(prefix.ek) in self.seen:
            raise Refused("Replay")
        peer = chain.identity(prefix.device)
        secrets, offer = self._derive(prefix, peer)
        spk = self.prekeys.signed[prefix.spk_id]
        state = ratchet.responder(prefix.suite, secrets, spk.secret, now)
        ad = associated(
            prefix.suite, secrets.transcript, (envelope.sender_user, envelope.sender_device),
            (self.identity.user, self.identity.device), envelope.conv, envelope.env(),
        )
        header, plaintext = state.open(message, ad, now)
        session = Session(prefix.suite, secrets.transcript, h(prefix.ek), False, state)
        opened = Opened(session, header, plaintext, began=True, last_resort=offer.pq_kind == 3)
        accept(opened)
        self.sessions(envelope.sender_user, envelope.sender_device).take_new(session, opened, now)
        self.seen[h(prefix.ek)] = prefix.spk_id
        self.prekeys.one_time.pop(prefix.opk_id, None)
        if offer.pq_kind == 2:
            del self.prekeys.kem[prefix.pq_id]
        return opened

    def _derive(self, prefix, peer):
        one_time = bool(prefix.opk_id) or (prefix.pq_id in self.prekeys.kem and self.prekeys.kem[prefix.pq_id].kind == 2)
        held = prefix.spk_id in self.prekeys.signed
        held = held and (not prefix.opk_id or prefix.opk_id in self.prekeys.one_time)
        held = held and (not prefix.pq_id or prefix.pq_id in self.prekeys.kem)
        if held and not one_time and len(self.seen) >= MAX_SEEN:
            raise Refused("Replay")
        return handshake.respond(prefix, peer, self.identity, self.dik, self.prekeys)
