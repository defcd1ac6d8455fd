"""Scripts about bundles that are refused and chains that are not valid."""

from .chain import CAP_PQ, devcert_unsigned, genesis_unsigned, revoke_unsigned
from .primitives import P25519, ZERO32, be, ed25519_public, h, sign, x25519_public
from .refusals import NOT_CANONICAL, ORDER_EIGHT
from .scenarios import A, B, must, pair, talk
from .world import DAY, World

SMALL_ORDER_KEY = be(1, 1) + bytes(31)


def bundles(name: str, caps: int, full: bool = False) -> World:
    """Each check of a sender, in a bundle that the server has altered or kept too long."""
    world = pair(name, caps, full)
    good = world.bundle(B)
    own = world.bundle(A)
    cases = [
        ("OtherDevice", own, None), ("OtherCertificate", good, (16, h(b"another"))), ("Forged", good, (48, be(2, 8))),
        ("Malformed", good, (56, be(0, 4))), ("Forged", good, (56, be(7, 4))), ("Forged", good, (60, be(1, 8))),
        ("Malformed", good, (68, NOT_CANONICAL)), ("Forged", good, (68, ORDER_EIGHT)), ("Forged", good, (100, bytes(64))),
    ]
    if caps & CAP_PQ:
        cases += [
            ("Malformed", good, (164, b"\x01")), ("Forged", good, (164, b"\x03")), ("Malformed", good, (165, be(0, 4))),
            ("Forged", good, (165, be(7, 4))), ("Forged", good, (169, be(1, 8))), ("Malformed", good, (177, b"\xff\xff\xff")),
            ("Forged", good, (177 + 1183, b"\x00")), ("Forged", good, (1361, bytes(64))),
        ]
    end = 1461 if caps & CAP_PQ else 200
    cases += [("Malformed", good, (end - 36, be(0, 4))), ("Malformed", good, (end - 32, NOT_CANONICAL)), ("BadPeerKey", good, (end - 32, ORDER_EIGHT))]
    for reason, index, change in cases:
        error = world.begin(A, B, index, change)
        assert error == reason, (name, reason, error, change)
    assert world.begin(A, B, good, highest=2) == "EarlierGeneration"
    _by_time(world, caps, good)
    return world


def _by_time(world: World, caps: int, good: int) -> None:
    """A swapped one-time key, renewals, dates and a revocation."""
    end = 1461 if caps & CAP_PQ else 200
    must(world.begin(A, B, good, (end - 32, x25519_public(world.odd("swapped", 32)))))
    assert world.open(world.say(A, B, "under a swapped one-time key")) == "NoSession"
    world.certify(B, caps=caps ^ CAP_PQ)
    assert world.begin(A, B, good) == "OtherCertificate"
    world.certify(B, caps=caps)
    renewed = world.bundle(B)
    world.now += 14 * DAY
    must(world.begin(A, B, renewed))
    must(world.open(world.say(A, B, "on the last day")))
    renewed = world.bundle(B)
    world.now += 1
    assert world.begin(A, B, renewed) == "Expired"
    world.stock(B, generation=2)
    renewed = world.bundle(B)
    must(world.begin(A, B, renewed, highest=2))
    must(world.open(world.say(A, B, "under generation 2")))
    talk(world, 3, 2)
    world.revoke(B)
    assert world.begin(A, B, renewed, highest=2) == "NotLive"


def chains(name: str, caps: int, full: bool = False) -> World:
    """Valid chains, and each rule of a chain broken once."""
    world = World(name, full)
    for user in ("alice", "bob"):
        world.user(user)
        world.certify(f"{user}.1", caps=caps)
    world.certify("alice.2", kind=2, caps=caps & ~2)
    world.certify("alice.2", kind=2, caps=caps & ~2)
    world.certify("alice.3", kind=3, caps=caps & ~2 | 0x80000000)
    world.revoke("alice.2")
    world.derived("alice", "bob")
    records = world.users["alice"].records
    for end in range(1, len(records) + 1):
        world.chain("a prefix", records[:end], True)
    world.chain("nothing", [], False)
    world.chain("no genesis", records[1:], False)
    world.chain("a record left out", records[:2] + records[3:], False)
    world.chain("a record of another user", records[:1] + world.users["bob"].records[1:], False)
    world.chain("a byte too many", [records[0] + b"\x00"], False)
    world.chain("a turned bit", [records[0], records[1][:40] + bytes([records[1][40] ^ 4]) + records[1][41:]], False)
    _genesis(world)
    _certificates(world)
    _revocations(world)
    world.user("alice, rotated", prev="alice")
    world.chain("signed by the key before", world.users["alice, rotated"].records, True)
    rotated = world.users["alice, rotated"].records[0]
    world.chain("signature of the key before altered", [rotated[:101] + bytes([rotated[101] ^ 1]) + rotated[102:]], False)
    return world


def _genesis(world: World) -> None:
    """Signed by the right key, with fields that are not allowed."""
    user, seed = world.users["alice"].user_id, world.users["alice"].seed
    other = world.odd("another_uik", 32)
    key = ed25519_public(seed)

    def record(uik: bytes, prev: bytes, sig_prev: bytes) -> list[bytes]:
        unsigned = genesis_unsigned(user, uik, prev, world.now) + sig_prev
        return [unsigned + sign(seed, unsigned)]

    before = ed25519_public(other)
    good = sign(other, genesis_unsigned(user, key, before, world.now))
    world.chain("a key before", record(key, before, good), True)
    world.chain("a key before without its signature", record(key, before, bytes(64)), False)
    world.chain("a signature without a key before", record(key, ZERO32, good), False)
    world.chain("a key of small order", record(SMALL_ORDER_KEY, ZERO32, bytes(64)), False)
    world.chain("the same key again", record(key, key, sign(seed, genesis_unsigned(user, key, key, world.now))), True)


def _certificates(world: World) -> None:
    user = world.users["alice"]
    base, head = user.records[:2], h(user.records[1])
    first = world.parties["alice.1"]
    dsk, dik, device = world.odd("other_dsk", 32), world.odd("other_dik", 32), world.uuid("other_device")

    def with_(why: str, valid: bool, kind=1, owner=user.user_id, device_id=device, keys=None, seq=2, prev=head, alg=None) -> None:
        keys = keys or (ed25519_public(dsk), x25519_public(dik))
        unsigned = devcert_unsigned(kind, owner, device_id, *keys, 0, (world.now, world.now + DAY), seq, prev)
        if alg:
            unsigned = unsigned[:13] + be(alg, 1) + unsigned[14:]
        world.chain(why, [*base, unsigned + sign(user.seed, unsigned)], valid)

    known = (ed25519_public(first.dsk), x25519_public(first.dik))
    with_("another device", True)
    with_("kind 0", False, kind=0)
    with_("kind 6", False, kind=6)
    with_("algorithm 2", False, alg=2)
    with_("another user", False, owner=world.users["bob"].user_id)
    with_("a number left out", False, seq=3)
    with_("another record before", False, prev=h(base[0]))
    with_("a renewal", True, device_id=first.device_id, keys=known)
    with_("a renewal of another kind", False, kind=2, device_id=first.device_id, keys=known)
    with_("a renewal with another signing key", False, device_id=first.device_id, keys=(ed25519_public(dsk), known[1]))
    with_("a renewal with another key", False, device_id=first.device_id, keys=(known[0], x25519_public(dik)))
    with_("a signing key of another device", False, keys=(known[0], x25519_public(dik)))
    with_("a key of another device", False, keys=(ed25519_public(dsk), known[1]))
    with_("a signing key of small order", False, keys=(SMALL_ORDER_KEY, x25519_public(dik)))
    with_("a key that is not canonical", False, keys=(ed25519_public(dsk), P25519.to_bytes(32, "little")))


def _revocations(world: World) -> None:
    user = world.users["alice"]
    base = user.records[:2]
    first = world.parties["alice.1"].device_id

    def then(why: str, valid: bool, *devices: bytes, back: bool = False) -> None:
        records = list(base)
        for device in devices:
            unsigned = revoke_unsigned(user.user_id, device, len(records), h(records[-1]), world.now)
            records.append(unsigned + sign(user.seed, unsigned))
        if back:
            party = world.parties["alice.1"]
            keys = (ed25519_public(party.dsk), x25519_public(party.dik))
            unsigned = devcert_unsigned(1, user.user_id, first, *keys, 0, (world.now, world.now), len(records), h(records[-1]))
            records.append(unsigned + sign(user.seed, unsigned))
        world.chain(why, records, valid)

    then("a revocation", True, first)
    then("a revocation of nobody", False, world.uuid("nobody"))
    then("a revocation twice", False, first, first)
    then("a revoked device comes back", False, first, back=True)
