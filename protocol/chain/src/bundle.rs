//! The prekey bundle: what the server hands out about one device, and what a sender checks before any DH.
//!
//! ```text
//! device_id(16) cert_hash(32) generation(8) | SignedPrekey(108) | KemPrekey(1261) | opk_id(4) OPK(32)    1 461 B
//! ```
//! A device without `pq` has no KEM prekey: 200 B. `opk_id` and `OPK` are zero when the one-time keys have run out.

use alloc::vec::Vec;

use unhidra_types::{DeviceId, Timestamp};

use crate::{
    chain::Chain,
    codec::{Malformed, Reader},
    device::{Capabilities, Liveness},
    identity::DeviceIdentity,
    prekey::{Generation, KemKind, KemPrekey, OneTimePrekey, PrekeyOwner, PrekeyType, SignedPrekey},
    suite::Suite,
};

/// A bundle as it came; nothing in it is believed yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// The device.
    pub device: DeviceId,
    /// SHA-256 of the certificate that the device held when it uploaded.
    pub certificate_hash: [u8; 32],
    /// The prekey set.
    pub generation: Generation,
    /// The signed X25519 prekey.
    pub signed: SignedPrekey,
    /// The KEM prekey, from a device with `pq`.
    pub kem: Option<KemPrekey>,
    /// A one-time prekey, while there are some.
    pub one_time: Option<OneTimePrekey>,
}

/// What the sender knows beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The device whose bundle was asked for.
    pub device: DeviceId,
    /// The highest generation seen from that device; zero before the first.
    pub generation_floor: Generation,
    /// The sender's own capabilities, as certified.
    pub own: Capabilities,
}

/// A bundle that a session may be begun with. Its existence is the proof of every check.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedBundle {
    peer: DeviceIdentity,
    liveness: Liveness,
    suite: Suite,
    bundle: Bundle,
}

/// Why no session may be begun with a bundle. It is fetched once more; after that the device is owed its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadBundle {
    /// It is another device's.
    #[error("bundle belongs to {0}")]
    OtherDevice(DeviceId),
    /// The device takes no part in the chain: never certified, revoked or out of date.
    #[error("device is not live: {0:?}")]
    NotLive(Liveness),
    /// The certificate is not the newest in the chain: either is stale. Fetch the chain as well.
    #[error("bundle names another certificate than the newest")]
    OtherCertificate,
    /// The generation lies below the highest seen: the server was restored, or replays.
    #[error("bundle is of an earlier generation")]
    EarlierGeneration,
    /// A signature does not hold.
    #[error("{0:?} prekey is not signed by its device")]
    Forged(PrekeyType),
    /// A prekey is past its last day.
    #[error("{0:?} prekey has expired")]
    Expired(PrekeyType),
    /// The device has `pq`, and the bundle has no KEM prekey.
    #[error("bundle lacks the kem prekey")]
    KemMissing,
    /// The device has no `pq`, and the bundle has a KEM prekey.
    #[error("bundle has a kem prekey that the certificate does not announce")]
    KemUnannounced,
}

impl Bundle {
    /// Bytes of a bundle with a KEM prekey.
    pub const BYTES: usize = 1_461;
    /// Bytes of a bundle without one.
    pub const CLASSICAL_BYTES: usize = Self::BYTES - KemPrekey::BYTES;

    /// The encoding: [`Bundle::BYTES`] or [`Bundle::CLASSICAL_BYTES`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let kem = self.kem.as_ref().map(KemPrekey::to_bytes);
        [
            self.device.as_bytes().as_slice(),
            &self.certificate_hash,
            &self.generation.0.to_be_bytes(),
            &self.signed.to_bytes(),
            kem.as_ref().map_or(&[], |kem| kem.as_slice()),
            &self
                .one_time
                .as_ref()
                .map_or(NO_ONE_TIME, OneTimePrekey::to_bytes),
        ]
        .concat()
    }

    /// Reads what [`Bundle::to_bytes`] made.
    ///
    /// # Errors
    /// [`Malformed`] for another length, a zero id, an unknown KEM kind or an unusable key.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let bundle = Self {
            device: DeviceId::from_bytes(reader.array()?),
            certificate_hash: reader.array()?,
            generation: Generation(reader.u64()?),
            signed: SignedPrekey::read(&mut reader)?,
            kem: match bytes.len() {
                Self::BYTES => Some(KemPrekey::read(&mut reader)?),
                Self::CLASSICAL_BYTES => None,
                _ => return Err(Malformed),
            },
            one_time: match reader.array()? {
                NO_ONE_TIME => None,
                bytes => Some(OneTimePrekey::parse(&bytes)?),
            },
        };
        reader.finish()?;
        Ok(bundle)
    }

    /// Checks everything that a sender must know before it computes anything with these keys.
    ///
    /// # Errors
    /// See [`BadBundle`].
    pub fn verify(
        self,
        chain: &Chain,
        expected: &Expected,
        now: Timestamp,
    ) -> Result<VerifiedBundle, BadBundle> {
        if self.device != expected.device {
            return Err(BadBundle::OtherDevice(self.device));
        }
        let device = chain
            .device(self.device)
            .ok_or(BadBundle::NotLive(Liveness::Unknown))?;
        let liveness = device.liveness(now);
        if !liveness.is_live() {
            return Err(BadBundle::NotLive(liveness));
        }
        if self.certificate_hash != *device.certificate_hash() {
            return Err(BadBundle::OtherCertificate);
        }
        if self.generation < expected.generation_floor {
            return Err(BadBundle::EarlierGeneration);
        }
        let capabilities = device.certificate().subject().capabilities;
        match (capabilities.contains(Capabilities::PQ), &self.kem) {
            (true, None) => return Err(BadBundle::KemMissing),
            (false, Some(_)) => return Err(BadBundle::KemUnannounced),
            (true, Some(_)) | (false, None) => {}
        }
        let peer = device.certificate().identity(chain.uik());
        self.check_prekeys(&peer, now)?;
        Ok(VerifiedBundle {
            peer,
            liveness,
            suite: Suite::between(expected.own, capabilities),
            bundle: self,
        })
    }

    fn check_prekeys(&self, peer: &DeviceIdentity, now: Timestamp) -> Result<(), BadBundle> {
        let owner = PrekeyOwner {
            user: peer.user,
            device: peer.device,
            generation: self.generation,
        };
        self.signed
            .verify(&peer.dsk, &owner)
            .map_err(|_| BadBundle::Forged(PrekeyType::Signed))?;
        if now > self.signed.not_after {
            return Err(BadBundle::Expired(PrekeyType::Signed));
        }
        if let Some(kem) = &self.kem {
            let prekey_type = kem.kind.prekey_type();
            kem.verify(&peer.dsk, &owner)
                .map_err(|_| BadBundle::Forged(prekey_type))?;
            if now > kem.not_after {
                return Err(BadBundle::Expired(prekey_type));
            }
        }
        Ok(())
    }
}

impl VerifiedBundle {
    /// The device that the session will be with.
    #[must_use]
    pub const fn peer(&self) -> &DeviceIdentity {
        &self.peer
    }

    /// [`Liveness::Live`], or with a warning to show about its dates.
    #[must_use]
    pub const fn liveness(&self) -> Liveness {
        self.liveness
    }

    /// The only suite that the two devices may use.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The peer's newest certificate, by hash.
    #[must_use]
    pub const fn certificate_hash(&self) -> &[u8; 32] {
        &self.bundle.certificate_hash
    }

    /// The new floor for this device.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.bundle.generation
    }

    /// The signed X25519 prekey.
    #[must_use]
    pub const fn signed(&self) -> &SignedPrekey {
        &self.bundle.signed
    }

    /// The KEM prekey to use: there if and only if the suite is [`Suite::Hybrid`].
    #[must_use]
    pub const fn kem(&self) -> Option<&KemPrekey> {
        match self.suite {
            Suite::Hybrid => self.bundle.kem.as_ref(),
            Suite::Classical => None,
        }
    }

    /// The one-time prekey, unsigned.
    #[must_use]
    pub const fn one_time(&self) -> Option<&OneTimePrekey> {
        self.bundle.one_time.as_ref()
    }

    /// Whether the last-resort KEM prekey would be used, which both sides are told.
    #[must_use]
    pub fn is_last_resort(&self) -> bool {
        self.kem().is_some_and(|kem| kem.kind == KemKind::LastResort)
    }
}

/// `opk_id` and `OPK` when there is none.
const NO_ONE_TIME: [u8; OneTimePrekey::BYTES] = [0; OneTimePrekey::BYTES];
