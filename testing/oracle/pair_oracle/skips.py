"""Scripts about skipped keys and their bounds, and about time."""

from .scenarios import A, B, MINUTE, RATCHETING, must, pair, talk
from .world import DAY, World


def begun(name: str, caps: int, full: bool) -> World:
    world = pair(name, caps, full)
    world.begin(A, B, world.bundle(B))
    must(world.open(world.say(A, B, "first")))
    must(world.open(world.say(B, A, "answer")))
    return world


def burst(world: World, a: str, b: str, count: int) -> list[int]:
    """Messages of one body: what matters is their place."""
    return world.seal_many(a, b, world.body(a, b, b"\x0a\x03\x0a\x01x"), count)


def at_the_bound(name: str, caps: int, full: bool = False) -> World:
    """1 000 positions may be missing in a chain, and 1 001 not; the session is archived then."""
    world = begun(name, caps, full)
    sent = burst(world, A, B, 1003)
    assert world.open(sent[1001]) == "SkipTooFar"
    world.begin(A, B, world.bundle(B))
    must(world.open(world.say(A, B, "a new session")))
    must(world.open(sent[1000]))
    for index in (sent[0], sent[999], sent[1002]):
        must(world.open(index))
    assert world.open(sent[999]) == "KeyGone"
    return world


def across_a_step(name: str, caps: int, full: bool = False) -> World:
    """The end of a chain and the start of the next are bounded each."""
    world = begun(name, caps, full)
    old = burst(world, A, B, 1001)
    must(world.open(old[0]))
    must(world.open(world.say(B, A, "a step")))
    new = burst(world, A, B, 1002)
    assert world.open(new[1001]) == "SkipTooFar"
    must(world.open(new[1000]))
    for index in (old[1], old[1000], new[0], new[999]):
        must(world.open(index))
    return world


def store_is_full(name: str, caps: int, full: bool = False) -> World:
    """The oldest of more than 2 000 keys go."""
    world = begun(name, caps, full)
    chains = []
    for _ in range(3):
        chains.append(burst(world, A, B, 801))
        must(world.open(chains[-1][800]))
        must(world.open(world.say(B, A, "a step")))
    assert world.open(chains[0][399]) == "KeyGone"
    must(world.open(chains[0][400]))
    must(world.open(chains[2][0]))
    return world


def older_chains(name: str, caps: int, full: bool = False) -> World:
    """The keys of four chains before the current one are kept; chains that have none do not count."""
    world = begun(name, caps, full)
    late = []
    for turn in range(7):
        late.append(world.say(A, B, f"late {turn}") if turn % 3 != 1 else None)
        must(world.open(world.say(A, B, f"in time {turn}")))
        must(world.open(world.say(B, A, f"step {turn}")))
    late.append(world.say(A, B, "late 7"))
    must(world.open(world.say(A, B, "in time 7")))
    for turn, index in enumerate(late):
        if index is not None:
            assert world.open(index) == (None if turn else "NoSession"), turn
    assert world.open(late[6]) == "NoSession"
    assert world.open(late[7]) == "KeyGone"
    return world


def ages(name: str, caps: int, full: bool = False) -> World:
    """A key is kept for 30 days."""
    world = begun(name, caps, full)
    early, late = world.say(A, B, "opened a moment before"), world.say(A, B, "opened too late")
    must(world.open(world.say(A, B, "in time")))
    world.now += 30 * DAY - 1
    must(world.open(early))
    world.now += 1
    assert world.open(late) == "KeyGone"
    talk(world, 3, 2)
    return world


def archived(name: str, caps: int, full: bool = False) -> World:
    """Eight sessions only receive, the oldest goes; an archived one ends after 30 days."""
    world = pair(name, caps, full, one_time=12)
    late = []
    for i in range(11):
        world.now += MINUTE
        world.begin(A, B, world.bundle(B))
        must(world.open(world.say(A, B, f"first {i}")))
        late.append(world.say(A, B, f"late {i}"))
    assert world.open(late[1]) == "Replay"
    must(world.open(late[2]))
    world.now += 30 * DAY - MINUTE
    assert world.open(late[8]) == "NoSession"
    must(world.open(late[9]))
    must(world.open(late[10]))
    return world


def by_the_clock(name: str, caps: int = RATCHETING, full: bool = False) -> World:
    """An epoch is due after 24 hours, and overdue after 30 days and eight chains."""
    world = begun(name, caps, full)
    world.now += DAY - 1
    talk(world, 2, 1)
    world.now += DAY
    talk(world, 6, 1)
    world.now += 2 * DAY
    for turn in range(9):
        world.say(A, B, f"with a part, lost {turn}")
        must(world.open(world.say(A, B, f"arrives {turn}")))
        world.say(B, A, f"with a part, lost {turn}")
        must(world.open(world.say(B, A, f"arrives {turn}")))
    world.now += 30 * DAY - 1
    must(world.open(world.say(A, B, "just before")))
    world.now += 1
    assert world.say(A, B, "too late") is None
    world.stock(B, generation=2)
    must(world.begin(A, B, world.bundle(B, last_resort=True)))
    talk(world, 2, 1)
    return world


def interrupted(name: str, caps: int = RATCHETING, full: bool = False) -> World:
    """A device loses and wins back the capability: parts wait."""
    world = begun(name, caps, full)
    for _ in range(4):
        talk(world, 4, 4)
    world.certify(B, caps=caps & ~4)
    talk(world, 4, 4)
    world.certify(B, caps=caps)
    for _ in range(3):
        talk(world, 4, 4)
    return world
