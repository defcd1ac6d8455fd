"""Scripts about messages that are refused: each error of docs/protocol/errors.md."""

from . import mlkem
from .body import pad, plaintext
from .chain import CAP_PQ, CAP_PQ_RATCHET, direct_conversation
from .primitives import P25519, be, x25519_public
from .scenarios import A, B, MINUTE, RATCHETING, must, pair, talk
from .skips import begun
from .world import DAY, World

NOT_CANONICAL = P25519.to_bytes(32, "little")
LOW_ORDER = bytes(32)
ORDER_EIGHT = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")


def refused(world: World, reason: str, index: int, **how) -> None:
    error = world.open(index, **how)
    assert error == reason, (world.name, reason, error, how)


def turned_bits(name: str, caps: int, full: bool = False) -> World:
    """One turned bit in each part of a first message, of a later one and of a body; then the message opens."""
    world = pair(name, caps, full)
    world.begin(A, B, world.bundle(B))
    first = world.say(A, B, "first")
    size = len(world.messages[first].sealed) - 170
    parts = {"Malformed": [2, 18], "OtherCertificate": [34], "UnknownPrekey": [98, 102]}
    for reason, offsets in parts.items():
        for offset in offsets:
            refused(world, reason, first, flip=8 * offset + world.choice(8))
    opaque = [66 + world.choice(30), size + world.choice(90)] + ([110 + world.choice(1088)] if caps & CAP_PQ else [])
    for offset in opaque:
        refused(world, "NoSession", first, flip=8 * offset)
    refused(world, "BadTag", first, flip=8 * (size + 90 + world.choice(80)))
    _bodies_and_cuts(world, first)
    must(world.open(first))
    later = world.say(B, A, "later")
    refused(world, "NoSession", later, flip=world.choice(720))
    refused(world, "BadTag", later, flip=720 + world.choice(640))
    _bodies_and_cuts(world, later)
    must(world.open(later))
    refused(world, "KeyGone", later)
    return world


def _bodies_and_cuts(world: World, index: int) -> None:
    refused(world, "BadTag", index, flip_body=world.choice(8 * 113))
    refused(world, "Malformed", index, cut=105 if world.messages[index].kind == 2 else 109)
    refused(world, "BadTag", index, cut=len(world.messages[index].sealed) - 1)


def relabelled(name: str, caps: int, full: bool = False) -> World:
    """What the server says and the associated data does not."""
    world = begun(name, caps, full)
    for device in ("bob.2", "carol.1"):
        if device == "carol.1":
            world.user("carol")
        world.certify(device, caps=caps)
        world.stock(device)
    body = world.body(A, B, b"\x0a\x03\x0a\x01x")
    index = world.seal(A, B, body)
    other = direct_conversation(world.users["alice"].user_id, world.users["carol"].user_id)
    for said in ({"conv": other}, {"msg": world.odd("other", 16)}, {"dest": world.parties["bob.2"].device_id}):
        refused(world, "BadTag", index, said=said)
    for said in ({"sender": "carol.1"}, {"by": "bob.2"}, {"by": A, "sender": B}):
        refused(world, "NoSession", index, said=said)
    refused(world, "Unsupported", index, said={"version": 2})
    refused(world, "Unsupported", index, said={"kind": 3})
    refused(world, "Malformed", index, said={"flags": 1})
    refused(world, "BadTag", index, body=0)
    refused(world, "BadTag", world.forge(A, B, body, header={"content": 1}, plaintext=pad(b"\x22\x00")))
    must(world.open(index))
    return world


def forged_headers(name: str, caps: int, full: bool = False) -> World:
    """A peer that breaks the rules, with the right keys."""
    world = begun(name, caps, full)
    body = world.body(A, B, b"\x0a\x03\x0a\x01x")
    new_chain = [
        ("Malformed", {"pn": 0}), ("SkipTooFar", {"pn": 1002}), ("SkipTooFar", {"n": 1001}), ("Malformed", {"n": 2**32 - 1}),
        ("Malformed", {"dh_pub": LOW_ORDER}), ("Malformed", {"dh_pub": ORDER_EIGHT}), ("Malformed", {"dh_pub": NOT_CANONICAL}),
        ("Unsupported", {"content": 3}), ("Unsupported", {"content": 0}), ("Unsupported", {"pq_type": 3}), ("Unsupported", {"pq_epoch": 2}),
        ("KeyGone" if caps & CAP_PQ else "Unsupported", {"pq_epoch": 1}),
    ]
    for reason, header in new_chain:
        refused(world, reason, world.forge(A, B, body, header=header))
    must(world.open(world.say(A, B, "an honest one")))
    same_chain = [
        ("Malformed", {"dh_pub": x25519_public(world.odd("another_key", 32))}), ("KeyGone", {"n": 0}),
        ("SkipTooFar", {"n": 1002}), ("Unsupported", {"pq_epoch": 1}),
    ]
    for reason, header in same_chain:
        refused(world, reason, world.forge(A, B, body, header=header))
    refused(world, "Malformed", world.forge(A, B, body, plaintext=bytes(63)))
    refused(world, "Malformed", world.forge(A, B, body, plaintext=bytes(65)))
    refused(world, "Malformed", world.forge(A, B, body, plaintext=be(61, 4) + bytes(60), header={"content": 1}, conv=bytes(16)))
    must(world.open(world.say(A, B, "another honest one")))
    return world


def forged_parts(name: str, caps: int = RATCHETING, full: bool = False) -> World:
    """Post-quantum parts that no honest device sends."""
    world = begun(name, caps, full)
    index = _until(world, A, B, "EK_SENT")
    body = world.body(A, B, b"\x0a\x03\x0a\x01x")
    key = mlkem.public_key(world.odd("kem_seed", 64))
    refused(world, "Malformed", world.forge(A, B, body, header={"pq_type": 1}))
    refused(world, "Malformed", world.forge(A, B, body, header={"pq_type": 1}, part=b"\xff" * 1184))
    body = world.body(A, B, b"\x0a\x03\x0a\x01y")
    must(world.open(world.forge(A, B, body, header={"pq_type": 2}, part=key)))
    refused(world, "KeyGone", world.say(A, B, "at the same place"))
    refused(world, "BadTag", index, flip=8 * (90 + world.choice(1212)))
    must(world.open(index))
    assert world._sessions(B, A).sending().state.kem.state == "EK_HELD"
    body = world.body(B, A, b"\x0a\x03\x0a\x01z")
    refused(world, "Malformed", world.forge(B, A, body, header={"pq_type": 2}, part=bytes(1088) + b"\x01" + bytes(95)))
    refused(world, "Malformed", world.forge(B, A, body, header={"pq_type": 2}, part=bytes(1184), part_key=bytes(32)))
    talk(world, 8, 4, B, A)
    return world


def _until(world: World, a: str, b: str, state: str) -> int:
    """Messages of a, each opened but the one that brings its session into that state."""
    while True:
        index = world.say(a, b, "on")
        if world._sessions(a, b).sending().state.kem.state == state:
            return index
        must(world.open(index))


def first_messages(name: str, caps: int, full: bool = False) -> World:
    """What a first message is checked for."""
    world = pair(name, caps, full)
    world.user("carol")
    world.certify("carol.1", caps=caps)
    world.begin(A, B, world.bundle(B))
    first = world.say(A, B, "first")
    sealed = world.messages[first].sealed
    refused(world, "Malformed", first, said={"sender": "carol.1"})
    refused(world, "NotLive", first, records=1)
    for offset, raw, reason in (
        (0, be(0x0202, 2), "Unsupported"), (66, NOT_CANONICAL, "Malformed"), (66, ORDER_EIGHT, "Malformed"),
        (98, be(0, 4), "Malformed"), (106, be(0 if caps & CAP_PQ else 5, 4), "Malformed"),
    ):
        _laid_over(world, first, sealed, offset, raw, reason)
    must(world.open(first))
    again = world.say(A, B, "the prefix again")
    if caps & CAP_PQ:
        short = be(1, 2) + world.messages[again].sealed[2:106] + be(0, 4) + world.messages[again].sealed[1198:]
        refused(world, "Malformed", _injected(world, again, short))
    must(world.open(again))
    world.begin(A, B, world.bundle(B))
    unknown = world.say(A, B, "with a key that is gone")
    world.erase(B, next(iter(world.parties[B].endpoint.prekeys.one_time)))
    refused(world, "UnknownPrekey", unknown)
    world.begin(A, B, world.bundle(B, one_time=False, last_resort=True))
    must(world.open(world.say(A, B, "without a one-time key")))
    refused(world, "KeyGone", first)
    return world


def _injected(world: World, index: int, sealed: bytes) -> int:
    m = world.messages[index]
    return world.inject(m.sender, m.dest, m.conv, m.msg, m.kind, sealed, m.body)


def _laid_over(world: World, index: int, sealed: bytes, offset: int, raw: bytes, reason: str) -> None:
    refused(world, reason, _injected(world, index, sealed[:offset] + raw + sealed[offset + len(raw) :]))


def weaker(name: str, caps: int = RATCHETING, full: bool = False) -> World:
    """A first message in the weaker suite, from a time when one side had no KEM; and one that fits again."""
    world = pair(name, caps & ~(CAP_PQ | CAP_PQ_RATCHET), full)
    world.begin(A, B, world.bundle(B))
    early = world.say(A, B, "in the weaker suite")
    for device in (A, B):
        world.certify(device, caps=caps)
        world.stock(device, generation=2) if device == A else None
    refused(world, "Downgrade", early)
    world.now += MINUTE
    world.stock(B, generation=2)
    world.begin(A, B, world.bundle(B))
    must(world.open(world.say(A, B, "in the stronger")))
    talk(world, 4, 3)
    return world


def lists(name: str, caps: int, full: bool = False) -> World:
    """Renewals, revocations and dates between sealing and opening."""
    world = pair(name, caps, full)
    world.begin(A, B, world.bundle(B))
    first = world.say(A, B, "under the first certificate")
    world.certify(A, caps=caps)
    must(world.open(first))
    must(world.open(world.say(A, B, "after the renewal")))
    world.certify("alice.2", caps=caps, dates=(world.now, world.now + DAY))
    world.stock("alice.2")
    for text in ("in date", "in the tolerance", "too late"):
        world.begin("alice.2", B, world.bundle(B, one_time=False, last_resort=True))
        index = world.say("alice.2", B, text)
        if text == "too late":
            world.now += 1
            refused(world, "NotLive", index)
        else:
            must(world.open(index))
        world.now = world.now + 2 * DAY if text == "in date" else world.now
    world.certify("alice.2", caps=caps)
    must(world.open(index))
    world.begin("alice.2", B, world.bundle(B, one_time=False, last_resort=True))
    index = world.say("alice.2", B, "of a revoked device")
    world.revoke("alice.2")
    refused(world, "NotLive", index)
    must(world.open(index, records=len(world.users["alice"].records) - 1))
    return world


def odd_bodies(name: str, caps: int, full: bool = False) -> World:
    """Bodies that only a dishonest device makes."""
    world = begun(name, caps, full)
    carol = world.user("carol").user_id
    mine, theirs = world.users["alice"].user_id, world.users["bob"].user_id
    for reason, odd in _broken_bodies(mine, theirs, carol):
        index = world.seal(A, B, world.body(A, B, b"\x0a\x03\x0a\x01x", **odd))
        refused(world, reason, index)
    must(world.open(world.say(A, B, "an honest one")))
    for size in (0, 1, 19, 20, 21, 84, 900, 979, 980, 981, 1030, 2000, 4000, 10000, 65531):
        must(world.open(world.seal(A, B, world.body(A, B, bytes(size)))))
    return world


def _broken_bodies(sender: bytes, receiver: bytes, third: bytes) -> list[tuple[str, dict]]:
    honest = pad(plaintext(receiver, 1, bytes(16), b""))
    return [
        ("BadTag", {"peer": third}),
        ("BadTag", {"conv": third}),
        ("BadTag", {"conv": direct_conversation(sender, third)}),
        ("Malformed", {"padded": honest[:-1] + b"\x01"}),
        ("Malformed", {"padded": honest + bytes(64)}),
        ("Malformed", {"padded": honest[:-1]}),
        ("Malformed", {"padded": bytes(4)[:3]}),
        ("Malformed", {"padded": pad(bytes(39))}),
        ("Malformed", {"padded": b"\xff\xff\xff\xff" + honest[4:]}),
        ("Malformed", {"padded": (len(honest) - 3).to_bytes(4, "big") + honest[4:]}),
        ("Malformed", {"cseq": 0}),
    ]
