"""Users, devices and a network, driven by a script; every act becomes a step of a trace (README.md)."""

import copy
from dataclasses import dataclass, replace

from . import body as bodies
from . import chain as chains
from . import handshake, prekeys, ratchet, sparse_kem
from .primitives import Refused, ZERO32, be, ed25519_public, h, hkdf, sign, x25519_public
from .sessions import CONTROL_LOG, Endpoint, Envelope, associated, both_have

START = 1_790_000_000_000
DAY = chains.DAY_MS


# What a step of these kinds draws when it does not say so itself.
USUAL = {"body": "msg_id body_key", "seal": "header_nonce"}


@dataclass
class User:
    user_id: bytes
    seed: bytes
    records: list[bytes]


@dataclass
class Party:
    """A device: its keys, and the endpoint once it is certified."""

    user: str
    device_id: bytes
    kind: int
    dsk: bytes
    dik: bytes
    endpoint: Endpoint | None = None
    cseq: int = 0


@dataclass
class Message:
    sender: str
    dest: str
    conv: bytes
    msg: bytes
    kind: int
    sealed: bytes
    body: int | None


def digest(raw: bytes) -> str:
    """Short values as they are, long ones as 16 bytes of their hash."""
    return raw.hex() if len(raw) <= 32 else "#" + h(raw)[:16].hex()


class World:
    def __init__(self, name: str, full: bool = False):
        self.name, self.full = name, full
        self.seed = h(b"unhidra-oracle/" + name.encode())
        self.steps, self.users, self.parties = [], {}, {}
        self.bundles, self.bodies, self.messages = [], [], []
        self.now, self._names, self._draws, self._repetition = START, [], 0, None

    # Randomness and recording

    def random(self, name: str, size: int) -> bytes:
        """The random value of this name in the current step."""
        if self._repetition is not None:
            name = f"{name}.{self._repetition}"
        self._names.append(name)
        return hkdf(ZERO32, self.seed, f"unhidra-oracle/{len(self.steps)}/{name}".encode(), size)

    def odd(self, name: str, size: int) -> bytes:
        """A random value that the script puts in from outside; the trace has its bytes."""
        return hkdf(ZERO32, self.seed, f"unhidra-oracle/odd/{len(self.steps)}/{name}".encode(), size)

    def choice(self, below: int) -> int:
        """A number for the script itself; no part of what is tested."""
        self._draws += 1
        return int.from_bytes(hkdf(ZERO32, self.seed, f"unhidra-oracle/script/{self._draws}".encode(), 8), "big") % below

    def chance(self, percent: int) -> bool:
        return self.choice(100) < percent

    def show(self, raw: bytes) -> str:
        return raw.hex() if self.full else digest(raw)

    def step(self, op: str, **facts) -> dict:
        step = {"op": op, "at": self.now - START or None, **facts}
        step = {k: v for k, v in step.items() if v is not None}
        names = " ".join(self._names)
        if names != USUAL.get(op, "") and "repeat" not in facts or names and "repeat" in facts:
            step["random"] = names
        self._names = []
        self.steps.append(step)
        return step

    def uuid(self, name: str) -> bytes:
        raw = bytearray(self.random(name, 16))
        raw[:6] = be(START, 6)
        raw[6], raw[8] = 0x70 | raw[6] & 0x0F, 0x80 | raw[8] & 0x3F
        return bytes(raw)

    # Identities

    def user(self, name: str, prev: str | None = None) -> User:
        """A genesis; with `prev` one that this user's identity key of now has signed as well."""
        old = self.users.get(prev)
        user_id = old.user_id if old else self.uuid("user_id")
        seed = self.random("uik", 32)
        unsigned = chains.genesis_unsigned(user_id, ed25519_public(seed), ed25519_public(old.seed) if old else ZERO32, self.now)
        unsigned += sign(old.seed, unsigned) if old else bytes(64)
        user = self.users[name] = User(user_id, seed, [unsigned + sign(seed, unsigned)])
        self.step("user", user=name, prev=prev, user_id=user_id.hex(), record=self.show(user.records[0]))
        return user

    def certify(self, name: str, kind: int = 1, caps: int = 7, dates: tuple[int, int] | None = None) -> Party:
        """A first certificate or a renewal of the device `user.number`."""
        user, party = self.users[name.split(".")[0]], self.parties.get(name)
        if party is None:
            party = Party(name.split(".")[0], self.uuid("device_id"), kind, self.random("dsk", 32), self.random("dik", 32))
            self.parties[name] = party
        dates = dates or (self.now, self.now + 400 * DAY)
        unsigned = chains.devcert_unsigned(
            party.kind, user.user_id, party.device_id, ed25519_public(party.dsk), x25519_public(party.dik), caps,
            dates, len(user.records), h(user.records[-1]),
        )
        user.records.append(unsigned + sign(user.seed, unsigned))
        identity = chains.read_chain(user.records).identity(party.device_id)
        if party.endpoint is None:
            party.endpoint = Endpoint(identity, party.dik, caps, None)
        party.endpoint.caps = caps
        self.step(
            "certify", device=name, device_id=party.device_id.hex(), kind=party.kind, caps=caps,
            not_before=dates[0], not_after=dates[1], record=self.show(user.records[-1]),
        )
        return party

    def revoke(self, name: str) -> None:
        party = self.parties[name]
        user = self.users[party.user]
        unsigned = chains.revoke_unsigned(user.user_id, party.device_id, len(user.records), h(user.records[-1]), self.now)
        user.records.append(unsigned + sign(user.seed, unsigned))
        self.step("revoke", device=name, record=self.show(user.records[-1]))

    def stock(self, name: str, generation: int = 1, one_time: int = 2) -> None:
        """A prekey set of this generation; the private halves of the one before go."""
        party = self.parties[name]
        keys = party.endpoint.prekeys = prekeys.PrekeySet(generation)
        owner = (self.users[party.user].user_id, party.device_id, party.dsk)
        out = []
        kinds = [(prekeys.SPK, "spk", 32)]
        if party.endpoint.caps & chains.CAP_PQ:
            kinds += [(prekeys.PQ_ONE_TIME, f"kem.{i}", 64) for i in range(one_time)]
            kinds += [(prekeys.PQ_LAST_RESORT, "last_resort", 64)]
        for kind, label, size in kinds:
            key = keys.add_signed(kind, self._key_id(label), self.random(label, size), owner, self.now)
            out.append([kind, key.key_id, self.show(key.public), self.show(key.signature)])
        for i in range(one_time):
            key = keys.add_one_time(self._key_id(f"one_time.{i}"), self.random(f"one_time.{i}", 32))
            out.append([0, key.key_id, self.show(key.public), ""])
        self.step("stock", device=name, generation=generation, keys=out)

    def _key_id(self, label: str) -> int:
        return int.from_bytes(self.random(f"{label}.id", 4), "big") | 1

    def bundle(self, name: str, one_time: bool = True, last_resort: bool = False) -> int:
        """What the server would hand out; the index of the bundle."""
        party = self.parties[name]
        keys = party.endpoint.prekeys
        in_order = sorted(keys.kem.values(), key=lambda k: (k.kind == prekeys.PQ_ONE_TIME) == last_resort)
        pq = next(iter(in_order), None)
        opk = next(iter(keys.one_time.values()), None) if one_time else None
        device = chains.read_chain(self.users[party.user].records).devices[party.device_id]
        spk = next(reversed(keys.signed.values()))
        raw = prekeys.encode_bundle(party.device_id, device.cert_hashes[-1], keys.generation, spk, pq, opk)
        self.bundles.append(raw)
        self.step(
            "bundle", device=name, spk_id=spk.key_id, pq_id=pq.key_id if pq else 0, opk_id=opk.key_id if opk else 0,
            bundle=self.show(raw),
        )
        return len(self.bundles) - 1

    def erase(self, name: str, key_id: int) -> None:
        """A private half dies."""
        keys = self.parties[name].endpoint.prekeys
        for pool in (keys.signed, keys.one_time, keys.kem):
            pool.pop(key_id, None)
        self.step("erase", device=name, key_id=key_id)

    def chain(self, why: str, records: list[bytes], valid: bool) -> None:
        """Records that are a valid chain, or not."""
        try:
            chains.read_chain(records)
            found = True
        except chains.Invalid:
            found = False
        assert found == valid, (self.name, why)
        self.step("chain", why=why, records=[r.hex() for r in records], valid=valid)

    def derived(self, a: str, b: str) -> None:
        """What two users and a device come to besides messages."""
        left, right = self.users[a], self.users[b]
        keys = [(u.user_id, ed25519_public(u.seed)) for u in (left, right)]
        party = next(p for p in self.parties.values() if p.user == a)
        challenge, origin = self.random("challenge", 32), "http://127.0.0.1:9000"
        self.step(
            "derived", a=a, b=b, conversation=chains.direct_conversation(left.user_id, right.user_id).hex(),
            safety=chains.safety_number(*keys), origin=origin,
            login=sign(party.dsk, chains.login_input(origin, challenge)).hex(),
            possession=sign(party.dsk, chains.possession_input(party.endpoint.identity)).hex(),
        )

    # Sessions

    def begin(self, a: str, b: str, bundle: int, change: tuple[int, bytes] | None = None, highest: int = 0) -> str | None:
        """A begins a session with B; `change` = (offset, bytes) is laid over the bundle. The error, if any."""
        sender, receiver = self.parties[a], self.parties[b]
        raw = self.bundles[bundle]
        if change:
            raw = raw[: change[0]] + change[1] + raw[change[0] + len(change[1]) :]
        own = chains.read_chain(self.users[sender.user].records)
        peer = chains.read_chain(self.users[receiver.user].records)
        facts = {"from": a, "to": b, "bundle": bundle, "highest": highest or None}
        if change:
            facts["change"] = [change[0], change[1].hex()]
        try:
            checked = prekeys.check_bundle(raw, receiver.device_id, peer, highest, self.now)
            own_device = own.devices[sender.device_id]
            suite = handshake.suite_of(own_device.caps, peer.devices[receiver.device_id].caps)
            sessions = sender.endpoint.sessions(self.users[receiver.user].user_id, receiver.device_id)
            session = sessions.begin(
                self.random, suite, sender.dik, own_device.cert_hashes[-1], peer.identity(receiver.device_id), checked, self.now
            )
        except Refused as refused:
            self.step("begin", **facts, error=refused.reason)
            return refused.reason
        self.step("begin", **facts, suite=suite, session=session.ek_hash[:8].hex(), **self._keys(session))
        return None

    def retire(self, by: str, peer: str) -> None:
        """The store of `by` was set back: all sessions with `peer` receive only."""
        self._sessions(by, peer).retire(self.now)
        self.step("retire", by=by, peer=peer)

    def _sessions(self, by: str, peer: str):
        other = self.parties[peer]
        return self.parties[by].endpoint.sessions(self.users[other.user].user_id, other.device_id)

    def _keys(self, session) -> dict:
        """Every secret of a session, for whoever looks for a difference; in full traces only."""
        if not self.full:
            return {}
        s = session.state
        keys = {"RK": s.root, "CKs": s.cks, "CKr": s.ckr, "HKs": s.hks, "HKr": s.hkr, "NHKs": s.nhks, "NHKr": s.nhkr}
        return {"transcript": session.transcript.hex(), "state": {
            **{k: v.hex() for k, v in keys.items() if v}, "Ns": s.ns, "Nr": s.nr, "PN": s.pn, "skipped": len(s.skipped),
            "pq_state": s.kem.state, "pq_epoch": s.kem.epoch, "pq_count": s.kem.count,
        }}

    # Messages

    def body(self, a: str, b: str, content: bytes, msg: bytes | None = None, **odd) -> int:
        """A body object from device a to the user of b; `odd` replaces parts of it for refusals."""
        sender, own = self.parties[a], self.users[self.parties[a].user].user_id
        peer = odd.get("peer") or self.users[self.parties[b].user].user_id
        sender.cseq += 1
        cseq = odd.get("cseq", sender.cseq)
        after = self.messages[-1].msg if self.messages and cseq % 2 == 0 else bytes(16)
        conv = odd.get("conv") or chains.direct_conversation(own, peer)
        repeated = msg
        msg = msg or self.random("msg_id", 16)
        key = self.random("body_key", 32)
        padded = odd["padded"] if "padded" in odd else bodies.pad(bodies.plaintext(peer, cseq, after, content))
        sealed = bodies.seal_body(key, conv, msg, (own, sender.device_id), padded)
        self.bodies.append((key, sealed, conv, msg))
        facts = {"from": a, "to": b, "cseq": cseq, "content": _short(content), "msg_id": repeated and msg.hex()}
        if any(after):
            facts["after"] = len(self.messages) - 1
        if odd:
            facts |= {"conv": conv.hex(), "peer": peer.hex(), "odd": sorted(odd)}
        if "padded" in odd:
            facts["padded"] = padded.hex()
        self.step("body", **facts, body=sealed.hex() if "padded" in odd else self.show(sealed))
        return len(self.bodies) - 1

    def capsule(self, body: int) -> bytes:
        return self.bodies[body][0] + h(self.bodies[body][1])

    def facts(self, a: str, b: str, sent_at: int | None = None) -> ratchet.Facts:
        own, peer = self.users[self.parties[a].user], self.users[self.parties[b].user]
        caps = (self.parties[a].endpoint.caps, self.parties[b].endpoint.caps)
        return ratchet.Facts(
            self.now, self.now if sent_at is None else sent_at, len(own.records) - 1, len(peer.records) - 1, both_have(*caps)
        )

    def seal(self, a: str, b: str, body: int, sent_at: int | None = None) -> int | None:
        """A capsule of this body; the index of the message."""
        _, _, conv, msg = self.bodies[body]
        return self._seal(a, b, conv, msg, ratchet.CAPSULE, self.capsule(body), sent_at, body)

    def control(self, a: str, b: str, content: bytes) -> int | None:
        """A message for the control log of b."""
        msg = self.random("msg_id", 16)
        return self._seal(a, b, CONTROL_LOG, msg, ratchet.CONTROL, bodies.pad(content), None, None, content)

    def _seal(self, a, b, conv, msg, content, plaintext, sent_at, body, text=None) -> int | None:
        facts = self.facts(a, b, sent_at)
        shown = {
            "from": a, "to": b, "body": body, "control": None if text is None else text.hex(), "sent_at": sent_at,
            "lists": _lists(facts), "rides": facts.both_pq_ratchet or None,
        }
        sessions = self._sessions(a, b)
        try:
            kind, sealed = sessions.seal(self.random, conv, msg, content, plaintext, facts)
        except Refused as refused:
            self.step("seal", **shown, error=refused.reason)
            return None
        self.messages.append(Message(a, b, conv, msg, kind, sealed, body))
        shown |= {"length": len(sealed), "message": self.show(sealed)}
        self.step("seal", **shown, **self._keys(sessions.sending()))
        return len(self.messages) - 1

    def seal_many(self, a: str, b: str, body: int, count: int) -> list[int]:
        """So many capsules of one body in one step; the names of random values end in the number of the message.

        Recorded are those of messages that draw more than a header nonce.
        """
        _, _, conv, msg = self.bodies[body]
        facts, first, out = self.facts(a, b), len(self.messages), b""
        for self._repetition in range(count):
            drawn = len(self._names)
            kind, sealed = self._sessions(a, b).seal(self.random, conv, msg, ratchet.CAPSULE, self.capsule(body), facts)
            self.messages.append(Message(a, b, conv, msg, kind, sealed, body))
            out += sealed
            if len(self._names) == drawn + 1:
                self._names.pop()
        self._repetition = None
        self.step(
            "seal", **{"from": a, "to": b}, body=body, lists=_lists(facts),
            rides=facts.both_pq_ratchet or None, repeat=count, length=len(out), message=digest(out),
        )
        return list(range(first, first + count))

    def say(self, a: str, b: str, text: str) -> int | None:
        """A text: body and capsule."""
        raw = text.encode()
        inner = bytes([10, len(raw)]) + raw
        return self.seal(a, b, self.body(a, b, bytes([10, len(inner)]) + inner))

    def forge(self, a: str, b: str, body: int, *, header: dict | None = None, plaintext: bytes | None = None,
              part: bytes | None = None, part_key: bytes | None = None, conv: bytes | None = None) -> int:
        """What only a dishonest device with the session's keys sends: given in full, made from a copy of its state."""
        _, _, real_conv, msg = self.bodies[body]
        conv = real_conv if conv is None else conv
        session = copy.deepcopy(self._sessions(a, b).sending())
        state, facts = session.state, self.facts(a, b)
        if state.step_due:
            state._sending_step(self.random("ratchet_key", 32), facts.now)
        fields = ratchet.Header(
            x25519_public(state.own), state.pn, state.ns, state.kem.epoch, 0, 2, facts.now, facts.own_list, facts.peer_list
        )
        fields = replace(fields, **(header or {}))
        encrypted = ratchet.seal_header(session.suite, state.hks, self.random("header_nonce", 12), fields.encode())
        if part is not None:
            encrypted += sparse_kem.seal_part(part_key or state.hks, self.random("part_nonce", 12), encrypted, part)
        mk = state.cks
        for _ in range(max(0, min(fields.n, state.ns + 1001) - state.ns)):
            mk = ratchet.step_chain(mk)[1]
        key, nonce = ratchet.message_key(ratchet.step_chain(mk)[0], encrypted)
        kind = 1 if session.prefix and not session.opened else 2
        sender, dest = self.parties[a], self.parties[b]
        env = be(1, 1) + be(kind, 1) + be(0, 2) + dest.device_id + msg
        ends = [(self.users[p.user].user_id, p.device_id) for p in (sender, dest)]
        ad = associated(session.suite, session.transcript, *ends, conv, env)
        text = self.capsule(body) if plaintext is None else plaintext
        sealed = (session.prefix if kind == 1 else b"") + encrypted + ratchet.seal(key, nonce, ad, text)
        return self.inject(a, b, conv, msg, kind, sealed, body)

    def inject(self, a: str, b: str, conv: bytes, msg: bytes, kind: int, sealed: bytes, body: int | None) -> int:
        """Bytes that no honest device made."""
        self.messages.append(Message(a, b, conv, msg, kind, sealed, body))
        self._names = []
        self.step("inject", **{"from": a, "to": b}, conv=conv.hex(), msg_id=msg.hex(), kind=kind, body=body, message=sealed.hex())
        return len(self.messages) - 1

    # Opening

    def open(self, index: int, *, records: int | None = None, flip: int | None = None, flip_body: int | None = None,
             cut: int | None = None, body: int | None = None, said: dict | None = None) -> str | None:
        """Delivers a message, perhaps altered. `said` replaces what the server says. The error, if any.

        flip: a bit of the capsule; flip_body: a bit of the body object; cut: bytes that are left of the capsule;
        records: how many records of the sender's chain the receiver holds.
        """
        message = self.messages[index]
        by = self.parties[(said or {}).get("by", message.dest)]
        held = self.users[self.parties[message.sender].user].records[:records]
        envelope, shown = self._envelope(message, by, said or {})
        sealed, raw_body = message.sealed[:cut], self.bodies[body if body is not None else message.body or 0][1] if self.bodies else b""
        if flip is not None:
            sealed = _flipped(sealed, flip)
        if flip_body is not None:
            raw_body = _flipped(raw_body, flip_body)
        envelope = replace(envelope, sealed=sealed)
        facts = {"message": index, "records": records, "flip": flip, "flip_body": flip_body, "cut": cut, "body": body, **shown}
        result = {}

        def accept(opened) -> None:
            result.update(self._content(envelope, opened, raw_body, by))

        try:
            opened = by.endpoint.open(envelope, held, self.now, accept)
        except Refused as refused:
            if refused.reason == "SkipTooFar" and hasattr(refused, "session"):
                session = refused.session
                by.endpoint.sessions(envelope.sender_user, envelope.sender_device).retire_one(session, self.now)
            self.step("open", **facts, error=refused.reason)
            return refused.reason
        sessions = by.endpoint.sessions(envelope.sender_user, envelope.sender_device)
        sends = sessions.sending()
        self.step(
            "open", **facts, **result,
            began=opened.began or None, last_resort=opened.last_resort or None,
            sends=sends.ek_hash[:8].hex() if sends else "", **self._keys(opened.session),
        )
        return None

    def _envelope(self, message: Message, by: Party, said: dict) -> tuple[Envelope, dict]:
        sender = self.parties[said.get("sender", message.sender)]
        envelope = Envelope(
            said.get("user", self.users[sender.user].user_id), sender.device_id, said.get("conv", message.conv),
            said.get("msg", message.msg), said.get("kind", message.kind), said.get("dest", by.device_id), b"",
            said.get("version", 1), said.get("flags", 0),
        )
        return envelope, {"said": {k: v.hex() if isinstance(v, bytes) else v for k, v in said.items()} or None}

    def _content(self, envelope: Envelope, opened, raw_body: bytes, by: Party) -> dict:
        if opened.header.content == ratchet.CONTROL:
            text = bodies.unpad(opened.plaintext)
            if envelope.conv != CONTROL_LOG:
                raise Refused("BadTag")
            return {"control": text.hex()}
        if len(opened.plaintext) != 64:
            raise Refused("Malformed")
        sender = (envelope.sender_user, envelope.sender_device)
        own = self.users[by.user].user_id
        peer, cseq, after, content = bodies.open_body(opened.plaintext, raw_body, envelope.conv, envelope.msg, sender, own)
        return {"content": self.show(content), "cseq": cseq} if self.full else {}


def _lists(facts: ratchet.Facts) -> list[int] | None:
    """own_list and peer_list, unless both are 1."""
    lists = [facts.own_list, facts.peer_list]
    return None if lists == [1, 1] else lists


def _short(content: bytes) -> str:
    """Zeros by their number: `0*12`."""
    return f"0*{len(content)}" if len(content) > 32 and not any(content) else content.hex()


def _flipped(raw: bytes, bit: int) -> bytes:
    out = bytearray(raw)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)
