//! Certifying another device, and becoming certified.

use unhidra_chain::{
    Capabilities, Chain, DeviceCertificate, Genesis, ListHead, Revocation, Validity, auth::Claim,
    device::RENEWAL_THRESHOLD, record::Subject,
};
use unhidra_crypto::{CryptoRng, ed25519::SigningKey, x25519};
use unhidra_pair::linking::new_device::Applicant;
use unhidra_types::{DeviceId, Timestamp};

use super::Device;
use crate::{
    effects::Effects,
    identity::CAPABILITIES,
    peer::Peer,
    record::Record as _,
    store::{Store, StoreError},
};

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertifyError {
    /// This device does not hold the user identity key.
    #[error("this device does not hold the account's identity key")]
    NotACertifier,
    /// The own chain is not known here yet: sync first.
    #[error("the own device list is not known yet")]
    NoChain,
    /// No certificate is due for renewal.
    #[error("no certificate is due for renewal")]
    NotDue,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A record that extends the own chain, to be uploaded by compare-and-swap.
#[derive(Clone, Debug)]
pub struct ChainExtension {
    /// The head that it follows.
    pub after: ListHead,
    /// The record.
    pub record: Vec<u8>,
}

impl<S: Store> Device<S> {
    /// What this device asks to be certified as.
    #[must_use]
    pub fn applicant(&self) -> Applicant {
        Applicant {
            user: self.me.user,
            device: self.me.device,
            kind: self.me.kind,
            capabilities: CAPABILITIES,
            dsk: SigningKey::from_seed(&self.me.dsk.to_seed()),
            dik: *self.me.dik.public(),
        }
    }

    /// Certifies a device that the user has approved. The own chain grows once the server has taken the record and
    /// it was learnt from there.
    ///
    /// # Errors
    /// See [`CertifyError`].
    pub fn certify(
        &mut self,
        subject: Subject,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<ChainExtension, CertifyError> {
        let own = self.own_chain(now, rng)?.ok_or(CertifyError::NoChain)?;
        let uik = self.me.certify.as_ref().ok_or(CertifyError::NotACertifier)?;
        let after = own.head();
        let certificate =
            DeviceCertificate::sign(uik, self.me.user, &after, subject, Validity::starting(now));
        Ok(ChainExtension {
            after,
            record: certificate.as_bytes().to_vec(),
        })
    }

    /// The next certificate that is due: this device's own, when it lacks what this program can do or runs out, then that of
    /// another live device that runs out, with what it could do before. Other devices say themselves what they can, when
    /// they are linked.
    ///
    /// # Errors
    /// [`CertifyError::NotDue`] when there is none; see [`CertifyError`].
    pub fn renew(&mut self, now: Timestamp, rng: &mut dyn CryptoRng) -> Result<ChainExtension, CertifyError> {
        if !self.can_certify() {
            return Err(CertifyError::NotACertifier);
        }
        let own = self.own_chain(now, rng)?.ok_or(CertifyError::NoChain)?;
        let runs_out = |device: &&unhidra_chain::device::Device| {
            let left = device.certificate().validity().not_after.since(now);
            left < RENEWAL_THRESHOLD
        };
        let this = own.device(self.me.device).ok_or(CertifyError::NoChain)?;
        let capabilities = CAPABILITIES.with(Capabilities::CERTIFY);
        let held = this.certificate().subject().capabilities;
        let subject = if !held.contains(capabilities) || runs_out(&this) {
            self.me.subject(held.with(capabilities))
        } else {
            let due = own.live_devices(now).find(runs_out);
            due.ok_or(CertifyError::NotDue)?.certificate().subject().clone()
        };
        self.certify(subject, now, rng)
    }

    /// Takes custody of the user identity key, opened by the recovery key, and certifies this device by it. The own
    /// chain must be known; it must begin with the genesis that names this key.
    ///
    /// # Errors
    /// [`CertifyError::NotACertifier`] when the key is not the pinned one.
    pub fn adopt_identity(
        &mut self,
        uik: SigningKey,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<ChainExtension, CertifyError> {
        let own = self.own_chain(now, rng)?.ok_or(CertifyError::NoChain)?;
        if *own.uik() != uik.verifying_key() {
            return Err(CertifyError::NotACertifier);
        }
        let subject = self.me.subject(CAPABILITIES.with(Capabilities::CERTIFY));
        self.me.certify = Some(uik);
        let me = &self.me;
        self.store
            .transaction(|tx| me.save_own(tx))
            .map_err(|error: StoreError| error)?;
        self.certify(subject, now, rng)
    }

    /// Revokes a device of the user, for good.
    ///
    /// # Errors
    /// See [`CertifyError`].
    pub fn revoke(
        &mut self,
        device: DeviceId,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<ChainExtension, CertifyError> {
        let own = self.own_chain(now, rng)?.ok_or(CertifyError::NoChain)?;
        let uik = self.me.certify.as_ref().ok_or(CertifyError::NotACertifier)?;
        let after = own.head();
        let revocation = Revocation::sign(uik, self.me.user, &after, device, now);
        Ok(ChainExtension {
            after,
            record: revocation.as_bytes().to_vec(),
        })
    }

    /// Believes the genesis that came through the linking channel: the own identity key is pinned by it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn linked(
        &mut self,
        genesis: &Genesis,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Effects, StoreError> {
        self.effects(now, rng, |step, _| {
            let user = step.me.user;
            Peer::pinned(crate::peer::Identity::of(genesis)).save(step.tx, user.as_bytes())?;
            step.need_chain(user)
        })
    }

    /// The own chain as it is held here.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn own_chain(
        &mut self,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<Chain>, StoreError> {
        let user = self.me.user;
        self.step(now, rng, |step, _| step.chain(user))
            .map(|(chain, _nothing)| chain.map(|chain| Chain::clone(&chain)))
    }

    /// The keys of this device as a claim that a proof of possession is about.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let dik: x25519::PublicKey = *self.me.dik.public();
        Claim {
            user: self.me.user,
            device: self.me.device,
            dsk: self.me.dsk.verifying_key(),
            dik,
        }
    }
}
