//! The own identity: replacing it by one that it signs, giving it other recovery words, looking at it.

use unhidra_chain::{Capabilities, Chain, DeviceCertificate, Genesis, ListHead, Validity, record::Position};
use unhidra_crypto::{CryptoRng, ed25519::SigningKey};
use unhidra_pair::recovery::{RecoveryKey, WrappedIdentity};
use unhidra_types::{DeviceId, Timestamp};

use super::Device;
use crate::{
    identity::{CAPABILITIES, Identity},
    peer::{Peer, StoredChain},
    record::Record as _,
    store::{Store, StoreError, Table},
};

/// Which key the next genesis names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextKey {
    /// A new one.
    New,
    /// The same: the chain is full.
    Same,
}

/// Why no successor was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// This device does not hold the user identity key.
    #[error("this device does not hold the account's identity key")]
    NotACertifier,
    /// The own chain is not known here yet: sync first.
    #[error("the own device list is not known yet")]
    NoChain,
    /// Another identity of this user is shown than the pinned one.
    #[error("the server shows another identity of this account")]
    Replaced,
    /// The device is not in use, or is this one.
    #[error("{0} can't be left out: it is this device, or not in use")]
    NotLeftOut(DeviceId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Another identity, signed by the one before, with certificates for the devices that stay.
pub struct Rotation {
    /// The head of the chain that it replaces.
    pub replaces: ListHead,
    /// Genesis and certificates, as they were signed.
    pub records: Vec<Vec<u8>>,
    /// The new user identity key, wrapped by the new recovery key.
    pub wrapped: [u8; WrappedIdentity::BYTES],
    /// Shown once, as words, before anything is uploaded, and never stored.
    pub recovery: RecoveryKey,
    /// The devices that stay, with this one.
    pub kept: Vec<DeviceId>,
}

/// The identity as this device knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnIdentity {
    /// The user identity key.
    pub uik: [u8; 32],
    /// When its chain began, by the clock of the device that began it.
    pub created_at: Timestamp,
    /// The number of the chain's last record.
    pub version: u32,
    /// Whether this device holds the key.
    pub certifies: bool,
    /// Live devices whose certificates say that they hold it.
    pub certifiers: Vec<DeviceId>,
    /// The server shows another identity of this user: it was reset without this device.
    pub replaced: bool,
}

/// What the server shows of the own user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The pinned identity, or nothing else than what is pinned.
    Pinned,
    /// Another one, which the pinned one has not signed.
    Replaced,
    /// The pinned identity, and this device is not in it any more.
    Revoked,
}

impl<S: Store> Device<S> {
    /// Makes the successor of the own identity. Every live device but those in `without` is certified anew under the
    /// keys that it has; only this device holds the new key. Until the server has taken it, calling this again makes
    /// another one.
    ///
    /// # Errors
    /// See [`RotateError`].
    pub fn rotate(
        &mut self,
        key: NextKey,
        without: &[DeviceId],
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Rotation, RotateError> {
        let own = self.own_chain(now, rng)?.ok_or(RotateError::NoChain)?;
        if self.shown(now, rng)? == Shown::Replaced {
            return Err(RotateError::Replaced);
        }
        let current = self.me.certify.as_ref().ok_or(RotateError::NotACertifier)?;
        for left_out in without {
            if *left_out == self.me.device || !own.is_live(*left_out, now).is_live() {
                return Err(RotateError::NotLeftOut(*left_out));
            }
        }
        let next = match key {
            NextKey::New => SigningKey::generate(rng),
            NextKey::Same => SigningKey::from_seed(&current.to_seed()),
        };
        // A clock that was set back must not make the successor look older than what it replaces.
        let after = Timestamp::from_millis(own.genesis().created_at().as_millis().saturating_add(1));
        let genesis = Genesis::sign(&next, self.me.user, now.max(after), Some(current));
        let mut records = vec![genesis.as_bytes().to_vec()];
        let (mut head, mut kept) = (genesis_head(&genesis), Vec::new());
        for device in own.live_devices(now) {
            let mut subject = device.certificate().subject().clone();
            if without.contains(&subject.device) {
                continue;
            }
            subject.capabilities = match (subject.device == self.me.device, key) {
                (true, _) => CAPABILITIES.with(Capabilities::CERTIFY),
                (false, NextKey::Same) => subject.capabilities,
                (false, NextKey::New) => without_certify(subject.capabilities),
            };
            kept.push(subject.device);
            let certificate =
                DeviceCertificate::sign(&next, self.me.user, &head, subject, Validity::starting(now));
            let Position { seq, .. } = head.next();
            head = ListHead {
                version: seq,
                hash: certificate.hash(),
            };
            records.push(certificate.as_bytes().to_vec());
        }
        let recovery = RecoveryKey::generate(rng);
        let wrapped = WrappedIdentity::wrap(&recovery, &genesis, &next, rng)
            .map_err(|_not_its_key| RotateError::NotACertifier)?
            .to_bytes();
        self.store.transaction(|tx| Identity::save_next(&next, tx))?;
        Ok(Rotation {
            replaces: own.head(),
            records,
            wrapped,
            recovery,
            kept,
        })
    }

    /// The same identity key under another recovery key: what the earlier words open is replaced by the upload.
    ///
    /// # Errors
    /// See [`RotateError`].
    pub fn wrap_anew(
        &mut self,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<(RecoveryKey, [u8; WrappedIdentity::BYTES]), RotateError> {
        let own = self.own_chain(now, rng)?.ok_or(RotateError::NoChain)?;
        let uik = self.me.certify.as_ref().ok_or(RotateError::NotACertifier)?;
        let recovery = RecoveryKey::generate(rng);
        let wrapped = WrappedIdentity::wrap(&recovery, own.genesis(), uik, rng)
            .map_err(|_not_its_key| RotateError::NotACertifier)?;
        Ok((recovery, wrapped.to_bytes()))
    }

    /// The own identity; `None` before there is one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn own_identity(
        &mut self,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<OwnIdentity>, StoreError> {
        let replaced = self.shown(now, rng)? == Shown::Replaced;
        let certifies = self.can_certify();
        Ok(self.own_chain(now, rng)?.map(|own| OwnIdentity {
            uik: *own.uik().as_bytes(),
            created_at: own.genesis().created_at(),
            version: own.head().version.0,
            certifies,
            certifiers: certifiers(&own, now),
            replaced,
        }))
    }

    /// What the server has shown of the own user, as far as this device has learnt it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn shown(&mut self, now: Timestamp, rng: &mut dyn CryptoRng) -> Result<Shown, StoreError> {
        let (user, device) = (self.me.user, self.me.device);
        let peer = self.store.transaction(|tx| Peer::load(tx, user.as_bytes()))?;
        if peer.is_some_and(|peer| peer.changed.is_some()) {
            return Ok(Shown::Replaced);
        }
        let took_part = self.has_taken_part()?;
        let own = self.own_chain(now, rng)?;
        let revoked = own.is_some_and(|own| match own.device(device) {
            Some(own) => own.revoked_at().is_some(),
            // A rotation has left it out.
            None => took_part,
        });
        Ok(if revoked { Shown::Revoked } else { Shown::Pinned })
    }

    /// Forgets an identity that this device has made and no server has taken.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn forget_founding(&mut self) -> Result<(), StoreError> {
        if self.has_taken_part()? {
            return Ok(());
        }
        let me = &mut self.me;
        self.chains = crate::step::ChainCache::default();
        self.store.transaction(|tx| {
            tx.delete(StoredChain::TABLE, me.user.as_bytes())?;
            tx.delete(Table::Peers, me.user.as_bytes())?;
            me.forget_custody(tx)
        })
    }

    /// Holds the key of the own chain, if this device has it, and no other.
    pub(super) fn keep_custody(&mut self) -> Result<(), StoreError> {
        let me = &mut self.me;
        self.store.transaction(|tx| {
            let peer = Peer::load(tx, me.user.as_bytes())?;
            match peer.filter(|peer| peer.head.is_some()) {
                Some(peer) => me.keep_custody(&super::trust::person_of(me.user, &peer.pin)?.uik, tx),
                None => Ok(()),
            }
        })
    }
}

fn certifiers(own: &Chain, now: Timestamp) -> Vec<DeviceId> {
    own.live_devices(now)
        .map(|device| device.certificate().subject())
        .filter(|subject| subject.capabilities.contains(Capabilities::CERTIFY))
        .map(|subject| subject.device)
        .collect()
}

fn without_certify(capabilities: Capabilities) -> Capabilities {
    Capabilities::from_bits(capabilities.bits() & !Capabilities::CERTIFY.bits())
}

fn genesis_head(genesis: &Genesis) -> ListHead {
    ListHead {
        version: unhidra_chain::ListVersion(0),
        hash: genesis.hash(),
    }
}
