//! Who this device is: its keys, and on a `certify` device the user identity key.

use unhidra_chain::{
    Capabilities, Chain, DeviceCertificate, DeviceIdentity, DeviceKind, Genesis, Validity,
    auth::{self, Claim},
    codec::{Malformed, Reader},
    label,
    record::Subject,
};
use unhidra_crypto::{
    CryptoRng,
    ed25519::{SigningKey, VerifyingKey},
    hash::sha256,
    kdf,
    x25519::SecretKey,
};
use unhidra_pair::{
    Address, LocalDevice,
    recovery::{RecoveryKey, WrappedIdentity},
};
use unhidra_types::{ConversationId, DeviceId, MsgId, Secret, Timestamp, UserId};

use crate::{
    record::Record,
    store::{StoreError, Table, Transaction},
};

/// Where the device's keys are kept.
const DEVICE: &[u8] = b"device";
/// Where a `certify` device keeps the user identity key.
const CERTIFY: &[u8] = b"certify";
/// Where a device keeps the identity key that it has put in the place of the current one, until the server has it.
const NEXT: &[u8] = b"next identity";

/// What a device can do when this program makes its keys.
pub const CAPABILITIES: Capabilities = Capabilities::PQ.with(Capabilities::PQ_RATCHET);

/// The keys of this device. Every one but the user identity key is made here and never leaves.
pub struct Identity {
    /// The user.
    pub(crate) user: UserId,
    /// The device.
    pub(crate) device: DeviceId,
    /// What it is.
    pub(crate) kind: DeviceKind,
    /// Its signing key (DSK).
    pub(crate) dsk: SigningKey,
    /// Its Diffie-Hellman key (DIK).
    pub(crate) dik: SecretKey,
    /// Makes the message ids of batches, so that feeding a batch again repeats them.
    batch: Secret<32>,
    /// The user identity key (UIK), on a `certify` device.
    pub(crate) certify: Option<SigningKey>,
}

/// A new user's first records, to be uploaded as one.
pub struct NewIdentity {
    /// Genesis and the first certificate, as they were signed.
    pub records: Vec<Vec<u8>>,
    /// The first device's proof of possession.
    pub proof: [u8; 64],
    /// The user identity key, wrapped by the recovery key.
    pub wrapped: [u8; WrappedIdentity::BYTES],
    /// Shown once, as words, before anything is uploaded, and never stored.
    pub recovery: RecoveryKey,
}

impl Identity {
    /// Makes the keys of a device.
    pub(crate) fn draw(
        user: UserId,
        device: DeviceId,
        kind: DeviceKind,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Self {
        let mut batch = [0; 32];
        rng.fill_bytes(&mut batch);
        Self {
            user,
            device,
            kind,
            dsk: SigningKey::generate(rng),
            dik: SecretKey::generate(rng),
            batch: Secret::new(batch),
            certify: None,
        }
    }

    /// Makes a user's identity key on this device, with genesis, first certificate and recovery key.
    pub(crate) fn found(&mut self, now: Timestamp, rng: &mut (impl CryptoRng + ?Sized)) -> NewIdentity {
        let uik = SigningKey::generate(rng);
        let genesis = Genesis::sign(&uik, self.user, now, None);
        let head = unhidra_chain::ListHead {
            version: unhidra_chain::ListVersion(0),
            hash: genesis.hash(),
        };
        let subject = self.subject(CAPABILITIES.with(Capabilities::CERTIFY));
        let certificate = DeviceCertificate::sign(&uik, self.user, &head, subject, Validity::starting(now));
        let recovery = RecoveryKey::generate(rng);
        #[expect(clippy::expect_used, reason = "the genesis was signed by this very key above")]
        let wrapped = WrappedIdentity::wrap(&recovery, &genesis, &uik, rng)
            .expect("the genesis names the key that signed it")
            .to_bytes();
        self.certify = Some(uik);
        NewIdentity {
            records: vec![genesis.as_bytes().to_vec(), certificate.as_bytes().to_vec()],
            proof: self.prove(),
            wrapped,
            recovery,
        }
    }

    /// Keeps the identity key that is about to take the place of the current one.
    pub(crate) fn save_next(next: &SigningKey, tx: &mut dyn Transaction) -> Result<(), StoreError> {
        tx.put(Table::Identity, NEXT, next.to_seed().expose())
    }

    /// Holds the identity key that `uik` names, if this device has it, and no other one.
    pub(crate) fn keep_custody(
        &mut self,
        uik: &VerifyingKey,
        tx: &mut dyn Transaction,
    ) -> Result<(), StoreError> {
        if self
            .certify
            .as_ref()
            .is_some_and(|held| held.verifying_key() == *uik)
        {
            return Ok(());
        }
        let next = match tx.get(Table::Identity, NEXT)? {
            Some(seed) => {
                let seed =
                    Secret::try_from(seed.as_slice()).map_err(|_| StoreError::Damaged(Table::Identity))?;
                Some(SigningKey::from_seed(&seed)).filter(|next| next.verifying_key() == *uik)
            }
            None => None,
        };
        match &next {
            Some(next) => tx.put(Table::Identity, CERTIFY, next.to_seed().expose())?,
            None => drop(tx.delete(Table::Identity, CERTIFY)?),
        }
        tx.delete(Table::Identity, NEXT)?;
        self.certify = next;
        Ok(())
    }

    /// Forgets every identity key.
    pub(crate) fn forget_custody(&mut self, tx: &mut dyn Transaction) -> Result<(), StoreError> {
        tx.delete(Table::Identity, CERTIFY)?;
        tx.delete(Table::Identity, NEXT)?;
        self.certify = None;
        Ok(())
    }

    /// The device's own proof of possession, for the server.
    pub(crate) fn prove(&self) -> [u8; 64] {
        let claim = Claim {
            user: self.user,
            device: self.device,
            dsk: self.dsk.verifying_key(),
            dik: *self.dik.public(),
        };
        claim.prove(&self.dsk)
    }

    pub(crate) fn subject(&self, capabilities: Capabilities) -> Subject {
        Subject {
            device: self.device,
            kind: self.kind,
            dsk: self.dsk.verifying_key(),
            dik: *self.dik.public(),
            capabilities,
        }
    }

    /// Where this device's messages come from.
    pub(crate) const fn address(&self) -> Address {
        Address {
            user: self.user,
            device: self.device,
        }
    }

    /// This device as handshakes need it; `None` while `own`, the own chain, does not certify it.
    pub(crate) fn local(&self, own: &Chain) -> Option<LocalDevice> {
        let identity: DeviceIdentity = own.identity(self.device)?;
        let cert_hash = *own.device(self.device)?.certificate_hash();
        Some(LocalDevice {
            identity,
            dik: self.dik.clone(),
            cert_hash,
        })
    }

    /// Answers a login challenge that is made of `token`.
    pub(crate) fn sign_login(&self, origin: &str, token: &str) -> [u8; 64] {
        auth::sign_challenge(&self.dsk, origin, &sha256(&[token.as_bytes()]))
    }

    /// The id of message number `line` of the batch `name` in `conversation`:
    /// the first 16 B of `HMAC(batch key, L("UNH1/batch") | conversation | line(8) | name)`.
    pub(crate) fn batch_id(&self, conversation: ConversationId, name: &str, line: u64) -> MsgId {
        let input = [
            label!("UNH1/batch").as_slice(),
            conversation.as_bytes(),
            &line.to_be_bytes(),
            name.as_bytes(),
        ]
        .concat();
        let mac = kdf::hmac(&self.batch, &input);
        let mut id = [0; 16];
        id.iter_mut().zip(mac.expose()).for_each(|(to, from)| *to = *from);
        MsgId::from_bytes(id)
    }

    pub(crate) fn load_own(tx: &mut dyn Transaction) -> Result<Option<Self>, StoreError> {
        let Some(mut identity) = Self::load(tx, DEVICE)? else {
            return Ok(None);
        };
        if let Some(seed) = tx.get(Table::Identity, CERTIFY)? {
            let seed = Secret::try_from(seed.as_slice()).map_err(|_| StoreError::Damaged(Table::Identity))?;
            identity.certify = Some(SigningKey::from_seed(&seed));
        }
        Ok(Some(identity))
    }

    pub(crate) fn save_own(&self, tx: &mut dyn Transaction) -> Result<(), StoreError> {
        if let Some(uik) = &self.certify {
            tx.put(Table::Identity, CERTIFY, uik.to_seed().expose())?;
        }
        self.save(tx, DEVICE)
    }
}

impl Record for Identity {
    const TABLE: Table = Table::Identity;

    /// `user(16) device(16) kind(1) DSK seed(32) DIK(32) batch key(32)`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.user.as_bytes());
        out.extend(self.device.as_bytes());
        out.push(self.kind.to_byte());
        out.extend(self.dsk.to_seed().expose());
        out.extend(self.dik.to_bytes().expose());
        out.extend(self.batch.expose());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            user: UserId::from_bytes(reader.array()?),
            device: DeviceId::from_bytes(reader.array()?),
            kind: DeviceKind::from_byte(reader.u8()?).map_err(|_| Malformed)?,
            dsk: SigningKey::from_seed(&Secret::new(reader.array()?)),
            dik: SecretKey::from_bytes(&Secret::new(reader.array()?)),
            batch: Secret::new(reader.array()?),
            certify: None,
        })
    }
}
