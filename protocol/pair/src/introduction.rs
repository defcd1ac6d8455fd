//! What must hold before a first message is worth any computation: who claims to begin a session, and may it.

use unhidra_chain::{Capabilities, Chain, DeviceIdentity, Liveness, Suite};
use unhidra_types::Timestamp;

use crate::{envelope::Address, prekey_message::PrekeyPrefix, prekeys::PrekeyStore};

/// What the table of accepted first messages (`seen_ek`) says about one. The table is the caller's; it keeps each
/// [`crate::prekey_message::EkHash`] until the signed prekey that was used is erased, and at most
/// [`unhidra_types::limits::MAX_SEEN_EPHEMERAL_KEYS`] of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeenEk {
    /// It was accepted before.
    Seen,
    /// It was not, and there is room to remember it.
    New,
    /// It is not in the table, which is full: only a one-time key can show that it is new.
    Full,
}

/// A checked claim to begin a session. Its existence is the proof that the device is live and named its certificate.
#[derive(Clone, Debug)]
pub struct Introduction<'a> {
    pub(crate) peer: DeviceIdentity,
    pub(crate) seen: SeenEk,
    pub(crate) prekeys: &'a PrekeyStore,
}

/// Why a first message is refused before any computation with its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntroductionError {
    /// The device takes no part in the chain of the user that it names.
    #[error("device is not live: {0:?}")]
    NotLive(Liveness),
    /// The certificate is none of that device: the chain held is stale, or the message is forged.
    #[error("message names a certificate that the chain does not have")]
    OtherCertificate,
    /// Both devices have `pq`, and the message does without.
    #[error("message uses a weaker suite than both devices have")]
    Downgrade,
}

impl<'a> Introduction<'a> {
    /// Checks `prefix` against the verified `chain` of the user whom it names, for a device with capabilities `own`.
    ///
    /// # Errors
    /// See [`IntroductionError`].
    pub fn check(
        prefix: &PrekeyPrefix,
        chain: &Chain,
        own: Capabilities,
        seen: SeenEk,
        prekeys: &'a PrekeyStore,
        now: Timestamp,
    ) -> Result<Self, IntroductionError> {
        let Address { user, device } = prefix.initiator;
        let device = chain
            .device(device)
            .filter(|_| chain.user() == user)
            .ok_or(IntroductionError::NotLive(Liveness::Unknown))?;
        let liveness = device.liveness(now);
        if !liveness.is_live() {
            return Err(IntroductionError::NotLive(liveness));
        }
        if !device.has_certificate(&prefix.cert_hash) {
            return Err(IntroductionError::OtherCertificate);
        }
        let certificate = device.certificate();
        if Suite::between(own, certificate.subject().capabilities) == Suite::Hybrid
            && prefix.suite != Suite::Hybrid
        {
            return Err(IntroductionError::Downgrade);
        }
        Ok(Self {
            peer: certificate.identity(chain.uik()),
            seen,
            prekeys,
        })
    }
}
