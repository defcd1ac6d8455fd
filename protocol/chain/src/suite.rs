//! Which handshake two devices use. Nothing is negotiated: both read it from the two signed certificates.

use crate::device::Capabilities;

/// A handshake and the primitives of the session after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// `0x0001`: X25519, SHA-256, ChaCha20-Poly1305. Used only where one of the devices has no `pq`.
    Classical,
    /// `0x0101`: the same, and ML-KEM-768.
    Hybrid,
}

impl Suite {
    /// The only suite that two devices may use with each other.
    #[must_use]
    pub const fn between(one: Capabilities, other: Capabilities) -> Self {
        if one.contains(Capabilities::PQ) && other.contains(Capabilities::PQ) {
            Self::Hybrid
        } else {
            Self::Classical
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn to_u16(self) -> u16 {
        match self {
            Self::Classical => 0x0001,
            Self::Hybrid => 0x0101,
        }
    }

    /// The suite of a number on the wire, if there is one.
    #[must_use]
    pub const fn from_u16(number: u16) -> Option<Self> {
        match number {
            0x0001 => Some(Self::Classical),
            0x0101 => Some(Self::Hybrid),
            _ => None,
        }
    }

    /// The number in two bytes, as transcripts and associated data hold it.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 2] {
        self.to_u16().to_be_bytes()
    }
}

/// Whether two devices keep up a post-quantum ratchet. Like the suite it is read from the newest certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PqRatchet {
    /// Both have `pq` and `pq_ratchet`.
    Kept,
    /// One of them has not.
    Lacking,
}

impl PqRatchet {
    const NEEDED: Capabilities = Capabilities::PQ.with(Capabilities::PQ_RATCHET);

    /// What two devices with these capabilities do.
    #[must_use]
    pub const fn between(one: Capabilities, other: Capabilities) -> Self {
        if one.contains(Self::NEEDED) && other.contains(Self::NEEDED) {
            Self::Kept
        } else {
            Self::Lacking
        }
    }
}
