//! The prekey directory: what devices leave here so that others can begin sessions while they are away.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use unhidra_audit::{Act, Subject};
use unhidra_chain::{
    Capabilities,
    prekey::{Generation, KemKind, KemPrekey, OneTimePrekey, PrekeyId, PrekeyOwner, SignedPrekey},
};
use unhidra_crypto::{ed25519::VerifyingKey, kem, x25519};
use unhidra_runtime::Overloaded;
use unhidra_store::{
    Snapshot, StoreError, Tx,
    device::Device,
    prekey::{Dated, OneTime, OneTimeKind, PrekeySet},
};
use unhidra_types::{
    DeviceId, Timestamp, UserId,
    limits::{CERTIFICATE_TOLERANCE, MAX_LIVE_DEVICES, ONE_TIME_KEM_PREKEYS, ONE_TIME_PREKEYS},
};
use unhidra_wire::{
    base64::Base64,
    rest::{self, Bundles, Stock, TakeBundles, UploadPrekeys},
};

use crate::{Caller, Identity, append, session::is_live};

/// Bundles with one-time keys that one user may take of one device in an hour; further ones come without.
pub const ONE_TIME_BUNDLES_PER_HOUR: u32 = 5;
/// How far ahead a signed prekey may end. The device's clock may be wrong by [`CERTIFICATE_TOLERANCE`] on top of it.
pub const MAX_LIFETIME: Duration = Duration::from_secs(14 * 86_400);
/// The highest number of a set that the database can hold.
const MAX_GENERATION: u64 = i64::MAX.cast_unsigned();
/// `opk_id` and `OPK` of a bundle without a one-time key.
const NO_ONE_TIME: [u8; OneTimePrekey::BYTES] = [0; OneTimePrekey::BYTES];

/// Why prekeys were not kept or bundles not given.
#[derive(Debug, thiserror::Error)]
pub enum PrekeyError {
    /// A key, signature, date, number or certificate hash does not hold, or the generation is lower.
    #[error("prekeys do not hold")]
    Refused,
    /// More keys or devices than allowed.
    #[error("too many keys or devices")]
    TooMany,
    /// Too many uploads wait to be verified.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An upload that was verified.
struct Upload {
    set: PrekeySet,
    one_time: Vec<OneTime>,
}

impl Identity {
    /// Adds one-time prekeys of the caller's device, or replaces its whole set under a higher generation.
    ///
    /// # Errors
    /// [`PrekeyError`].
    ///
    /// # Cancellation safety
    /// The upload takes effect or not, as a whole.
    pub async fn upload_prekeys(
        &self,
        caller: &Caller,
        device: DeviceId,
        body: UploadPrekeys,
    ) -> Result<Stock, PrekeyError> {
        let context = caller.context;
        let found = self.store().read(move |snapshot| snapshot.device(device)).await?;
        let found = found
            .filter(|found| is_live(found, context.now))
            .ok_or(PrekeyError::Refused)?;
        let org = found.org;
        let checked = self.0.checks.run(move || verify(&found, body, context.now));
        let Upload { set, one_time } = checked.await??;
        let record = self.record(caller, Act::PrekeysReplaced, Subject::Device(device));
        let mut added = self.record(caller, Act::PrekeysAdded, Subject::Device(device));
        added.details.count = u64::try_from(one_time.len()).ok();
        let keeping = self.store().write(move |tx| {
            // The certificate is looked up again: the upload was checked against it outside of this transaction.
            let current = tx.device(device)?.filter(|current| current.revoked_at.is_none());
            if current.is_none_or(|current| current.certified.certificate_hash != set.certificate_hash) {
                return Err(PrekeyError::Refused);
            }
            let before = tx.prekey_set(device)?.map_or(0, |before| before.generation);
            if set.generation < before {
                return Err(PrekeyError::Refused);
            }
            tx.keep_prekey_set(device, org, &set)?;
            if set.generation > before {
                tx.forget_one_time_prekeys(device)?;
                append(tx, &context, &record)?;
            }
            if !tx.stock_prekeys(device, &one_time)? {
                return Err(PrekeyError::Refused);
            }
            if !one_time.is_empty() {
                append(tx, &context, &added)?;
            }
            let stock = stock(tx, device, context.now)?;
            if stock.one_time.len() > ONE_TIME_PREKEYS || stock.one_time_kem.len() > ONE_TIME_KEM_PREKEYS {
                return Err(PrekeyError::TooMany);
            }
            Ok(stock)
        });
        keeping.await
    }

    /// What is left of a device's prekeys.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn prekey_stock(&self, device: DeviceId, now: Timestamp) -> Result<Stock, StoreError> {
        self.store()
            .read(move |snapshot| stock(snapshot, device, now))
            .await
    }

    /// Takes one bundle of each named device of a user; one-time keys are gone then.
    ///
    /// # Errors
    /// [`PrekeyError::TooMany`] for more than 32 devices, [`PrekeyError::Store`].
    ///
    /// # Cancellation safety
    /// Dropped, the keys may be spent.
    pub async fn take_bundles(
        &self,
        caller: &Caller,
        user: UserId,
        body: TakeBundles,
    ) -> Result<Bundles, PrekeyError> {
        let devices: BTreeSet<_> = body.devices.into_iter().collect();
        if devices.len() > MAX_LIVE_DEVICES {
            return Err(PrekeyError::TooMany);
        }
        let (requester, context, now) = (caller.user().unwrap_or(user), caller.context, caller.context.now);
        let mut taken = self.record(caller, Act::BundlesTaken, Subject::User(user));
        self.store()
            .write(move |tx| {
                let mut bundles = BTreeMap::new();
                for device in devices {
                    let found = tx
                        .device(device)?
                        .filter(|found| found.user == user && found.revoked_at.is_none());
                    if found.is_some()
                        && let Some(bundle) = take_bundle(tx, requester, device, now)?
                    {
                        bundles.insert(device, Base64(bundle));
                    }
                }
                if !bundles.is_empty() {
                    taken.details.count = u64::try_from(bundles.len()).ok();
                    append(tx, &context, &taken)?;
                }
                Ok(Bundles { bundles })
            })
            .await
    }
}

/// What is left of a device's prekeys, for who looks for other things as well.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub fn stock(snapshot: &Snapshot<'_>, device: DeviceId, now: Timestamp) -> Result<Stock, StoreError> {
    Ok(Stock {
        generation: snapshot.prekey_set(device)?.map_or(0, |set| set.generation),
        one_time: snapshot.one_time_prekeys(device, OneTimeKind::Curve, now)?,
        one_time_kem: snapshot.one_time_prekeys(device, OneTimeKind::Kem, now)?,
    })
}

/// `device_id(16) cert_hash(32) generation(8) | signed(108) | KEM(1261) | one-time(36)`, the KEM key only if there are any.
fn take_bundle(
    tx: &mut Tx<'_>,
    requester: UserId,
    device: DeviceId,
    now: Timestamp,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(set) = tx.prekey_set(device)?.filter(|set| set.signed.not_after > now) else {
        return Ok(None);
    };
    let within_quota = tx.count_bundle(requester, device, ONE_TIME_BUNDLES_PER_HOUR, now)?;
    let mut take = |kind| {
        if within_quota {
            tx.take_one_time_prekey(device, kind, now)
        } else {
            Ok(None)
        }
    };
    let one_time = take(OneTimeKind::Curve)?;
    let kem = match set.last_resort {
        None => Vec::new(),
        Some(last_resort) => match take(OneTimeKind::Kem)? {
            Some(kem) => kem,
            None if last_resort.not_after > now => last_resort.prekey,
            None => return Ok(None),
        },
    };
    let parts: [&[u8]; 6] = [
        device.as_bytes(),
        &set.certificate_hash,
        &set.generation.to_be_bytes(),
        &set.signed.prekey,
        &kem,
        one_time.as_deref().unwrap_or(&NO_ONE_TIME),
    ];
    Ok(Some(parts.concat()))
}

/// Checks every key of an upload as its users will.
fn verify(device: &Device, body: UploadPrekeys, now: Timestamp) -> Result<Upload, PrekeyError> {
    let certified = &device.certified;
    let pq = Capabilities::from_bits(certified.capabilities).contains(Capabilities::PQ);
    let fits_capabilities = pq == body.last_resort.is_some() && (pq || body.one_time_kem.is_empty());
    let is_number = (1..=MAX_GENERATION).contains(&body.generation);
    if !is_number || body.cert_hash.0 != certified.certificate_hash || !fits_capabilities {
        return Err(PrekeyError::Refused);
    }
    if body.one_time.len() > ONE_TIME_PREKEYS || body.one_time_kem.len() > ONE_TIME_KEM_PREKEYS {
        return Err(PrekeyError::TooMany);
    }
    let dsk = VerifyingKey::from_bytes(&certified.dsk).map_err(|_| PrekeyError::Refused)?;
    let owner = PrekeyOwner {
        user: device.user,
        device: device.id,
        generation: Generation(body.generation),
    };
    let check = Check { dsk, owner, now };
    let mut one_time = Vec::with_capacity(body.one_time.len() + body.one_time_kem.len());
    for key in &body.one_time {
        one_time.push(curve_key(key)?);
    }
    for key in &body.one_time_kem {
        let Dated { prekey, not_after } = check.kem(key, KemKind::OneTime)?;
        one_time.push(OneTime {
            kind: OneTimeKind::Kem,
            id: key.id,
            not_after: Some(not_after),
            prekey,
        });
    }
    let named = one_time.iter().map(|key| key.id).chain([body.signed.id]);
    let ids: Vec<_> = named.chain(body.last_resort.iter().map(|key| key.id)).collect();
    if ids.iter().collect::<BTreeSet<_>>().len() != ids.len() {
        return Err(PrekeyError::Refused);
    }
    let last_resort = body
        .last_resort
        .as_ref()
        .map(|key| check.kem(key, KemKind::LastResort))
        .transpose()?;
    let set = PrekeySet {
        generation: body.generation,
        certificate_hash: body.cert_hash.0,
        signed: check.signed(&body.signed)?,
        last_resort,
    };
    Ok(Upload { set, one_time })
}

/// What every signed prekey of an upload is checked against.
struct Check {
    dsk: VerifyingKey,
    owner: PrekeyOwner,
    now: Timestamp,
}

impl Check {
    fn signed(&self, key: &rest::SignedPrekey) -> Result<Dated, PrekeyError> {
        let public = key
            .public
            .0
            .as_slice()
            .try_into()
            .map_err(|_| PrekeyError::Refused)?;
        let prekey = SignedPrekey {
            id: PrekeyId::new(key.id).ok_or(PrekeyError::Refused)?,
            not_after: key.not_after,
            public: x25519::PublicKey::from_bytes(&public).map_err(|_| PrekeyError::Refused)?,
            signature: key.signature.0,
        };
        prekey
            .verify(&self.dsk, &self.owner)
            .map_err(|_| PrekeyError::Refused)?;
        self.dated(prekey.to_bytes().to_vec(), key.not_after)
    }

    fn kem(&self, key: &rest::SignedPrekey, kind: KemKind) -> Result<Dated, PrekeyError> {
        let public = key
            .public
            .0
            .as_slice()
            .try_into()
            .map_err(|_| PrekeyError::Refused)?;
        let prekey = KemPrekey {
            kind,
            id: PrekeyId::new(key.id).ok_or(PrekeyError::Refused)?,
            not_after: key.not_after,
            public: kem::EncapsulationKey::from_bytes(&public).map_err(|_| PrekeyError::Refused)?,
            signature: key.signature.0,
        };
        prekey
            .verify(&self.dsk, &self.owner)
            .map_err(|_| PrekeyError::Refused)?;
        self.dated(prekey.to_bytes().to_vec(), key.not_after)
    }

    fn dated(&self, prekey: Vec<u8>, not_after: Timestamp) -> Result<Dated, PrekeyError> {
        let latest = self
            .now
            .saturating_add(MAX_LIFETIME)
            .saturating_add(CERTIFICATE_TOLERANCE);
        if not_after > self.now && not_after <= latest {
            Ok(Dated { prekey, not_after })
        } else {
            Err(PrekeyError::Refused)
        }
    }
}

fn curve_key(key: &rest::OneTimePrekey) -> Result<OneTime, PrekeyError> {
    let prekey = OneTimePrekey {
        id: PrekeyId::new(key.id).ok_or(PrekeyError::Refused)?,
        public: x25519::PublicKey::from_bytes(&key.public.0).map_err(|_| PrekeyError::Refused)?,
    };
    Ok(OneTime {
        kind: OneTimeKind::Curve,
        id: key.id,
        not_after: None,
        prekey: prekey.to_bytes().to_vec(),
    })
}
