//! What a certificate says about a device: its kind, what it can do, when it is valid.

use alloc::vec::Vec;
use core::time::Duration;

use unhidra_types::{Timestamp, limits::CERTIFICATE_TOLERANCE};

use crate::record::{DeviceCertificate, RecordError};

/// How long a certificate is valid unless its issuer says otherwise: 400 d.
pub const CERTIFICATE_VALIDITY: Duration = Duration::from_secs(400 * 86_400);
/// With less validity left than this, a `certify` device renews: 100 d.
pub const RENEWAL_THRESHOLD: Duration = Duration::from_secs(100 * 86_400);

/// Who or what sits behind a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// A person's phone, desktop or terminal.
    Human,
    /// A browser tab.
    Web,
    /// A sensor, actuator or gateway.
    Thing,
    /// A program that is a member.
    Bot,
    /// A recipient that an audit policy adds, shown to everyone.
    Audit,
}

impl DeviceKind {
    /// The byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Human => 1,
            Self::Web => 2,
            Self::Thing => 3,
            Self::Bot => 4,
            Self::Audit => 5,
        }
    }

    /// The kind of a byte on the wire.
    ///
    /// # Errors
    /// [`RecordError::Unsupported`] for a byte that no kind has yet.
    pub const fn from_byte(byte: u8) -> Result<Self, RecordError> {
        Ok(match byte {
            1 => Self::Human,
            2 => Self::Web,
            3 => Self::Thing,
            4 => Self::Bot,
            5 => Self::Audit,
            _ => return Err(RecordError::Unsupported),
        })
    }

    /// Whether devices of this kind may hold the user identity key: people's own devices outside the browser.
    #[must_use]
    pub const fn may_certify(self) -> bool {
        matches!(self, Self::Human)
    }
}

/// What a device can do, as its certificate says. Unknown bits are kept and mean nothing here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u32);

impl Capabilities {
    /// Nothing beyond the classical suite.
    pub const NONE: Self = Self(0);
    /// `pq`: handshakes with ML-KEM-768.
    pub const PQ: Self = Self(1);
    /// `certify`: holds the user identity key, so it links and revokes devices.
    pub const CERTIFY: Self = Self(1 << 1);
    /// `pq_ratchet`: mixes post-quantum secrets into the ratchet.
    pub const PQ_RATCHET: Self = Self(1 << 2);

    /// The field of a certificate, every bit kept.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The field of a certificate.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every bit of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The dates of a certificate, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first valid moment.
    pub not_before: Timestamp,
    /// The last valid moment.
    pub not_after: Timestamp,
}

impl Validity {
    /// [`CERTIFICATE_VALIDITY`] from `now` on.
    #[must_use]
    pub fn starting(now: Timestamp) -> Self {
        Self {
            not_before: now,
            not_after: now.saturating_add(CERTIFICATE_VALIDITY),
        }
    }

    /// Where `now` lies, with [`CERTIFICATE_TOLERANCE`] at either end.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Liveness {
        if now < self.not_before.saturating_sub(CERTIFICATE_TOLERANCE) {
            Liveness::NotYetValid
        } else if now > self.not_after.saturating_add(CERTIFICATE_TOLERANCE) {
            Liveness::Expired
        } else if now < self.not_before || now > self.not_after {
            Liveness::LiveWithDateWarning
        } else {
            Liveness::Live
        }
    }

    /// Whether a `certify` device should renew now: less than [`RENEWAL_THRESHOLD`] is left.
    #[must_use]
    pub fn renewal_due(&self, now: Timestamp) -> bool {
        self.not_after.since(now) < RENEWAL_THRESHOLD
    }
}

/// Whether a device may be sent to and believed, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Liveness {
    /// In date and not revoked.
    Live,
    /// Out of date by no more than the tolerance: used, and shown as such. One of the two clocks may be wrong.
    LiveWithDateWarning,
    /// Past its last day and the tolerance.
    Expired,
    /// Before its first day and the tolerance.
    NotYetValid,
    /// Revoked, for good.
    Revoked,
    /// The chain has no certificate for it.
    Unknown,
}

impl Liveness {
    /// Whether the device takes part: [`Liveness::Live`] or [`Liveness::LiveWithDateWarning`].
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Live | Self::LiveWithDateWarning)
    }
}

/// One device of a verified chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    certificate: DeviceCertificate,
    certificate_hash: [u8; 32],
    superseded: Vec<[u8; 32]>,
    revoked_at: Option<Timestamp>,
}

impl Device {
    pub(crate) fn new(certificate: DeviceCertificate) -> Self {
        let certificate_hash = certificate.hash();
        Self {
            certificate,
            certificate_hash,
            superseded: Vec::new(),
            revoked_at: None,
        }
    }

    pub(crate) fn renew(&mut self, certificate: DeviceCertificate) {
        let hash = certificate.hash();
        self.superseded
            .push(core::mem::replace(&mut self.certificate_hash, hash));
        self.certificate = certificate;
    }

    pub(crate) const fn revoke(&mut self, at: Timestamp) {
        self.revoked_at = Some(at);
    }

    /// The newest certificate.
    #[must_use]
    pub const fn certificate(&self) -> &DeviceCertificate {
        &self.certificate
    }

    /// The hash of the newest certificate.
    #[must_use]
    pub const fn certificate_hash(&self) -> &[u8; 32] {
        &self.certificate_hash
    }

    /// Whether `hash` is that of the newest certificate or of one it replaced.
    #[must_use]
    pub fn has_certificate(&self, hash: &[u8; 32]) -> bool {
        self.certificate_hash == *hash || self.superseded.contains(hash)
    }

    /// When it was revoked, if it was, by the clock of the revoking device.
    #[must_use]
    pub const fn revoked_at(&self) -> Option<Timestamp> {
        self.revoked_at
    }

    /// Whether it takes part at `now`.
    #[must_use]
    pub fn liveness(&self, now: Timestamp) -> Liveness {
        if self.revoked_at.is_some() {
            Liveness::Revoked
        } else {
            self.certificate.validity().at(now)
        }
    }
}
