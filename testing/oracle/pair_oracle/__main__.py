"""Writes the traces: `python -m pair_oracle FOLDER [--full] [--more N]` (README.md)."""

import argparse
import json
from pathlib import Path

from . import records, refusals, scenarios, skips
from .scenarios import MODES
from .world import World

# A script, how often with each capability, and whether it is for the post-quantum ratchet only.
SCRIPTS = [
    (scenarios.steady, 6, False), (scenarios.lossy, 22, False), (scenarios.crossing, 12, False), (scenarios.anew, 6, False),
    (scenarios.following, 1, False), (scenarios.devices, 2, False), (scenarios.epochs, 12, True),
    (skips.at_the_bound, 1, False), (skips.across_a_step, 1, False), (skips.store_is_full, 1, False), (skips.older_chains, 1, False),
    (skips.ages, 1, False), (skips.archived, 1, False), (skips.by_the_clock, 2, True), (skips.interrupted, 2, True),
    (refusals.turned_bits, 8, False), (refusals.relabelled, 1, False), (refusals.forged_headers, 1, False),
    (refusals.forged_parts, 2, True), (refusals.first_messages, 1, False), (refusals.weaker, 1, True), (refusals.lists, 1, False),
    (refusals.odd_bodies, 1, False), (records.bundles, 1, False), (records.chains, 1, True),
]


def worlds(full: bool, more: int):
    for script, times, ratcheting in SCRIPTS:
        name = script.__name__.replace("_", "-")
        modes = {"0101-pq": MODES["0101-pq"]} if ratcheting else MODES
        for i in range(times * more):
            for mode, caps in modes.items():
                yield name, script(f"{name}-{mode}-{i}", caps, full)


def write(folder: Path, name: str, traces: list[World]) -> int:
    """One file for each script, a step in a line."""
    lines = []
    for world in traces:
        head = json.dumps({"trace": world.name, "seed": world.seed.hex(), "steps": len(world.steps)})
        lines += [head, *(json.dumps(step, separators=(",", ":")) for step in world.steps)]
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(prog="pair_oracle", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full", action="store_true", help="long values and secrets in full, for whoever looks for a difference")
    parser.add_argument("--more", type=int, default=1, help="so many times the number of traces")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    by_name: dict[str, list[World]] = {}
    for name, world in worlds(arguments.full, arguments.more):
        by_name.setdefault(name, []).append(world)
    size = sum(write(arguments.folder, name, traces) for name, traces in by_name.items())
    count = sum(map(len, by_name.values()))
    print(f"{count} traces, {sum(len(w.steps) for t in by_name.values() for w in t)} steps, {size // 1024} KiB")


if __name__ == "__main__":
    main()
