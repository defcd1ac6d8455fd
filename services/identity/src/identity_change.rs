//! Replacing an identity: a rotation, which the current identity key signs, or a reset, for which a password is enough.
//!
//! Both begin another chain and put the current one away, where it stays as evidence; no genesis returns. A rotation
//! carries devices over under the keys that they have, a reset carries none: whatever the new chain does not name is
//! revoked with its sessions and connections, in the same transaction. Contacts decide for themselves whom they believe.

use std::{collections::BTreeSet, time::Duration};

use unhidra_audit::{Act, Subject};
use unhidra_chain::{Capabilities, Chain, ChainError, Device, DeviceCertificate};
use unhidra_runtime::Overloaded;
use unhidra_store::{StoreError, former_chain::ReplacedBy};
use unhidra_types::{DeviceId, OrgId, Timestamp, UserId};
use unhidra_wire::{
    base64::Base64,
    rest::{ChainHead, ReplaceIdentity, ReplaceRecovery},
};

use crate::{
    Caller, Identity, append,
    device_chain::{Change, ExtendError, Extension, certify, head_of, head_of_chain, whole_chain},
    session::is_live,
};

/// The time in which identity changes are counted.
pub const CHANGE_WINDOW: Duration = Duration::from_secs(86_400);
/// Resets of one account within [`CHANGE_WINDOW`]; more are refused.
pub const MAX_RESETS: u32 = 1;
/// Rotations of one account within [`CHANGE_WINDOW`]; more are refused.
pub const MAX_ROTATIONS: u32 = 8;

/// Why an identity was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The new chain, a proof or the recovery wrap does not hold, or the chain has changed.
    #[error(transparent)]
    Chain(#[from] ExtendError),
    /// There is nothing to replace: the account has no chain yet.
    #[error("account has no chain")]
    NoChain,
    /// The new genesis is not signed by the current identity key, or in a reset names a key before it.
    #[error("genesis does not follow the current identity as it must")]
    Unvouched,
    /// The new genesis began a chain of this account before.
    #[error("genesis was used before")]
    UsedBefore,
    /// It was done as often as allowed; how long until it may be done again.
    #[error("identity was changed too lately")]
    TooSoon(Duration),
    /// The device's newest certificate does not say `certify`.
    #[error("device does not certify")]
    NotACertifier,
}

/// A replacement that was verified.
struct Replacement {
    replaces: ChainHead,
    former_genesis: [u8; 32],
    genesis: [u8; 32],
    extension: Extension,
}

impl Identity {
    /// Replaces the caller's identity by one that the current identity key has signed.
    ///
    /// # Errors
    /// [`ReplaceError`].
    ///
    /// # Cancellation safety
    /// It takes effect or not, as a whole.
    pub async fn rotate_identity(
        &self,
        caller: &Caller,
        body: ReplaceIdentity,
    ) -> Result<ChainHead, ReplaceError> {
        self.replace_identity(caller, body, ReplacedBy::Rotation).await
    }

    /// Replaces the caller's identity by one that nothing vouches for, and revokes every device of the account.
    ///
    /// # Errors
    /// [`ReplaceError`].
    ///
    /// # Cancellation safety
    /// It takes effect or not, as a whole.
    pub async fn reset_identity(
        &self,
        caller: &Caller,
        body: ReplaceIdentity,
    ) -> Result<ChainHead, ReplaceError> {
        self.replace_identity(caller, body, ReplacedBy::Reset).await
    }

    /// Replaces the caller's wrapped identity key by the same key under another recovery key.
    ///
    /// # Errors
    /// [`ReplaceError`].
    ///
    /// # Cancellation safety
    /// It takes effect or not.
    pub async fn replace_recovery(&self, caller: &Caller, body: ReplaceRecovery) -> Result<(), ReplaceError> {
        let (user, org) = owner(caller)?;
        let unhidra_policy::Principal::Device { device, .. } = caller.principal else {
            return Err(ReplaceError::NotACertifier);
        };
        let (context, Base64(wrapped)) = (caller.context, body.wrapped);
        let record = self.record(caller, Act::RecoveryReplaced, Subject::User(user));
        self.store()
            .write(move |tx| {
                let found = tx.device(device)?.filter(|found| is_live(found, context.now));
                let certifies = found.is_some_and(|found| {
                    Capabilities::from_bits(found.certified.capabilities).contains(Capabilities::CERTIFY)
                });
                if !certifies {
                    return Err(ReplaceError::NotACertifier);
                }
                let records = tx.chain_records(user, 0, 1)?;
                let genesis = records.first().ok_or(ReplaceError::NoChain)?;
                let chain = Chain::restore([genesis]).map_err(ExtendError::from)?;
                crate::device_chain::check_recovery(&chain, Some(&Base64(wrapped.clone())))?;
                tx.keep_recovery(user, org, &wrapped, context.now)?;
                Ok(append(tx, &context, &record)?)
            })
            .await
    }

    async fn replace_identity(
        &self,
        caller: &Caller,
        body: ReplaceIdentity,
        by: ReplacedBy,
    ) -> Result<ChainHead, ReplaceError> {
        let (user, org) = owner(caller)?;
        let context = caller.context;
        let since = context.now.saturating_sub(CHANGE_WINDOW);
        let (known, lately) = self
            .store()
            .read(move |snapshot| {
                let lately = snapshot.replacements(user, by, since, MAX_ROTATIONS)?;
                Ok::<_, StoreError>((whole_chain(snapshot, user)?, lately))
            })
            .await?;
        check_pace(by, &lately, context.now)?;
        let max_devices = usize::try_from(self.0.config.max_devices).unwrap_or(usize::MAX);
        let replacement = self
            .0
            .checks
            .run(move || verify(user, org, &known, body, by, max_devices))
            .await??;
        let act = match by {
            ReplacedBy::Rotation => Act::IdentityRotated,
            ReplacedBy::Reset => Act::ChainReset,
        };
        let record = self.record(caller, act, Subject::User(user));
        self.store()
            .write(move |tx| {
                let head = tx.chain_head(user)?.map(head_of);
                if head != Some(replacement.replaces) {
                    return Err(ExtendError::Conflict(head).into());
                }
                let genesis = replacement.genesis;
                if genesis == replacement.former_genesis || tx.is_former_genesis(user, &genesis)? {
                    return Err(ReplaceError::UsedBefore);
                }
                // Looked up again: two may have asked at once.
                check_pace(by, &tx.replacements(user, by, since, MAX_ROTATIONS)?, context.now)?;
                append(tx, &context, &record)?;
                tx.retire_chain(user, org, &replacement.former_genesis, by, context.now)?;
                Ok(replacement.extension.take_effect(tx, &context, &record)?)
            })
            .await
    }
}

fn owner(caller: &Caller) -> Result<(UserId, OrgId), ExtendError> {
    caller
        .user()
        .zip(caller.principal.org())
        .ok_or(ExtendError::OtherUser)
}

/// `lately` has the times of earlier changes within the window, newest first.
fn check_pace(by: ReplacedBy, lately: &[Timestamp], now: Timestamp) -> Result<(), ReplaceError> {
    let limit = match by {
        ReplacedBy::Rotation => MAX_ROTATIONS,
        ReplacedBy::Reset => MAX_RESETS,
    };
    let counted = usize::try_from(limit).unwrap_or(usize::MAX);
    match counted.checked_sub(1).and_then(|last| lately.get(last)) {
        Some(oldest) => {
            let again = CHANGE_WINDOW.saturating_sub(now.since(*oldest));
            Err(ReplaceError::TooSoon(again.max(Duration::from_secs(1))))
        }
        None => Ok(()),
    }
}

/// Checks everything about a replacement that its bytes and the known records show.
fn verify(
    user: UserId,
    org: OrgId,
    known: &[Vec<u8>],
    body: ReplaceIdentity,
    by: ReplacedBy,
    max_devices: usize,
) -> Result<Replacement, ReplaceError> {
    if known.is_empty() {
        return Err(ReplaceError::NoChain);
    }
    let former = Chain::restore(known).map_err(ExtendError::from)?;
    if head_of_chain(&former) != body.replaces {
        return Err(ExtendError::Conflict(Some(head_of_chain(&former))).into());
    }
    crate::device_chain::check_size(&body.records, &body.proofs)?;
    let records: Vec<Vec<u8>> = body.records.into_iter().map(|Base64(record)| record).collect();
    let chain = Chain::verify(&records).map_err(ExtendError::from)?;
    if chain.user() != user {
        return Err(ExtendError::OtherUser.into());
    }
    let vouched = match by {
        ReplacedBy::Rotation => chain.genesis().previous_uik() == Some(former.uik()),
        ReplacedBy::Reset => chain.genesis().previous_uik().is_none() && chain.uik() != former.uik(),
    };
    if !vouched {
        return Err(ReplaceError::Unvouched);
    }
    crate::device_chain::check_recovery(&chain, Some(&body.recovery))?;
    let named: Vec<&Device> = chain.devices().collect();
    if named.is_empty() || named.iter().any(|device| device.revoked_at().is_some()) {
        return Err(ExtendError::Malformed.into());
    }
    if named.len() > max_devices {
        return Err(ExtendError::TooMany.into());
    }
    let mut changes = Vec::new();
    for device in &named {
        changes.push(carry(&former, device.certificate(), by, &body.proofs)?);
    }
    let kept: BTreeSet<DeviceId> = named.iter().map(|device| id_of(device)).collect();
    let dropped = former
        .devices()
        .filter(|device| device.revoked_at().is_none() && !kept.contains(&id_of(device)));
    changes.extend(dropped.map(|device| Change::Revoked(id_of(device))));
    Ok(Replacement {
        replaces: body.replaces,
        former_genesis: former.genesis().hash(),
        genesis: chain.genesis().hash(),
        extension: Extension {
            user,
            org,
            expected: 0,
            head: head_of_chain(&chain),
            records,
            changes,
            recovery: Some(body.recovery.0),
        },
    })
}

/// A device of the new chain: carried over under the keys that it has, or new and proved.
fn carry(
    former: &Chain,
    certificate: &DeviceCertificate,
    by: ReplacedBy,
    proofs: &[unhidra_wire::rest::DeviceProof],
) -> Result<Change, ReplaceError> {
    let subject = certificate.subject();
    let Some(known) = former.device(subject.device) else {
        let taken = former.devices().find(|device| {
            let known = device.certificate().subject();
            known.dsk == subject.dsk || known.dik == subject.dik
        });
        if let Some(holder) = taken {
            return Err(ExtendError::from(ChainError::KeyInUse(id_of(holder))).into());
        }
        return Ok(certify(certificate, proofs)?);
    };
    let before = known.certificate().subject();
    if by == ReplacedBy::Reset || known.revoked_at().is_some() {
        return Err(ExtendError::from(ChainError::Revoked(subject.device)).into());
    }
    if (before.kind, before.dsk, before.dik) != (subject.kind, subject.dsk, subject.dik) {
        return Err(ExtendError::from(ChainError::ChangedDevice(subject.device)).into());
    }
    Ok(Change::Renewed(
        subject.device,
        crate::device_chain::certified(certificate),
    ))
}

fn id_of(device: &Device) -> DeviceId {
    device.certificate().subject().device
}

impl From<StoreError> for ReplaceError {
    fn from(error: StoreError) -> Self {
        Self::Chain(error.into())
    }
}

impl From<Overloaded> for ReplaceError {
    fn from(error: Overloaded) -> Self {
        Self::Chain(error.into())
    }
}
