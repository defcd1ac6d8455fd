//! JSON bodies of the REST interface under `/v1`.
//!
//! Requests refuse unknown fields; answers may grow. Errors are [`Problem`] (RFC 9457). Bytes are base64url.
//! What an act does and who may do it: `docs/api.md`.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};
pub use unhidra_types::Role;
use unhidra_types::{ConversationId, DeviceId, MsgId, OrgId, SessionId, Timestamp, UserId, Username};

use crate::base64::{Base64, Base64Array};

/// A text that must not be printed or logged: a password or a token.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    /// Takes over a secret text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one computation or request that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// `POST /v1/accounts`: opens an account with an invitation or the set-up token. Answered with [`Enrolment`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAccount {
    /// The invitation or set-up token; single use.
    pub invitation: Hidden,
    /// The wanted name.
    pub username: Username,
    /// 10 to 1,024 bytes.
    pub password: Hidden,
}

/// `POST /v1/sessions`: proves the password. Answered with [`Enrolment`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// The account's name.
    pub username: Username,
    /// The account's password.
    pub password: Hidden,
}

/// What a password alone is good for: enrolling a device, or proving a device that is enrolled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolment {
    /// The account.
    pub user_id: UserId,
    /// Its organisation.
    pub org_id: OrgId,
    /// Bearer token of scope `enrol`, 10 minutes.
    pub enrol_token: Hidden,
    /// Whether the account has a device chain; without one, this device begins it.
    pub has_chain: bool,
}

/// `POST /v1/devices/{device}/sessions`, with the enrolment token: proves the device's key. Answered with [`Tokens`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeginSession {
    /// By the device signing key over the login input whose challenge is SHA-256 of the enrolment token.
    pub signature: Base64Array<64>,
}

/// `POST /v1/sessions/refresh`: answered with [`Tokens`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The last refresh token.
    pub refresh_token: Hidden,
    /// By the device signing key over the login input whose challenge is SHA-256 of the refresh token.
    pub signature: Base64Array<64>,
}

/// A session's tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tokens {
    /// The session.
    pub session_id: SessionId,
    /// Bearer token bound to device and session.
    pub access_token: Hidden,
    /// Seconds until the access token expires.
    pub expires_in: u64,
    /// Gets the next pair.
    pub refresh_token: Hidden,
}

/// `GET /v1/me`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Me {
    /// The account.
    pub user_id: UserId,
    /// Its name.
    pub username: Username,
    /// Its organisation.
    pub org_id: OrgId,
    /// Its role.
    pub role: Role,
    /// The device of this session.
    pub device_id: DeviceId,
    /// This session.
    pub session_id: SessionId,
}

/// `GET /v1/users/by-name/{username}` and `GET /v1/users/{user}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// The account.
    pub user_id: UserId,
    /// Its name.
    pub username: Username,
}

/// `GET /v1/users/{user}/chain?from=SEQ`: signed records from `from` on, at most 256.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChainRecords {
    /// Records in order.
    pub records: Vec<Base64>,
    /// The last record's number and hash, which may lie beyond `records`.
    pub head: ChainHead,
}

/// The last record of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// Sequence number.
    pub version: u32,
    /// SHA-256 of the record.
    pub hash: Base64Array<32>,
}

/// `POST /v1/users/me/chain`: appends records if the chain still has `expected` of them. Answered with [`ChainHead`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtendChain {
    /// How many records the chain has now.
    pub expected: u32,
    /// Records in order; a first upload is a genesis and a certificate.
    pub records: Vec<Base64>,
    /// Proof of possession for every device certified for the first time.
    #[serde(default)]
    pub proofs: Vec<DeviceProof>,
    /// The identity key wrapped by the recovery key (93 bytes); required with a genesis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Base64>,
}

/// Proof that a device holds the keys that its certificate names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceProof {
    /// The device.
    pub device_id: DeviceId,
    /// What people call it, 1 to 64 characters without control characters.
    pub name: String,
    /// By the device signing key.
    pub signature: Base64Array<64>,
}

/// `GET /v1/users/me/recovery`, with an enrolment or access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recovery {
    /// The identity key wrapped by the recovery key, 93 bytes.
    pub wrapped: Base64,
}

/// `GET /v1/devices`: the caller's own devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Devices {
    /// Every device that was ever certified.
    pub devices: Vec<Device>,
}

/// One device as the server knows it; whether it is certified says the chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Device {
    /// The device.
    pub device_id: DeviceId,
    /// What people call it.
    pub name: String,
    /// When the server first saw it.
    pub created_at: Timestamp,
    /// When it last authenticated.
    pub last_seen_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// `PUT /v1/devices/{device}/prekeys`: adds one-time keys, or replaces the whole set under a higher generation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadPrekeys {
    /// Number of the set.
    pub generation: u64,
    /// `SHA-256` of the device's newest certificate.
    pub cert_hash: Base64Array<32>,
    /// The signed prekey.
    pub signed: SignedPrekey,
    /// The last-resort ML-KEM key; absent from a device without `pq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_resort: Option<SignedPrekey>,
    /// New one-time X25519 keys, at most 100.
    pub one_time: Vec<OneTimePrekey>,
    /// New one-time ML-KEM keys, at most 50.
    pub one_time_kem: Vec<SignedPrekey>,
}

/// A prekey signed by its device.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedPrekey {
    /// Nonzero, unique among the live keys of the device.
    pub id: u32,
    /// End of its use.
    pub not_after: Timestamp,
    /// 32 bytes (X25519) or 1,184 (ML-KEM-768).
    pub public: Base64,
    /// By the device signing key.
    pub signature: Base64Array<64>,
}

/// An unsigned one-time X25519 prekey.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneTimePrekey {
    /// Nonzero, unique among the live keys of the device.
    pub id: u32,
    /// The public key.
    pub public: Base64Array<32>,
}

/// What the server holds of a device's prekeys: answer to an upload, and `GET /v1/devices/{device}/prekeys`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stock {
    /// Number of the set; 0 before the first upload.
    pub generation: u64,
    /// Ids of the one-time X25519 keys left.
    pub one_time: Vec<u32>,
    /// Ids of the one-time ML-KEM keys left.
    pub one_time_kem: Vec<u32>,
}

/// `POST /v1/users/{user}/bundles`: takes one bundle of each named device. Answered with [`Bundles`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeBundles {
    /// At most 32 devices of the user.
    pub devices: Vec<DeviceId>,
}

/// Bundles by device; a device without prekeys is left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bundles {
    /// Fixed-layout bundles (1,461 or 200 bytes).
    pub bundles: BTreeMap<DeviceId, Base64>,
}

/// `POST /v1/links/{device}/{direction}`: relays one message of the linking channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkMessage {
    /// At most 1 KiB, opaque to the server.
    pub message: Base64,
}

/// `GET /v1/links/{device}/{direction}?after=N`: messages after the first `N`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkMessages {
    /// In order.
    pub messages: Vec<Base64>,
}

/// `POST /v1/conversations`: opens a conversation, or names the one that exists. Answered with [`Conversation`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields, tag = "kind")]
pub enum OpenConversation {
    /// Between the caller and one other user.
    Direct {
        /// The other user.
        peer: UserId,
    },
    /// Between the caller and others; the log is opaque.
    Group {
        /// The others, at most 1,000.
        members: Vec<UserId>,
    },
}

/// One log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conversation {
    /// The log.
    pub conversation_id: ConversationId,
    /// Its kind.
    pub kind: ConversationKind,
    /// Everyone in it.
    pub members: Vec<UserId>,
    /// The last entry's number; 0 when empty.
    pub head: u64,
}

/// Kinds of log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationKind {
    /// Two users; one body and a capsule for each device.
    Direct,
    /// Members; one body and no capsules.
    Group,
}

/// `GET /v1/conversations?after=ID`: the caller's conversations, at most 256 a page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conversations {
    /// In order of their ids.
    pub conversations: Vec<Conversation>,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<ConversationId>,
}

/// `POST /v1/conversations/{conversation}/entries`: appends to a group's log. Answered with [`AppendedEntry`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppendEntry {
    /// Chosen by the sender; repeating it is idempotent.
    pub msg_id: MsgId,
    /// Opaque to the server.
    pub body: Base64,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendedEntry {
    /// Its number in the log, from 1, without gaps.
    pub seq: u64,
    /// When the server took it.
    pub server_time: Timestamp,
}

/// `GET /v1/conversations/{conversation}/entries?after=SEQ&limit=N`: a page of at most 256 entries, which ends early once
/// it holds 256 KiB of bodies.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entries {
    /// In order.
    pub entries: Vec<Entry>,
    /// The log's last number.
    pub head: u64,
}

/// One entry as the log keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// The message.
    pub msg_id: MsgId,
    /// The authenticated sender.
    pub sender: UserId,
    /// The authenticated sending device.
    pub sender_device: DeviceId,
    /// When the server took it.
    pub server_time: Timestamp,
    /// The sealed body; absent once it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Base64>,
}

/// `POST /v1/admin/invitations`. Answered with [`Invitation`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The role that the invited account gets.
    pub role: Role,
    /// Seconds until the invitation expires, at most 30 days.
    pub expires_in: u64,
}

/// An invitation, shown once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// Single use.
    pub token: Hidden,
    /// End of its use.
    pub expires_at: Timestamp,
}

/// An error answer, `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:unhidra:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One sentence for people.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// For programs.
    pub code: ProblemCode,
    /// Finds the refusal in the server's log.
    pub request_id: String,
    /// The chain's current head, when a compare-and-swap on it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<ChainHead>,
}

impl Problem {
    /// The media type of a problem.
    pub const CONTENT_TYPE: &str = "application/problem+json";

    /// A problem without a chain head.
    #[must_use]
    pub fn new(status: u16, code: ProblemCode, title: &str, request_id: String) -> Self {
        Self {
            kind: alloc::format!("urn:unhidra:problem:{code}"),
            title: title.into(),
            status,
            code,
            request_id,
            head: None,
        }
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Why a request was refused. The set only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProblemCode {
    /// The request does not have the documented form.
    Malformed,
    /// The other side speaks no version that this one knows.
    UnsupportedVersion,
    /// No valid credentials, whatever is wrong with them.
    Unauthenticated,
    /// The credentials do not allow this.
    Forbidden,
    /// No such thing, or not for the caller.
    NotFound,
    /// The method does not exist on this path.
    MethodNotAllowed,
    /// The invitation is unknown, used or expired.
    InvitationRefused,
    /// The name is taken.
    UsernameTaken,
    /// The password is shorter or longer than allowed.
    PasswordUnsuitable,
    /// The chain has other records than the caller thinks.
    ChainConflict,
    /// A record or signature does not hold.
    ChainRefused,
    /// A prekey or its signature does not hold, or the generation is lower.
    PrekeysRefused,
    /// The thing exists already with another content.
    Conflict,
    /// A bound is reached.
    TooMany,
    /// The request body is too large.
    TooLarge,
    /// Too many requests; see `Retry-After`.
    RateLimited,
    /// The server can't do this now; see `Retry-After`.
    Unavailable,
    /// The server failed; the log has the cause under the request id.
    Internal,
    /// A code of a later version.
    #[serde(other)]
    Unknown,
}
