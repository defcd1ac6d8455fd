//! Device chains: what is appended is verified first, and what it changes takes effect with it.

mod proof;

use std::collections::BTreeSet;

use unhidra_audit::{Act, Details, Record as AuditRecord, Subject};
use unhidra_chain::{Chain, ChainError, Record};
use unhidra_runtime::{Context, Overloaded};
use unhidra_store::{
    Event, StoreError, Tx,
    device::{Certified, Device},
};
use unhidra_types::{DeviceId, OrgId, UserId, limits::MAX_CHAIN_RECORDS};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    rest::{ChainHead, ChainRecords, DeviceProof, ExtendChain, Recovery},
};

pub(crate) use self::proof::{certified, certify};
use crate::{Caller, Identity, append};

/// Records in one upload or one page.
pub const PAGE_RECORDS: u32 = 256;
/// Bytes of a wrapped identity key: `ver(1)=1 genesis_hash(32) nonce(12) sealed(48)`.
pub const RECOVERY_BYTES: usize = 93;
const RECOVERY_VERSION: u8 = 1;
/// Characters of a device's name.
const MAX_NAME_CHARS: usize = 64;

/// Why a chain was not extended.
#[derive(Debug, thiserror::Error)]
pub enum ExtendError {
    /// The chain has other records than the caller thinks; the head is the current one, if there is one.
    #[error("chain has changed")]
    Conflict(Option<ChainHead>),
    /// A record does not continue the chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The records are another user's.
    #[error("records belong to another user")]
    OtherUser,
    /// A device certified for the first time has no proof, or one that does not hold.
    #[error("{0} has not proved its keys")]
    Unproved(DeviceId),
    /// The device belongs to another user.
    #[error("{0} is taken")]
    DeviceTaken(DeviceId),
    /// The recovery wrap is missing, unasked for, or not for this genesis.
    #[error("recovery wrap does not fit")]
    Recovery,
    /// Too few or too many records or proofs, or a name that is not one.
    #[error("upload does not have the documented form")]
    Malformed,
    /// The user has as many devices as allowed, or the chain is full.
    #[error("too many devices or records")]
    TooMany,
    /// Too many uploads wait to be verified.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An upload that was verified.
pub(crate) struct Extension {
    pub(crate) user: UserId,
    pub(crate) org: OrgId,
    pub(crate) expected: u32,
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) head: ChainHead,
    pub(crate) changes: Vec<Change>,
    pub(crate) recovery: Option<Vec<u8>>,
}

/// What one record changes.
pub(crate) enum Change {
    Begun,
    Certified(DeviceId, String, Certified),
    Renewed(DeviceId, Certified),
    Revoked(DeviceId),
}

impl Identity {
    /// Appends records to the caller's own chain.
    ///
    /// # Errors
    /// [`ExtendError`].
    ///
    /// # Cancellation safety
    /// The upload takes effect or not, as a whole.
    pub async fn extend_chain(&self, caller: &Caller, body: ExtendChain) -> Result<ChainHead, ExtendError> {
        let (user, org) = caller
            .user()
            .zip(caller.principal.org())
            .ok_or(ExtendError::OtherUser)?;
        let known = self
            .store()
            .read(move |snapshot| whole_chain(snapshot, user))
            .await?;
        let max_devices = usize::try_from(self.0.config.max_devices).unwrap_or(usize::MAX);
        let extension = self
            .0
            .checks
            .run(move || verify(user, org, &known, body, max_devices))
            .await??;
        let context = caller.context;
        let record = self.record(caller, Act::ChainBegun, Subject::User(user));
        self.store()
            .write(move |tx| extension.take_effect(tx, &context, &record))
            .await
    }

    /// Records of a user's chain from the number `from` on; `None` when there is no chain.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn chain(&self, user: UserId, from: u32) -> Result<Option<ChainRecords>, StoreError> {
        self.store()
            .read(move |snapshot| {
                let Some(head) = snapshot.chain_head(user)? else {
                    return Ok(None);
                };
                let records = snapshot.chain_records(user, from, PAGE_RECORDS)?;
                let records = records.into_iter().map(Base64).collect();
                Ok(Some(ChainRecords {
                    records,
                    head: head_of(head),
                }))
            })
            .await
    }

    /// A user's wrapped identity key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recovery(&self, user: UserId) -> Result<Option<Recovery>, StoreError> {
        let wrapped = self.store().read(move |snapshot| snapshot.recovery(user)).await?;
        Ok(wrapped.map(|wrapped| Recovery {
            wrapped: Base64(wrapped),
        }))
    }
}

impl Extension {
    pub(crate) fn take_effect(
        self,
        tx: &mut Tx<'_>,
        context: &Context,
        base: &AuditRecord,
    ) -> Result<ChainHead, ExtendError> {
        let head = tx.chain_head(self.user)?;
        if head.map_or(0, |(version, _)| version.saturating_add(1)) != self.expected {
            return Err(ExtendError::Conflict(head.map(head_of)));
        }
        tx.extend_chain(
            self.user,
            self.org,
            self.expected,
            &self.records,
            &self.head.hash.0,
        )?;
        if let Some(wrapped) = &self.recovery {
            tx.keep_recovery(self.user, self.org, wrapped, context.now)?;
        }
        for change in &self.changes {
            self.apply(tx, change, context, base)?;
        }
        tx.emit(Event::ListChanged {
            user: self.user,
            version: self.head.version,
            head_hash: self.head.hash.0,
        });
        Ok(self.head)
    }

    fn apply(
        &self,
        tx: &mut Tx<'_>,
        change: &Change,
        context: &Context,
        base: &AuditRecord,
    ) -> Result<(), ExtendError> {
        let note = |tx: &mut Tx<'_>, act, subject, name: Option<&String>| {
            let details = Details {
                device_name: name.cloned(),
                ..base.details.clone()
            };
            append(
                tx,
                context,
                &AuditRecord {
                    act,
                    subject,
                    details,
                    ..base.clone()
                },
            )
        };
        match change {
            Change::Begun => note(tx, Act::ChainBegun, Subject::User(self.user), None)?,
            Change::Certified(id, name, certified) => {
                if tx.device(*id)?.is_some() {
                    return Err(ExtendError::DeviceTaken(*id));
                }
                tx.keep_device(&Device {
                    id: *id,
                    user: self.user,
                    org: self.org,
                    name: name.clone(),
                    certified: *certified,
                    created_at: context.now,
                    last_seen_at: None,
                    revoked_at: None,
                })?;
                tx.begin_cursors_at_head(*id, self.user)?;
                note(tx, Act::DeviceCertified, Subject::Device(*id), Some(name))?;
            }
            Change::Renewed(id, certified) => {
                tx.renew_device(*id, certified)?;
                note(tx, Act::CertificateRenewed, Subject::Device(*id), None)?;
            }
            Change::Revoked(id) => {
                // The one event below ends the connections of these sessions too: a `SessionEnded` would tell the device
                // to log in again, and whichever came first would be what it hears.
                for ended in tx.end_sessions_of(*id, context.now)? {
                    note(tx, Act::SessionEnded, Subject::Session(ended), None)?;
                }
                tx.revoke_device(*id, context.now)?;
                note(tx, Act::DeviceRevoked, Subject::Device(*id), None)?;
                tx.emit(Event::DeviceRevoked(*id));
            }
        }
        Ok(())
    }
}

pub(crate) fn whole_chain(
    snapshot: &unhidra_store::Snapshot<'_>,
    user: UserId,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let all = u32::try_from(MAX_CHAIN_RECORDS).unwrap_or(u32::MAX);
    snapshot.chain_records(user, 0, all)
}

/// Checks everything about an upload that its bytes and the known records show.
fn verify(
    user: UserId,
    org: OrgId,
    known: &[Vec<u8>],
    body: ExtendChain,
    max_devices: usize,
) -> Result<Extension, ExtendError> {
    let mut chain = if known.is_empty() {
        None
    } else {
        Some(Chain::restore(known)?)
    };
    let length = u32::try_from(known.len()).unwrap_or(u32::MAX);
    if length != body.expected {
        return Err(ExtendError::Conflict(chain.as_ref().map(head_of_chain)));
    }
    check_form(&body)?;
    let mut changes = Vec::new();
    for Base64(record) in &body.records {
        match &mut chain {
            None => {
                let begun = Chain::begin(record)?;
                if begun.user() != user {
                    return Err(ExtendError::OtherUser);
                }
                check_recovery(&begun, body.recovery.as_ref())?;
                changes.push(Change::Begun);
                chain = Some(begun);
            }
            Some(chain) => changes.push(append_record(chain, record, &body.proofs)?),
        }
    }
    let chain = chain.ok_or(ExtendError::Malformed)?;
    if chain
        .devices()
        .filter(|device| device.revoked_at().is_none())
        .count()
        > max_devices
    {
        return Err(ExtendError::TooMany);
    }
    Ok(Extension {
        user,
        org,
        expected: body.expected,
        head: head_of_chain(&chain),
        records: body.records.into_iter().map(|Base64(record)| record).collect(),
        changes,
        recovery: body.recovery.map(|Base64(wrapped)| wrapped),
    })
}

pub(crate) fn check_size(records: &[Base64], proofs: &[DeviceProof]) -> Result<(), ExtendError> {
    let page = usize::try_from(PAGE_RECORDS).unwrap_or(usize::MAX);
    let devices: BTreeSet<_> = proofs.iter().map(|proof| proof.device_id).collect();
    let is_form = (1..=page).contains(&records.len())
        && devices.len() == proofs.len()
        && proofs.len() <= records.len()
        && proofs.iter().all(|proof| is_name(&proof.name));
    if is_form {
        Ok(())
    } else {
        Err(ExtendError::Malformed)
    }
}

fn check_form(body: &ExtendChain) -> Result<(), ExtendError> {
    check_size(&body.records, &body.proofs)?;
    // A first upload is a genesis with its wrap and a certificate; later there is nothing to wrap.
    let first = body.expected == 0;
    if first != body.recovery.is_some() {
        return Err(ExtendError::Recovery);
    }
    if first && body.records.len() < 2 {
        Err(ExtendError::Malformed)
    } else {
        Ok(())
    }
}

pub(crate) fn check_recovery(chain: &Chain, wrapped: Option<&Base64>) -> Result<(), ExtendError> {
    let fits = wrapped.is_some_and(|Base64(wrapped)| {
        let expected = [&[RECOVERY_VERSION], chain.genesis().hash().as_slice()].concat();
        wrapped.len() == RECOVERY_BYTES && wrapped.starts_with(&expected)
    });
    if fits { Ok(()) } else { Err(ExtendError::Recovery) }
}

fn append_record(chain: &mut Chain, record: &[u8], proofs: &[DeviceProof]) -> Result<Change, ExtendError> {
    let known: BTreeSet<_> = chain
        .devices()
        .map(|device| device.certificate().subject().device)
        .collect();
    match chain.append(record).map_err(too_many)? {
        // A chain refuses a second genesis before this.
        Record::Genesis(_) => Err(ChainError::SecondGenesis.into()),
        Record::Revocation(revocation) => Ok(Change::Revoked(revocation.device())),
        Record::Certificate(certificate) => {
            let id = certificate.subject().device;
            if known.contains(&id) {
                return Ok(Change::Renewed(id, certified(&certificate)));
            }
            certify(&certificate, proofs)
        }
    }
}

fn too_many(error: ChainError) -> ExtendError {
    match error {
        ChainError::Full | ChainError::TooManyDevices => ExtendError::TooMany,
        other => ExtendError::Chain(other),
    }
}

pub(crate) fn head_of_chain(chain: &Chain) -> ChainHead {
    let head = chain.head();
    head_of((head.version.0, head.hash))
}

pub(crate) fn head_of((version, hash): (u32, [u8; 32])) -> ChainHead {
    ChainHead {
        version,
        hash: Base64Array(hash),
    }
}

fn is_name(name: &str) -> bool {
    let length = name.chars().count();
    (1..=MAX_NAME_CHARS).contains(&length) && name.chars().all(unhidra_types::text::is_plain)
}

#[cfg(test)]
mod tests {
    use unhidra_audit::{Actor, Details};
    use unhidra_runtime::Clock;
    use unhidra_store::{Store, account::Account, session::Session};
    use unhidra_types::{Role, SessionId, Timestamp};

    use super::*;

    const ORG: OrgId = OrgId::from_bytes([1; 16]);
    const USER: UserId = UserId::from_bytes([2; 16]);
    const DEVICE: DeviceId = DeviceId::from_bytes([3; 16]);
    const SESSION: SessionId = SessionId::from_bytes([4; 16]);

    fn begin(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), StoreError> {
        tx.found_organisation(ORG, now)?;
        tx.open_account(
            &Account {
                user: USER,
                org: ORG,
                username: "alice".parse().unwrap(),
                role: Role::Member,
                password: String::new(),
                disabled_at: None,
            },
            now,
        )?;
        tx.keep_device(&Device {
            id: DEVICE,
            user: USER,
            org: ORG,
            name: "laptop".into(),
            certified: Certified {
                capabilities: 0,
                dsk: [5; 32],
                certificate_hash: [6; 32],
                not_before: now,
                not_after: now,
            },
            created_at: now,
            last_seen_at: None,
            revoked_at: None,
        })?;
        tx.begin_session(&Session {
            id: SESSION,
            device: DEVICE,
            user: USER,
            org: ORG,
            created_at: now,
            refreshed_at: now,
            current_hash: [7; 32],
            previous_hash: None,
            current_token: vec![8],
            ended_at: None,
            restored_at: None,
        })
    }

    fn revocation() -> Extension {
        Extension {
            user: USER,
            org: ORG,
            expected: 0,
            records: vec![vec![9]],
            head: head_of((0, [10; 32])),
            changes: vec![Change::Revoked(DEVICE)],
            recovery: None,
        }
    }

    #[tokio::test]
    async fn a_revoked_device_hears_of_its_revocation_and_not_of_its_session() {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut feed) = Store::open(&folder.path().join("test.db"), 1).unwrap();
        let context = Clock::System.context();
        store.write(move |tx| begin(tx, context.now)).await.unwrap();
        let record = AuditRecord {
            at: context.now,
            org: Some(ORG),
            actor: Actor::User(USER),
            act: Act::ChainBegun,
            subject: Subject::User(USER),
            request: *context.request_id.as_bytes(),
            details: Details::default(),
        };
        let revoking = store.write(move |tx| revocation().take_effect(tx, &context, &record));
        revoking.await.unwrap();

        let ended = store.read(|db| db.session(SESSION)).await.unwrap().unwrap();
        assert_eq!(ended.ended_at, Some(context.now));
        let events = feed.recv().await.unwrap();
        assert!(
            matches!(
                events.as_slice(),
                [Event::DeviceRevoked(DEVICE), Event::ListChanged { .. }]
            ),
            "{events:?}"
        );
    }
}
