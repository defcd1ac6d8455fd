"""The scripts behind the traces: honest devices on a bad network."""

from .chain import CAP_CERTIFY, CAP_PQ, CAP_PQ_RATCHET
from .world import DAY, World

MINUTE = 60_000
CLASSICAL, HYBRID, RATCHETING = CAP_CERTIFY, CAP_CERTIFY | CAP_PQ, CAP_CERTIFY | CAP_PQ | CAP_PQ_RATCHET
MODES = {"0001": CLASSICAL, "0101": HYBRID, "0101-pq": RATCHETING}
A, B = "alice.1", "bob.1"


def pair(name: str, caps: int, full: bool = False, one_time: int = 2) -> World:
    """Two users with a device each and prekeys on both sides."""
    world = World(name, full)
    world.user("alice")
    world.user("bob")
    for device in (A, B):
        world.certify(device, caps=caps)
        world.stock(device, one_time=one_time)
    return world


def must(error: str | None) -> None:
    assert error is None, error


def talk(world: World, turns: int, most: int = 3, a: str = A, b: str = B) -> None:
    """Alternating bursts, all delivered at once and in order."""
    for turn in range(turns):
        sender, receiver = (a, b) if turn % 2 == 0 else (b, a)
        for i in range(1 + world.choice(most)):
            world.now += 1 + world.choice(MINUTE)
            must(world.open(world.say(sender, receiver, f"{turn}.{i} from {sender}")))


def steady(name: str, caps: int, full: bool = False) -> World:
    """Nothing goes wrong."""
    world = pair(name, caps, full)
    world.begin(A, B, world.bundle(B, one_time=world.chance(70)))
    talk(world, 4 + world.choice(5))
    index = world.control(A, B, b"\x22\x00")
    must(world.open(index))
    return world


def lossy(name: str, caps: int, full: bool = False, acts: int = 30) -> World:
    """Loss, reordering and duplicates; both may speak at any time once the session is known to both."""
    world = pair(name, caps, full)
    world.begin(A, B, world.bundle(B, one_time=world.chance(50), last_resort=world.chance(30)))
    waiting, opened, known = [], [], False
    for act in range(acts):
        world.now += 1 + world.choice(20 * MINUTE)
        if world.chance(55) or not waiting:
            ends = (A, B) if not known or world.chance(50) else (B, A)
            waiting.append(world.say(*ends, f"message {act}"))
            continue
        index = waiting.pop(world.choice(len(waiting)) if world.chance(60) else 0)
        if world.chance(15):
            continue
        known = world.open(index) is None or known
        opened.append(index)
        if world.chance(20):
            world.open(opened[world.choice(len(opened))])
    for index in waiting:
        world.open(index)
    return world


def epochs(name: str, caps: int = RATCHETING, full: bool = False) -> World:
    """Enough for post-quantum epochs, with parts that are lost, late and repeated."""
    world = pair(name, caps, full)
    world.begin(A, B, world.bundle(B))
    must(world.open(world.say(A, B, "first")))
    late = []
    for turn in range(14 + world.choice(8)):
        ends = (B, A) if turn % 2 == 0 else (A, B)
        if world.chance(10):
            world.now += DAY
        for i in range(1 + world.choice(10)):
            world.now += 1 + world.choice(MINUTE)
            index = world.say(*ends, f"{turn}.{i}")
            if world.chance(25):
                late.append(index)
            else:
                must(world.open(index))
        while late and world.chance(40):
            world.open(late.pop(world.choice(len(late))))
    for index in late:
        world.open(index)
    return world


def crossing(name: str, caps: int, full: bool = False) -> World:
    """Both begin at once; what is on its way comes in any order."""
    world = pair(name, caps, full)
    for a, b in ((A, B), (B, A)):
        world.begin(a, b, world.bundle(b, one_time=world.chance(50)))
    waiting = [world.say(*ends, f"crossing {i}") for i in range(1 + world.choice(3)) for ends in ((A, B), (B, A))]
    for act in range(20):
        world.now += 1 + world.choice(MINUTE)
        if waiting and world.chance(65):
            world.open(waiting.pop(world.choice(len(waiting))))
        else:
            ends = (A, B) if world.chance(50) else (B, A)
            waiting.append(world.say(*ends, f"later {act}"))
    for index in waiting:
        world.open(index)
    talk(world, 4, 2)
    return world


def anew(name: str, caps: int, full: bool = False) -> World:
    """Sessions begun again and again by either side, late messages of the old ones, a store set back."""
    world = pair(name, caps, full, one_time=5)
    world.begin(A, B, world.bundle(B))
    must(world.open(world.say(A, B, "first")))
    waiting, begun = [], 1
    for act in range(26):
        world.now += 1 + world.choice(MINUTE)
        a, b = (A, B) if world.chance(50) else (B, A)
        if begun < 7 and world.chance(18):
            begun += 1
            if world.chance(25):
                world.retire(a, b)
            world.begin(a, b, world.bundle(b, one_time=world.chance(50)))
        index = world.say(a, b, f"act {act}")
        if index is not None:
            waiting.append(index)
        if waiting and world.chance(70):
            world.open(waiting.pop(world.choice(len(waiting))))
    for index in waiting:
        world.open(index)
    return world


def following(name: str, caps: int, full: bool = False) -> World:
    """A device goes on for 32 messages where the other no longer sends."""
    world = pair(name, caps, full)
    world.begin(A, B, world.bundle(B))
    must(world.open(world.say(A, B, "first")))
    must(world.open(world.say(B, A, "answer")))
    world.begin(B, A, world.bundle(A))
    lost = world.say(B, A, "never arrives")
    for i in range(34):
        world.now += MINUTE
        must(world.open(world.say(A, B, f"{i} in the old session")))
        if i in (30, 31, 32):
            world.say(B, A, f"{i} by {B}")
    world.open(lost)
    talk(world, 4, 2)
    return world


def devices(name: str, caps: int, full: bool = False) -> World:
    """Two devices each: a message goes to three others; one is revoked, one renewed, one comes later."""
    world = World(name, full)
    world.user("alice")
    world.user("bob")
    names = [A, B, "alice.2", "bob.2"]
    for i, device in enumerate(names):
        world.certify(device, kind=1 if i < 2 else 2, caps=caps if i < 2 else caps & ~CAP_CERTIFY)
        world.stock(device)
    _fan_out(world, A, [B, "alice.2", "bob.2"], "to all three")
    _fan_out(world, B, [A, "alice.2", "bob.2"], "and back")
    world.now += DAY
    world.certify("alice.2", caps=caps & ~CAP_CERTIFY)
    _fan_out(world, "alice.2", [A, B, "bob.2"], "after a renewal")
    world.revoke("bob.2")
    _fan_out(world, A, [B, "alice.2"], "one less")
    world.certify("bob.3", kind=2, caps=CAP_PQ)
    world.stock("bob.3")
    _fan_out(world, A, [B, "alice.2", "bob.3"], "one more")
    _fan_out(world, "bob.3", [A, B, "alice.2"], "the new one speaks")
    return world


def _fan_out(world: World, sender: str, others: list[str], text: str) -> None:
    """One body, a capsule for each device; sessions are begun where there is none."""
    world.now += 1 + world.choice(MINUTE)
    peer = next(o for o in others if o.split(".")[0] != sender.split(".")[0])
    inner = b"\x0a" + bytes([len(text)]) + text.encode()
    body = world.body(sender, peer, b"\x0a" + bytes([len(inner)]) + inner)
    for other in others:
        if world._sessions(sender, other).sending() is None:
            must(world.begin(sender, other, world.bundle(other, one_time=world.chance(60))))
        must(world.open(world.seal(sender, other, body)))
