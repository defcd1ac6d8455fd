//! JSON bodies of the routes under `/v1/audit`, and the lines of an export (`docs/audit.md`).

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use unhidra_types::{DeviceId, OrgId, Timestamp, UserId};

use crate::base64::{Base64, Base64Array};

/// `GET /v1/audit/key`: what tree heads are verified with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AuditKey {
    /// The Ed25519 public key.
    pub key: Base64Array<32>,
    /// The log whose heads it signs.
    pub log_id: Base64Array<32>,
}

/// `GET /v1/audit/head`: a signed tree head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TreeHead {
    /// Names the log.
    pub log_id: Base64Array<32>,
    /// How many records there are.
    pub size: u64,
    /// When it was signed.
    pub at: Timestamp,
    /// The root of the tree over them.
    pub root: Base64Array<32>,
    /// By the log's key.
    pub signature: Base64Array<64>,
}

/// `GET /v1/audit/heads`: one page of the heads that were signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TreeHeads {
    /// In the order in which they were signed.
    pub heads: Vec<TreeHead>,
    /// The number to ask after for more, when there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// `GET /v1/audit/records`: one page of records.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AuditRecords {
    /// In order of their numbers.
    pub records: Vec<AuditRecord>,
    /// The number to ask after for more, when there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// The query of `GET /v1/audit/records`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only records after this number.
    #[serde(default)]
    pub after: u64,
    /// At most so many, and at most 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only this act, such as `device-revoked`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<String>,
    /// Only what this user or device did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Only what was done to this user, device, session, invitation, conversation or `record-N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Only from this time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Only with these letters in the details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// One record: what is hashed, and what it says for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AuditRecord {
    /// Its number, from 1.
    pub number: u64,
    /// What the header says; absent when it is not readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<Saying>,
    /// The canonical header.
    pub header: Base64,
    /// SHA-256 of salt and payload.
    pub commitment: Base64,
    /// The salt, unless the payload was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<Base64>,
    /// The details as JSON, letter for letter, unless they were erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// Hashes of 32 bytes each: the leaf, then every subtree of 2, 4, 8... records that ends with this one.
    pub tree: Base64,
}

/// A header in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Saying {
    /// When.
    pub at: Timestamp,
    /// What, such as `device-revoked`.
    pub act: String,
    /// The organisation concerned; absent for the server itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<OrgId>,
    /// Who: `anonymous`, `user`, `device` or `server`.
    pub actor: String,
    /// The user who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The device that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// To whom or what: an id, a record's number, `server` or `nothing`.
    pub subject: String,
    /// The request that it was part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// `GET /v1/audit/records/{number}/proof`: that a signed tree holds a record. Complete by itself, but for the key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InclusionProof {
    /// The tree.
    pub head: TreeHead,
    /// The record.
    pub record: AuditRecord,
    /// From the leaf up.
    pub path: Vec<Base64Array<32>>,
}

/// `GET /v1/audit/consistency`: that a tree begins with an earlier one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConsistencyProof {
    /// The earlier size.
    pub from: u64,
    /// The later size.
    pub to: u64,
    /// As in RFC 9162 section 2.1.4.
    pub path: Vec<Base64Array<32>>,
}

/// A line of an export. The first is [`Begin`](ExportLine::Begin), then come the heads, then the records.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportLine {
    /// What the file is.
    Begin(ExportBegin),
    /// A head, in the order in which they were signed; the last one covers the whole file.
    Head(TreeHead),
    /// A record, in order of the numbers.
    Record(AuditRecord),
}

/// What an export is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportBegin {
    /// The version of the form: 1.
    pub version: u32,
    /// The log and its key. A verifier gets the key from elsewhere.
    pub key: AuditKey,
    /// How many records follow.
    pub records: u64,
}
