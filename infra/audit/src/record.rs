//! One record: an act, who did it, to whom, when, and the details that may be deleted later.

use serde::Serialize;
use unhidra_types::{ConversationId, DeviceId, InvitationId, OrgId, SessionId, Timestamp, UserId};

/// Who did what to whom, when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// The organisation concerned; `None` for the server itself.
    pub org: Option<OrgId>,
    /// Who.
    pub actor: Actor,
    /// What.
    pub act: Act,
    /// To whom.
    pub subject: Subject,
    /// The request that it was part of; zero when it was none.
    pub request: [u8; 16],
    /// The rest, which may be personal.
    pub details: Details,
}

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Someone who has not authenticated.
    Anonymous,
    /// Someone who knows the account's password.
    User(UserId),
    /// A device that has proved its key.
    Device {
        /// Its user.
        user: UserId,
        /// The device.
        device: DeviceId,
    },
    /// The server, by itself.
    Server,
}

/// To whom or what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nothing that exists, such as an account nobody has.
    Nothing,
    /// The server.
    Server,
    /// An account.
    User(UserId),
    /// A device.
    Device(DeviceId),
    /// A session.
    Session(SessionId),
    /// An invitation.
    Invitation(InvitationId),
    /// A conversation.
    Conversation(ConversationId),
    /// A record of this log, by its number.
    AuditRecord(u64),
}

/// What was done. The number is part of the canonical bytes and is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Act {
    /// The server came up.
    ServerStarted = 1,
    /// The server went down in order.
    ServerStopped = 2,
    /// A server key was replaced.
    KeyRotated = 3,
    /// An account was opened.
    AccountOpened = 10,
    /// An invitation was made.
    InvitationMade = 11,
    /// An invitation was used.
    InvitationUsed = 12,
    /// An invitation was unknown, used or expired.
    InvitationRefused = 13,
    /// A password was right.
    LoginAccepted = 20,
    /// A name or password was wrong, or the account is disabled.
    LoginRefused = 21,
    /// A session began.
    SessionBegun = 22,
    /// A device could not prove its key.
    SessionRefused = 23,
    /// A session's tokens were renewed.
    SessionRefreshed = 24,
    /// A refresh token was unknown or expired, or its use was not signed by its device.
    RefreshRefused = 25,
    /// A spent refresh token came back: its session was ended.
    RefreshTokenReused = 26,
    /// A session ended.
    SessionEnded = 27,
    /// A device was certified for the first time.
    DeviceCertified = 30,
    /// A device was revoked.
    DeviceRevoked = 31,
    /// A device chain began.
    ChainBegun = 32,
    /// A device chain was replaced by one under another identity key.
    ChainReset = 33,
    /// A device replaced its whole prekey set.
    PrekeysReplaced = 34,
    /// A conversation was opened.
    ConversationOpened = 40,
    /// The policy refused an act.
    AccessRefused = 50,
    /// Refusals of one principal in one minute beyond those that have records of their own.
    RefusalsCounted = 51,
    /// A user's identity key was replaced by one that it signed.
    IdentityRotated = 60,
    /// A user's identity key was wrapped by another recovery key.
    RecoveryReplaced = 61,
    /// An administrator closed a connection.
    ConnectionClosed = 70,
    /// A device got a newer certificate.
    CertificateRenewed = 71,
    /// A device added one-time prekeys, so many.
    PrekeysAdded = 72,
    /// Bundles of a user's devices were handed out, so many.
    BundlesTaken = 73,
    /// A new device opened a linking channel; what is said on it has no records.
    LinkOpened = 74,
    /// An administrator read the audit log.
    AuditRead = 80,
    /// The details of a record were erased; the record stays.
    PayloadErased = 81,
    /// An account was disabled.
    AccountDisabled = 100,
    /// An account was enabled again.
    AccountEnabled = 101,
    /// An administrator refused the sessions of a device.
    DeviceRefused = 102,
    /// An administrator allowed the sessions of a device again.
    DeviceAllowed = 103,
    /// An invitation was withdrawn.
    InvitationRevoked = 104,
    /// An account was deleted by its user.
    AccountDeleted = 105,
    /// The database was restored from a backup: what was written after that one is gone.
    ServerRestored = 90,
}

impl Act {
    /// Every act, in the order of the numbers.
    pub const ALL: &'static [Self] = &[
        Self::ServerStarted,
        Self::ServerStopped,
        Self::KeyRotated,
        Self::AccountOpened,
        Self::InvitationMade,
        Self::InvitationUsed,
        Self::InvitationRefused,
        Self::LoginAccepted,
        Self::LoginRefused,
        Self::SessionBegun,
        Self::SessionRefused,
        Self::SessionRefreshed,
        Self::RefreshRefused,
        Self::RefreshTokenReused,
        Self::SessionEnded,
        Self::DeviceCertified,
        Self::DeviceRevoked,
        Self::ChainBegun,
        Self::ChainReset,
        Self::PrekeysReplaced,
        Self::ConversationOpened,
        Self::AccessRefused,
        Self::RefusalsCounted,
        Self::IdentityRotated,
        Self::RecoveryReplaced,
        Self::ConnectionClosed,
        Self::CertificateRenewed,
        Self::PrekeysAdded,
        Self::BundlesTaken,
        Self::LinkOpened,
        Self::AuditRead,
        Self::PayloadErased,
        Self::ServerRestored,
        Self::AccountDisabled,
        Self::AccountEnabled,
        Self::DeviceRefused,
        Self::DeviceAllowed,
        Self::InvitationRevoked,
        Self::AccountDeleted,
    ];

    /// The number in the canonical bytes.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The name that people and scripts know it by: the variant's, in words with hyphens.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    /// The name of an act by its number, which a later version may have added.
    #[must_use]
    pub fn name_of(number: u16) -> String {
        let known = Self::ALL.iter().copied().find(|act| act.number() == number);
        known.map_or_else(|| format!("act-{number}"), Self::name)
    }

    /// The number of an act by its name, also of the form `act-77`.
    #[must_use]
    pub fn number_of(name: &str) -> Option<u16> {
        let known = Self::ALL.iter().copied().find(|act| act.name() == name);
        known
            .map(Self::number)
            .or_else(|| name.strip_prefix("act-")?.parse().ok())
    }
}

/// What may be deleted without breaking the record: stored apart, as JSON, absent fields left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Details {
    /// The network address the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<std::net::IpAddr>,
    /// The account's name, when the account exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What people call the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// Tells refusals of one unknown name from those of another, without the name, which may be a mistyped password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What the policy refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// Why a session ended or a request was refused, beyond what the caller was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// How many refusals, keys or bundles this one record stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}
