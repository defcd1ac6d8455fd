"""Post-quantum secrets of a session (docs/protocol/pq-ratchet.md)."""

from dataclasses import dataclass

from . import mlkem
from .primitives import Refused, h, label, seal, unseal

READY, EK_SENT, SS_HELD, WAIT, EK_HELD, CT_SENT = "READY", "EK_SENT", "SS_HELD", "WAIT", "EK_HELD", "CT_SENT"
NONE, EK, CT = 0, 1, 2
PART_BYTES, ENC_PQ_BYTES = 1184, 1212
DUE_MESSAGES, DUE_MS = 32, 24 * 3600 * 1000
OVERDUE_MS, OVERDUE_CHAINS = 30 * 24 * 3600 * 1000, 8
RIDES_EVERY = 8


@dataclass
class SparseKem:
    state: str
    since: int
    epoch: int = 0
    epoch_r: int = 0
    count: int = 0
    due_since: int | None = None
    due_chains: int = 0
    seed: bytes = b""
    ss: bytes = b""
    ek: bytes = b""
    ct: bytes = b""

    def due(self, now: int) -> bool:
        return self.count >= DUE_MESSAGES or now - self.since >= DUE_MS

    def check_overdue(self, now: int) -> None:
        """Before anything else of a sealing between two devices that have both capabilities."""
        if self.due_since is not None and now - self.due_since >= OVERDUE_MS and self.due_chains >= OVERDUE_CHAINS:
            raise Refused("EpochOverdue")

    def count_message(self) -> None:
        self.count = min(self.count + 1, 65535)

    def mixed(self, state: str, now: int) -> None:
        """What mixing a secret sets, besides the root."""
        self.epoch, self.state = self.epoch + 1, state
        self.count, self.since, self.due_since, self.due_chains = 0, now, None, 0
        self.seed = self.ss = self.ek = self.ct = b""

    def sending_secret(self, now: int) -> bytes:
        """ss, if this sending step mixes one."""
        if self.state != SS_HELD:
            return b""
        ss = self.ss
        self.mixed(WAIT, now)
        return ss

    def ride(self, random, n: int, hybrid: bool, now: int) -> tuple[int, bytes]:
        """(pq_type, part) of a message with which a part may ride."""
        if self.due(now):
            if self.due_since is None:
                self.due_since, self.due_chains = now, 1
            elif n == 0:
                self.due_chains = min(self.due_chains + 1, 255)
        if hybrid and self.state == READY and self.due(now):
            self.seed, self.state = random("kem_seed", 64), EK_SENT
        elif hybrid and self.state == EK_HELD:
            self.ct, self.ss = mlkem.encapsulate(self.ek, random("encapsulation", 32))
            self.ek, self.state = b"", CT_SENT
        if self.state == EK_SENT:
            return EK, mlkem.public_key(self.seed)
        if self.state == CT_SENT:
            return CT, self.ct + bytes(PART_BYTES - mlkem.CIPHERTEXT_BYTES)
        return NONE, b""

    def check_receiving_step(self, pq_epoch: int) -> None:
        """Before any computation of a step under NHKr."""
        if pq_epoch not in (self.epoch, self.epoch + 1):
            raise Refused("Unsupported")
        if pq_epoch == self.epoch + 1 and self.state != CT_SENT:
            raise Refused("KeyGone")

    def receiving_secret(self, pq_epoch: int, now: int) -> bytes:
        """ss, if this receiving step mixes one."""
        self.epoch_r = pq_epoch
        if pq_epoch == self.epoch:
            return b""
        ss = self.ss
        self.mixed(READY, now)
        return ss

    def take(self, hk: bytes, enc_header: bytes, enc_pq: bytes, pq_epoch: int, pq_type: int) -> None:
        """The part of a message whose tag has passed."""
        awaited = {EK: WAIT, CT: EK_SENT}.get(pq_type)
        if pq_epoch != self.epoch or self.state != awaited:
            return
        part = unseal(hk, enc_pq[:12], part_aad(enc_header), enc_pq[12:])
        if part is None:
            raise Refused("Malformed")
        if pq_type == EK:
            if not mlkem.public_key_is_sound(part):
                raise Refused("Malformed")
            self.ek, self.state = part, EK_HELD
            return
        if any(part[mlkem.CIPHERTEXT_BYTES :]):
            raise Refused("Malformed")
        self.ss, self.seed, self.state = mlkem.decapsulate(self.seed, part[: mlkem.CIPHERTEXT_BYTES]), b"", SS_HELD


def part_aad(enc_header: bytes) -> bytes:
    return label("UNH1/pq") + h(enc_header)


def seal_part(hk: bytes, nonce: bytes, enc_header: bytes, part: bytes) -> bytes:
    return nonce + seal(hk, nonce, part_aad(enc_header), part)
