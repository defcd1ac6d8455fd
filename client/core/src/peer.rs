//! What is known of a user: the pinned identity key, the verified chain, and whether messages may go there.

use std::collections::VecDeque;

use unhidra_chain::{
    Chain, Genesis, ListHead, ListVersion,
    codec::{Malformed, Reader},
};
use unhidra_pair::Address;
use unhidra_types::{Timestamp, UserId};

use crate::{
    record::{Record, key, read_bytes, read_option, write_bytes, write_option},
    store::{StoreError, Table, Transaction},
};

/// The user has compared the safety number.
const VERIFIED: u8 = 1;
/// The record says which genesis it belongs to.
const WITH_GENESIS: u8 = 2;

/// One user, as this device knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The first identity key (UIK) seen, or the one that was accepted since.
    pub(crate) pin: [u8; 32],
    /// The last record of the chain held; none while only the pin is known.
    pub(crate) head: Option<ListHead>,
    /// The highest list version that a device of this user named (`required_seq`).
    pub(crate) required: ListVersion,
    /// Another identity that the server shows: nothing is sent until it is accepted.
    pub(crate) changed: Option<Identity>,
    /// The user has compared the safety number of the pinned key.
    pub(crate) verified: bool,
    /// SHA-256 of the genesis that the pin and all numbers here belong to; absent only from what older versions stored.
    pub(crate) genesis: Option<[u8; 32]>,
    /// When this genesis took the place of another one, by this device's clock; the epoch when it did not.
    pub(crate) since: Timestamp,
}

/// An identity key with the genesis that names it: a key may begin more than one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uik: [u8; 32],
    pub(crate) genesis: [u8; 32],
}

impl Identity {
    pub(crate) fn of(genesis: &Genesis) -> Self {
        Self {
            uik: *genesis.uik().as_bytes(),
            genesis: genesis.hash(),
        }
    }
}

impl Peer {
    pub(crate) const fn pinned(identity: Identity) -> Self {
        Self {
            pin: identity.uik,
            head: None,
            required: ListVersion(0),
            changed: None,
            verified: false,
            genesis: Some(identity.genesis),
            since: Timestamp::EPOCH,
        }
    }

    /// Whether the chain held is the one to seal for.
    pub(crate) fn may_seal(&self) -> bool {
        self.changed.is_none() && self.head.is_some_and(|head| head.version >= self.required)
    }
}

impl Record for Peer {
    const TABLE: Table = Table::Peers;

    /// `pin(32) head?(1 | version(4) hash(32)) required(4) changed?(1 | UIK(32)) flags(1)`, then, with flag 2,
    /// `genesis?(1 | 32) since(8) changed genesis?(1 | 32)`. Flag 1 is `verified`; flag 2 is always set by this version.
    /// What an older version stored without the genesis of a change shows the change anew.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.pin);
        out.push(u8::from(self.head.is_some()));
        if let Some(head) = self.head {
            out.extend(head.version.0.to_be_bytes());
            out.extend(head.hash);
        }
        out.extend(self.required.0.to_be_bytes());
        write_option(out, self.changed.as_ref().map(|changed| &changed.uik));
        out.push(u8::from(self.verified) | WITH_GENESIS);
        write_option(out, self.genesis.as_ref());
        out.extend(self.since.as_millis().to_be_bytes());
        write_option(out, self.changed.as_ref().map(|changed| &changed.genesis));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let pin = reader.array()?;
        let head = match reader.u8()? {
            0 => None,
            1 => Some(ListHead {
                version: ListVersion(reader.u32()?),
                hash: reader.array()?,
            }),
            _ => return Err(Malformed),
        };
        let required = ListVersion(reader.u32()?);
        let changed: Option<[u8; 32]> = read_option(reader)?;
        let flags = reader.u8()?;
        if flags > (VERIFIED | WITH_GENESIS) {
            return Err(Malformed);
        }
        let (mut genesis, mut since, mut changed_genesis) = (None, Timestamp::EPOCH, None);
        if flags & WITH_GENESIS != 0 {
            genesis = read_option(reader)?;
            since = Timestamp::from_millis(reader.u64()?);
            changed_genesis = read_option(reader)?;
        }
        Ok(Self {
            pin,
            head,
            required,
            changed: changed
                .zip(changed_genesis)
                .map(|(uik, genesis)| Identity { uik, genesis }),
            verified: flags & VERIFIED != 0,
            genesis,
            since,
        })
    }
}

/// Genesis hashes that a user's own signature has put out of use: none of them is ever believed again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retired(pub(crate) VecDeque<[u8; 32]>);

impl Retired {
    /// Hashes kept for a user; the oldest go first. Whoever rotates so often harms nobody else.
    const MAX: usize = 64;

    pub(crate) fn of(tx: &mut dyn Transaction, user: UserId) -> Result<Self, StoreError> {
        Self::load(tx, user.as_bytes()).map(Option::unwrap_or_default)
    }

    pub(crate) fn add(tx: &mut dyn Transaction, user: UserId, genesis: [u8; 32]) -> Result<(), StoreError> {
        let mut retired = Self::of(tx, user)?;
        retired.0.push_back(genesis);
        while retired.0.len() > Self::MAX {
            retired.0.pop_front();
        }
        retired.save(tx, user.as_bytes())
    }
}

impl Record for Retired {
    const TABLE: Table = Table::RetiredIdentities;

    /// `count(1) genesis hash(32) each`.
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        out.extend(self.0.iter().flatten());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        (0..reader.u8()?)
            .map(|_| reader.array())
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A verified chain as its records.
pub(crate) struct StoredChain(pub(crate) Vec<Vec<u8>>);

impl StoredChain {
    pub(crate) fn put(tx: &mut dyn Transaction, chain: &Chain) -> Result<(), StoreError> {
        Self(chain.records().map(<[u8]>::to_vec).collect()).save(tx, chain.user().as_bytes())
    }

    pub(crate) fn restore(tx: &mut dyn Transaction, user: UserId) -> Result<Option<Chain>, StoreError> {
        let Some(Self(records)) = Self::load(tx, user.as_bytes())? else {
            return Ok(None);
        };
        Chain::restore(records)
            .map(Some)
            .map_err(|_unlike_when_verified| StoreError::Damaged(Self::TABLE))
    }
}

impl Record for StoredChain {
    const TABLE: Table = Table::Chains;

    fn write(&self, out: &mut Vec<u8>) {
        for record in &self.0 {
            out.push(1);
            write_bytes(out, record);
        }
        out.push(0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut records = Vec::new();
        while reader.u8()? == 1 {
            records.push(read_bytes(reader)?.to_vec());
        }
        Ok(Self(records))
    }
}

/// What is known of another device, besides its sessions and certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerDevice {
    /// The highest prekey generation seen.
    pub(crate) generation: u64,
    /// Bundles in a row that were missing or bad.
    pub(crate) failures: u8,
    /// When the last of them was.
    pub(crate) failed_at: Timestamp,
}

impl PeerDevice {
    /// A missing or bad bundle is fetched once more before the device is owed its message.
    const TRIES: u8 = 2;
    /// How long an owed device is left alone.
    const PAUSE: std::time::Duration = std::time::Duration::from_secs(60);

    pub(crate) fn of(tx: &mut dyn Transaction, peer: Address) -> Result<Self, StoreError> {
        Self::load(tx, &Self::key(peer)).map(Option::unwrap_or_default)
    }

    pub(crate) fn keep(&self, tx: &mut dyn Transaction, peer: Address) -> Result<(), StoreError> {
        self.save(tx, &Self::key(peer))
    }

    fn key(peer: Address) -> Vec<u8> {
        key(&[peer.user.as_bytes(), peer.device.as_bytes()])
    }

    /// Whether messages go out without it for now.
    pub(crate) fn is_owed(&self, now: Timestamp) -> bool {
        self.failures >= Self::TRIES && now.since(self.failed_at) < Self::PAUSE
    }

    pub(crate) const fn failed(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
    }
}

impl Record for PeerDevice {
    const TABLE: Table = Table::PeerDevices;

    /// `generation(8) failures(1) failed_at(8)`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.generation.to_be_bytes());
        out.push(self.failures);
        out.extend(self.failed_at.as_millis().to_be_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            generation: reader.u64()?,
            failures: reader.u8()?,
            failed_at: Timestamp::from_millis(reader.u64()?),
        })
    }
}
