//! One session: what a handshake fixed for good, and the ratchet that moves.

use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use unhidra_chain::{DeviceIdentity, Suite, VerifiedBundle, codec::Reader, prekey::KemKind};
use unhidra_crypto::x25519::{PublicKey, SecretKey};
use unhidra_types::{ConversationId, Timestamp};

use crate::{
    envelope::{AD_BYTES, Address, AssociatedData, Envelope, Kind},
    error::{InitiateError, OpenError, SealError, StoredError},
    handshake::{
        HandshakeSecrets, KemTranscript, LocalDevice, Transcript, TranscriptHash, initiator_secrets,
        responder_secrets,
    },
    prekey_message::{EkHash, KemPart, PrekeyPrefix},
    prekeys::PrekeyStore,
    ratchet::{HeaderFacts, Located, Ratchet, RatchetMessage, Refusal},
    sparse_kem::SparseKem,
};

/// Which side of the handshake this device was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

/// A session with one device.
#[derive(Clone)]
pub(crate) struct Session {
    suite: Suite,
    role: Role,
    transcript: TranscriptHash,
    ek: PublicKey,
    /// The encoded [`PrekeyPrefix`], repeated until the first message of the peer shows that it has the session.
    prefix: Option<Vec<u8>>,
    ratchet: Ratchet,
}

/// The prekeys of this device that a first message used.
pub(crate) struct PrekeysUsed {
    pub(crate) kem_kind: Option<KemKind>,
    pub(crate) session: Session,
}

/// The two ends of one message and the envelope around it.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) sender: Address,
    pub(crate) receiver: Address,
    pub(crate) conversation: ConversationId,
    pub(crate) envelope: Envelope,
}

impl Session {
    /// Begins a session on the prekeys of a checked bundle.
    pub(crate) fn initiate<R: CryptoRng + ?Sized>(
        me: &LocalDevice,
        bundle: &VerifiedBundle,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Self, InitiateError> {
        let peer = bundle.peer();
        let spk = bundle.signed();
        let opk = bundle.one_time();
        let ek = SecretKey::generate(rng);
        let encapsulated = bundle.kem().map(|kem| (kem, kem.public.encapsulate(rng)));
        let shared = initiator_secrets(&me.dik, &ek, &peer.dik, &spk.public, opk.map(|opk| &opk.public))
            .map_err(|_| InitiateError::BadPeerKey)?;
        let transcript = Transcript {
            suite: bundle.suite(),
            initiator: &me.identity,
            responder: peer,
            ek: ek.public(),
            spk: (spk.id, &spk.public),
            opk: opk.map(|opk| (opk.id, &opk.public)),
            kem: encapsulated.as_ref().map(|(kem, (ciphertext, _))| KemTranscript {
                id: kem.id,
                kind: kem.kind,
                key: &kem.public,
                ciphertext,
            }),
        }
        .hash();
        let prefix = PrekeyPrefix {
            suite: bundle.suite(),
            initiator: Address::from(&me.identity),
            cert_hash: me.cert_hash,
            ek: *ek.public(),
            spk_id: spk.id,
            opk_id: opk.map(|opk| opk.id),
            kem: encapsulated.as_ref().map(|(kem, (ciphertext, _))| KemPart {
                id: kem.id,
                ciphertext: (*ciphertext).into(),
            }),
        };
        let secrets = HandshakeSecrets {
            shared,
            kem: encapsulated.map(|(_, (_, secret))| secret),
        };
        Ok(Self {
            suite: bundle.suite(),
            role: Role::Initiator,
            transcript,
            ek: *ek.public(),
            prefix: Some(prefix.to_bytes()),
            ratchet: Ratchet::initiator(secrets.derive(&transcript), spk.public, now, rng)?,
        })
    }

    /// Derives the session that a first message claims to begin. Nothing shows yet that it does.
    pub(crate) fn respond(
        me: &LocalDevice,
        peer: &DeviceIdentity,
        prefix: &PrekeyPrefix,
        prekeys: &PrekeyStore,
        now: Timestamp,
    ) -> Result<PrekeysUsed, OpenError> {
        let spk = prekeys.signed(prefix.spk_id).ok_or(OpenError::UnknownPrekey)?;
        let opk = match prefix.opk_id {
            Some(id) => Some((id, prekeys.one_time(id).ok_or(OpenError::UnknownPrekey)?)),
            None => None,
        };
        let kem = match &prefix.kem {
            Some(part) => Some((part, prekeys.kem(part.id).ok_or(OpenError::UnknownPrekey)?)),
            None => None,
        };
        let opk_secret = opk.as_ref().map(|(_, secret)| secret);
        let shared = responder_secrets(&me.dik, &prefix.ek, &peer.dik, &spk, opk_secret)
            .map_err(|_| OpenError::Malformed)?;
        let pq_key = kem.as_ref().map(|(_, (_, key))| key.encapsulation_key());
        let transcript = Transcript {
            suite: prefix.suite,
            initiator: peer,
            responder: &me.identity,
            ek: &prefix.ek,
            spk: (prefix.spk_id, spk.public()),
            opk: opk.as_ref().map(|(id, secret)| (*id, secret.public())),
            kem: kem
                .as_ref()
                .zip(pq_key.as_ref())
                .map(|((part, (kind, _)), key)| KemTranscript {
                    id: part.id,
                    kind: *kind,
                    key,
                    ciphertext: &part.ciphertext,
                }),
        }
        .hash();
        let secrets = HandshakeSecrets {
            shared,
            kem: kem
                .as_ref()
                .map(|(part, (_, key))| key.decapsulate(&part.ciphertext)),
        };
        let session = Self {
            suite: prefix.suite,
            role: Role::Responder,
            transcript,
            ek: prefix.ek,
            prefix: None,
            ratchet: Ratchet::responder(secrets.derive(&transcript), spk, now),
        };
        let kem_kind = kem.map(|(_, (kind, _))| kind);
        Ok(PrekeysUsed { kem_kind, session })
    }

    /// What the next sealed message will be.
    pub(crate) const fn kind(&self) -> Kind {
        if self.prefix.is_some() {
            Kind::Prekey
        } else {
            Kind::Ratchet
        }
    }

    /// Seals the next message. `route.envelope.kind` must be [`Session::kind`].
    pub(crate) fn seal<R: CryptoRng + ?Sized>(
        &self,
        route: &Route,
        facts: &HeaderFacts,
        plaintext: &[u8],
        now: Timestamp,
        rng: &mut R,
    ) -> Result<(Self, Vec<u8>), SealError> {
        let ad = self.associated_data(route);
        let (ratchet, message) = self.ratchet.seal(self.suite, facts, &ad, plaintext, now, rng)?;
        let bytes = match &self.prefix {
            Some(prefix) => [prefix.as_slice(), &message].concat(),
            None => message,
        };
        Ok((self.with(ratchet, self.prefix.clone()), bytes))
    }

    /// Tries this session's header keys. `None` when the message is not this session's.
    pub(crate) fn locate(&self, message: &RatchetMessage<'_>) -> Option<Result<Located, OpenError>> {
        self.ratchet.locate(self.suite, message)
    }

    /// Opens a message that [`Session::locate`] found to be this session's.
    pub(crate) fn open(
        &self,
        located: &Located,
        message: &RatchetMessage<'_>,
        route: &Route,
        now: Timestamp,
    ) -> Result<(Self, Vec<u8>), OpenError> {
        let ad = self.associated_data(route);
        let (ratchet, plaintext) =
            self.ratchet
                .open(located, message, &ad, now)
                .map_err(|refusal| match refusal {
                    Refusal::Malformed => OpenError::Malformed,
                    Refusal::Unsupported => OpenError::Unsupported,
                    Refusal::KeyGone => OpenError::KeyGone,
                    Refusal::SkipTooFar => OpenError::SkipTooFar(self.id()),
                    Refusal::BadTag => OpenError::BadTag,
                })?;
        Ok((self.with(ratchet, None), plaintext))
    }

    /// `H(EK)`.
    pub(crate) fn id(&self) -> EkHash {
        EkHash::of(&self.ek)
    }

    pub(crate) const fn suite(&self) -> Suite {
        self.suite
    }

    /// Whether the peer began this session with `ek`.
    pub(crate) fn was_begun_by_peer(&self, ek: &PublicKey) -> bool {
        self.role == Role::Responder && self.ek == *ek
    }

    /// Whether the peer began this session.
    pub(crate) const fn is_of_peer(&self) -> bool {
        matches!(self.role, Role::Responder)
    }

    /// Whether this device began the session and has heard nothing in it.
    pub(crate) const fn is_unanswered(&self) -> bool {
        self.prefix.is_some()
    }

    pub(crate) fn is_overdue(&self, now: Timestamp) -> bool {
        self.ratchet.is_overdue(now)
    }

    pub(crate) const fn epoch(&self) -> u32 {
        self.ratchet.epoch()
    }

    pub(crate) fn skipped_keys(&self) -> usize {
        self.ratchet.skipped_keys()
    }

    /// The session without keys that are past their age.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        self.ratchet.prune(now);
    }

    fn with(&self, ratchet: Ratchet, prefix: Option<Vec<u8>>) -> Self {
        Self {
            suite: self.suite,
            role: self.role,
            transcript: self.transcript,
            ek: self.ek,
            prefix,
            ratchet,
        }
    }

    fn associated_data(&self, route: &Route) -> [u8; AD_BYTES] {
        AssociatedData {
            suite: self.suite,
            transcript: &self.transcript.0,
            sender: route.sender,
            receiver: route.receiver,
            conversation: route.conversation,
            envelope: route.envelope,
        }
        .to_bytes()
    }
}

/// The stored form.
impl Session {
    const VERSION: u8 = 2;
    /// Without epochs.
    const BEFORE_EPOCHS: u8 = 1;

    /// `ver(1)=2 | suite(2) | role(1: 1 initiator, 2 responder) | T(32) | EK(32) | prefix length(2) | prefix | ratchet`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        out.push(Self::VERSION);
        out.extend_from_slice(&self.suite.to_bytes());
        out.push(match self.role {
            Role::Initiator => 1,
            Role::Responder => 2,
        });
        out.extend_from_slice(&self.transcript.0);
        out.extend_from_slice(self.ek.as_bytes());
        out.extend_from_slice(&u16::try_from(prefix.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(prefix);
        self.ratchet.write(out);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, StoredError> {
        let version = reader.u8()?;
        if !matches!(version, Self::VERSION | Self::BEFORE_EPOCHS) {
            return Err(StoredError::UnknownVersion);
        }
        let suite = Suite::from_u16(reader.u16()?).ok_or(StoredError::Malformed)?;
        let role = match reader.u8()? {
            1 => Role::Initiator,
            2 => Role::Responder,
            _ => return Err(StoredError::Malformed),
        };
        let transcript = TranscriptHash(reader.array()?);
        let ek = PublicKey::from_bytes(&reader.array()?).map_err(|_| StoredError::Malformed)?;
        let full = match suite {
            Suite::Classical => PrekeyPrefix::CLASSICAL_BYTES,
            Suite::Hybrid => PrekeyPrefix::HYBRID_BYTES,
        };
        let prefix = match (usize::from(reader.u16()?), role) {
            (0, _) => None,
            (length, Role::Initiator) if length == full => Some(reader.take(length)?.to_vec()),
            _ => return Err(StoredError::Malformed),
        };
        let ratchet = Ratchet::read(reader, |reader| match version {
            Self::BEFORE_EPOCHS => Ok(SparseKem::of_older_session(role)),
            _ => SparseKem::read(reader),
        })?;
        Ok(Self {
            suite,
            role,
            transcript,
            ek,
            prefix,
            ratchet,
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("suite", &self.suite)
            .field("role", &self.role)
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
