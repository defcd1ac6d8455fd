//! The chain: one genesis and everything its user identity key signed since, verified record by record.
//!
//! Verification depends on the bytes alone, never on the time: a chain that one party accepts, every party accepts.
//! Whether a device is live is a question asked of an accepted chain, with the time as argument.
//!
//! A chain cannot show that records are missing at its end. Whoever knows a newer [`ListHead`] asks
//! [`Chain::contains`]; whoever pinned an identity key compares it with [`Chain::uik`].

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::fmt;

use unhidra_crypto::{
    ed25519::{SignatureError, VerifyingKey},
    hash::sha256,
};
use unhidra_types::{
    DeviceId, Timestamp, UserId,
    limits::{MAX_CHAIN_RECORDS, MAX_LIVE_DEVICES},
};

use crate::{
    device::{Device, Liveness},
    identity::DeviceIdentity,
    record::{DeviceCertificate, Genesis, Position, Record, RecordError},
};

/// The number of a record; that of the last record is the version of the device list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListVersion(pub u32);

/// The last record of a chain: number and SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListHead {
    /// The number of the last record.
    pub version: ListVersion,
    /// The hash of the last record.
    pub hash: [u8; 32],
}

/// The verified records of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    genesis: Genesis,
    head: ListHead,
    /// Every record as it was signed, at the index that is its number. At most [`MAX_CHAIN_RECORDS`].
    records: Vec<Box<[u8]>>,
    devices: BTreeMap<DeviceId, Device>,
    /// Every DSK and DIK ever certified, and the one device it serves.
    keys: BTreeMap<[u8; 32], DeviceId>,
}

/// Why a record does not continue a chain. The chain is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The bytes are no record, or need a newer version.
    #[error(transparent)]
    Unreadable(#[from] RecordError),
    /// There is no record at all, or the first is not a genesis.
    #[error("chain does not begin with a genesis")]
    NoGenesis,
    /// A genesis in the middle: a new genesis is a new chain, which the user must accept.
    #[error("chain holds a second genesis")]
    SecondGenesis,
    /// The record is another user's.
    #[error("record belongs to another user")]
    OtherUser,
    /// The record has another number than the next: some are missing, or it is there already.
    #[error("record {found} stands where record {expected} belongs")]
    OutOfOrder {
        /// The number that comes next.
        expected: ListVersion,
        /// The number that the record has.
        found: ListVersion,
    },
    /// The record has the next number but follows another record: two devices appended at once, or someone equivocates.
    #[error("record follows another chain")]
    Forked,
    /// A signature does not hold.
    #[error("record is not signed by the user")]
    Forged,
    /// A renewal changes the device's kind or one of its keys.
    #[error("certificate changes the kind or the keys of {0}")]
    ChangedDevice(DeviceId),
    /// A key already serves another device.
    #[error("certificate takes a key of {0}")]
    KeyInUse(DeviceId),
    /// The device was revoked before; it never returns.
    #[error("{0} is revoked")]
    Revoked(DeviceId),
    /// A revocation names a device that was never certified.
    #[error("{0} was never certified")]
    UnknownDevice(DeviceId),
    /// [`MAX_CHAIN_RECORDS`] are there: the user goes on under a new genesis.
    #[error("chain is full")]
    Full,
    /// [`MAX_LIVE_DEVICES`] are certified and not revoked: the user revokes one first.
    #[error("user has too many devices")]
    TooManyDevices,
}

/// Whether signatures are checked: not when this program itself checked and stored the records before.
#[derive(Clone, Copy, PartialEq)]
enum Signatures {
    Check,
    CheckedBefore,
}

impl Chain {
    /// Begins with a genesis.
    ///
    /// # Errors
    /// [`ChainError::Unreadable`], [`ChainError::NoGenesis`], [`ChainError::Forged`].
    pub fn begin(genesis: &[u8]) -> Result<Self, ChainError> {
        Self::begin_with(genesis, Signatures::Check)
    }

    /// Verifies all records from the genesis on.
    ///
    /// # Errors
    /// Any [`ChainError`]: a chain is valid as a whole or not at all.
    pub fn verify<R: AsRef<[u8]>>(records: impl IntoIterator<Item = R>) -> Result<Self, ChainError> {
        Self::build(records, Signatures::Check)
    }

    /// Rebuilds a chain that this program verified and kept where nobody else writes. Signatures are not checked
    /// again, which is what verification costs; everything else is.
    ///
    /// # Errors
    /// Any [`ChainError`] but [`ChainError::Forged`]: the store is damaged.
    pub fn restore<R: AsRef<[u8]>>(records: impl IntoIterator<Item = R>) -> Result<Self, ChainError> {
        Self::build(records, Signatures::CheckedBefore)
    }

    /// Verifies the next record and takes it in. On error the chain is unchanged.
    ///
    /// # Errors
    /// Any [`ChainError`] but [`ChainError::NoGenesis`].
    pub fn append(&mut self, record: &[u8]) -> Result<Record, ChainError> {
        self.append_with(record, Signatures::Check)
    }

    /// The last record.
    #[must_use]
    pub const fn head(&self) -> ListHead {
        self.head
    }

    /// The user.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.genesis.user()
    }

    /// The user identity key.
    #[must_use]
    pub const fn uik(&self) -> &VerifyingKey {
        self.genesis.uik()
    }

    /// Record 0.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// A device that was ever certified.
    #[must_use]
    pub fn device(&self, device: DeviceId) -> Option<&Device> {
        self.devices.get(&device)
    }

    /// All that names a device that was ever certified.
    #[must_use]
    pub fn identity(&self, device: DeviceId) -> Option<DeviceIdentity> {
        self.device(device)
            .map(|device| device.certificate().identity(self.uik()))
    }

    /// Every device that was ever certified, by id.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// The devices that take part at `now`, by id; at most [`MAX_LIVE_DEVICES`].
    pub fn live_devices(&self, now: Timestamp) -> impl Iterator<Item = &Device> {
        self.devices()
            .filter(move |device| device.liveness(now).is_live())
    }

    /// Whether a device takes part at `now`, and if not, why.
    #[must_use]
    pub fn is_live(&self, device: DeviceId, now: Timestamp) -> Liveness {
        self.device(device)
            .map_or(Liveness::Unknown, |device| device.liveness(now))
    }

    /// All records as they were signed, from the genesis on.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.records.iter().map(AsRef::as_ref)
    }

    /// The records after `version`, as they were signed.
    pub fn records_after(&self, version: ListVersion) -> impl Iterator<Item = &[u8]> {
        let known = usize::try_from(version.0).map_or(usize::MAX, |version| version.saturating_add(1));
        self.records().skip(known)
    }

    /// Whether `head` is this chain's head or was once: false means that the two chains differ or that this one is
    /// behind.
    #[must_use]
    pub fn contains(&self, head: &ListHead) -> bool {
        usize::try_from(head.version.0)
            .ok()
            .and_then(|index| self.records.get(index))
            .is_some_and(|record| sha256(&[record]) == head.hash)
    }

    fn build<R: AsRef<[u8]>>(
        records: impl IntoIterator<Item = R>,
        signatures: Signatures,
    ) -> Result<Self, ChainError> {
        let mut records = records.into_iter();
        let genesis = records.next().ok_or(ChainError::NoGenesis)?;
        let mut chain = Self::begin_with(genesis.as_ref(), signatures)?;
        for record in records {
            chain.append_with(record.as_ref(), signatures)?;
        }
        Ok(chain)
    }

    fn begin_with(bytes: &[u8], signatures: Signatures) -> Result<Self, ChainError> {
        let Record::Genesis(genesis) = Record::parse(bytes)? else {
            return Err(ChainError::NoGenesis);
        };
        if signatures == Signatures::Check {
            genesis.verify()?;
        }
        Ok(Self {
            head: ListHead {
                version: ListVersion(0),
                hash: genesis.hash(),
            },
            genesis,
            records: Vec::from([bytes.into()]),
            devices: BTreeMap::new(),
            keys: BTreeMap::new(),
        })
    }

    fn append_with(&mut self, bytes: &[u8], signatures: Signatures) -> Result<Record, ChainError> {
        if self.records.len() >= MAX_CHAIN_RECORDS {
            return Err(ChainError::Full);
        }
        let record = Record::parse(bytes)?;
        self.check_place(&record)?;
        if signatures == Signatures::Check {
            record.verify(self.uik())?;
        }
        self.check_rules(&record)?;
        self.take_in(&record);
        self.head = ListHead {
            version: self.head.next().seq,
            hash: record.hash(),
        };
        self.records.push(bytes.into());
        Ok(record)
    }

    fn check_place(&self, record: &Record) -> Result<(), ChainError> {
        let position = record.position().ok_or(ChainError::SecondGenesis)?;
        let next = self.head.next();
        if record.user() != self.user() {
            Err(ChainError::OtherUser)
        } else if position.seq != next.seq {
            Err(ChainError::OutOfOrder {
                expected: next.seq,
                found: position.seq,
            })
        } else if position.previous != next.previous {
            Err(ChainError::Forked)
        } else {
            Ok(())
        }
    }

    fn check_rules(&self, record: &Record) -> Result<(), ChainError> {
        match record {
            Record::Genesis(_) => Err(ChainError::SecondGenesis),
            Record::Certificate(certificate) => self.check_certificate(certificate),
            Record::Revocation(revocation) => {
                let id = revocation.device();
                let device = self.device(id).ok_or(ChainError::UnknownDevice(id))?;
                match device.revoked_at() {
                    Some(_) => Err(ChainError::Revoked(id)),
                    None => Ok(()),
                }
            }
        }
    }

    fn check_certificate(&self, certificate: &DeviceCertificate) -> Result<(), ChainError> {
        let subject = certificate.subject();
        if let Some(device) = self.device(subject.device) {
            let known = device.certificate().subject();
            return if device.revoked_at().is_some() {
                Err(ChainError::Revoked(subject.device))
            } else if (known.kind, known.dsk, known.dik) != (subject.kind, subject.dsk, subject.dik) {
                Err(ChainError::ChangedDevice(subject.device))
            } else {
                Ok(())
            };
        }
        for key in [subject.dsk.as_bytes(), subject.dik.as_bytes()] {
            if let Some(holder) = self.keys.get(key) {
                return Err(ChainError::KeyInUse(*holder));
            }
        }
        // Counting devices that are out of date as well keeps the verdict independent of the time,
        // and bounds the live ones at every time.
        let unrevoked = self
            .devices()
            .filter(|device| device.revoked_at().is_none())
            .count();
        if unrevoked >= MAX_LIVE_DEVICES {
            return Err(ChainError::TooManyDevices);
        }
        Ok(())
    }

    /// Applies a record that passed every check.
    fn take_in(&mut self, record: &Record) {
        match record {
            Record::Genesis(_) => {}
            Record::Certificate(certificate) => {
                let subject = certificate.subject();
                self.keys.insert(*subject.dsk.as_bytes(), subject.device);
                self.keys.insert(*subject.dik.as_bytes(), subject.device);
                self.devices
                    .entry(subject.device)
                    .and_modify(|device| device.renew(certificate.clone()))
                    .or_insert_with(|| Device::new(certificate.clone()));
            }
            Record::Revocation(revocation) => {
                if let Some(device) = self.devices.get_mut(&revocation.device()) {
                    device.revoke(revocation.time());
                }
            }
        }
    }
}

impl ListHead {
    /// The place of the record that comes next.
    #[must_use]
    pub const fn next(&self) -> Position {
        Position {
            seq: ListVersion(self.version.0.saturating_add(1)),
            previous: self.hash,
        }
    }
}

impl fmt::Display for ListVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<SignatureError> for ChainError {
    fn from(_: SignatureError) -> Self {
        Self::Forged
    }
}
