//! Bounds of the protocol, in one place. Sizes are bytes unless the name says otherwise.

use core::time::Duration;

/// The largest WebSocket message of a client; those of a server may be longer by what it adds (`wire::frame`).
pub const MAX_FRAME_BYTES: usize = 256 * 1024;
/// The longest chain of signed device records of one genesis.
pub const MAX_CHAIN_RECORDS: usize = 4_096;
/// Live devices of one user.
pub const MAX_LIVE_DEVICES: usize = 32;
/// Capsules in one envelope: every live device of both users but the sender.
pub const MAX_CAPSULES: usize = 2 * MAX_LIVE_DEVICES;
/// Message keys that one session may be asked to skip in one chain.
pub const MAX_SKIP: u32 = 1_000;
/// Skipped message keys that one session keeps; the oldest go first.
pub const MAX_STORED_SKIPPED_KEYS: usize = 2_000;
/// Older receiving chains whose skipped keys are kept.
pub const MAX_OLD_CHAINS: usize = 4;
/// How long a skipped message key is kept.
pub const SKIPPED_KEY_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// Messages in one sending chain before a new session is begun.
pub const MAX_MESSAGES_PER_CHAIN: u32 = 1 << 20;
/// Messages, both ways, after which a session is due for a post-quantum epoch.
pub const EPOCH_MESSAGES: u16 = 32;
/// Time after which it is: 24 h.
pub const EPOCH_TIME: Duration = Duration::from_secs(86_400);
/// A post-quantum part rides on the first message of a chain and every this many after it.
pub const PART_INTERVAL: u32 = 8;
/// How long an epoch may be due without coming: 30 d.
pub const OVERDUE_TIME: Duration = Duration::from_secs(30 * 86_400);
/// Sending chains that must have begun meanwhile: a pause is no dropping.
pub const OVERDUE_CHAINS: u8 = 8;
/// Receive-only sessions kept per pair of devices, besides the active one.
pub const MAX_ARCHIVED_SESSIONS: usize = 8;
/// Ephemeral keys of accepted first messages that a device remembers.
pub const MAX_SEEN_EPHEMERAL_KEYS: usize = 4_096;
/// One-time X25519 prekeys in a full stock.
pub const ONE_TIME_PREKEYS: usize = 100;
/// One-time ML-KEM prekeys in a full stock.
pub const ONE_TIME_KEM_PREKEYS: usize = 50;
/// Entries of the outbox; the oldest go first.
pub const MAX_OUTBOX_ENTRIES: usize = 10_000;
/// The longest text of one message.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// How far a certificate's dates may be off, either way, before its device counts as not live.
pub const CERTIFICATE_TOLERANCE: Duration = Duration::from_secs(86_400);
