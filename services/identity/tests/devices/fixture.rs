//! A server with users on it whose keys come from fixed seeds.

use std::{cell::RefCell, time::Duration};

use unhidra_audit::Act;
use unhidra_chain::{
    Capabilities, Chain, DeviceCertificate, DeviceKind, Genesis, Revocation, Validity,
    auth::{self, Claim},
    prekey::{Generation, KemKind, KemPrekey, PrekeyId, PrekeyOwner, SignedPrekey},
    record::Subject,
};
use unhidra_crypto::{ed25519::SigningKey, hash::sha256, kem, x25519};
use unhidra_identity::{Caller, Exposure, Foundation, Identity, IdentityConfig, Tries};
use unhidra_keys::{Keys, KeysConfig};
use unhidra_policy::Principal;
use unhidra_runtime::{Clock, Context, config::Sources};
use unhidra_store::{
    CommitFeed, Event, Store,
    account::{Account, Naming},
};
use unhidra_types::{DeviceId, OrgId, Role, Secret, SessionId, Timestamp, UserId};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    rest::{self, BeginSession, DeviceProof, ExtendChain, OneTimePrekey, Tokens, UploadPrekeys},
};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
pub(crate) const HOME: OrgId = OrgId::from_bytes([1; 16]);
pub(crate) const AWAY: OrgId = OrgId::from_bytes([2; 16]);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
const ORIGIN: &str = "https://chat.example";

#[derive(confique::Config)]
struct Sections {
    #[config(nested)]
    identity: IdentityConfig,
    #[config(nested)]
    keys: KeysConfig,
}

/// The service, and the database below it.
pub(crate) struct Server {
    pub(crate) identity: Identity,
    pub(crate) store: Store,
    feed: RefCell<CommitFeed>,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn new() -> Self {
        Self::allowing(32).await
    }

    pub(crate) async fn allowing(devices: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, feed) = Store::open(&folder.path().join("test.db"), 2).unwrap();
        let found = store.write(|tx| {
            tx.found_organisation(HOME, NOW)?;
            tx.found_organisation(AWAY, after(Duration::from_secs(1)))
        });
        found.await.unwrap();
        let flags = [
            ("identity.password_hashing", "cheap".to_owned()),
            ("identity.max_devices", devices.to_string()),
        ];
        let sources = Sources {
            flags: flags.map(|(key, value)| (key.to_owned(), value)).to_vec(),
            ..Sources::default()
        };
        let Sections { identity, keys } = sources.load::<Sections>().unwrap();
        let foundation = Foundation {
            store: store.clone(),
            keys: Keys::open(&keys, folder.path(), ORIGIN, &context(NOW)).unwrap(),
            config: identity,
            exposure: Exposure::Loopback,
            origins: vec![ORIGIN.to_owned()],
            tries: Tries::default(),
        };
        let (identity, _setup) = Identity::open(foundation, folder.path(), &context(NOW))
            .await
            .unwrap();
        Self {
            identity,
            store,
            feed: RefCell::new(feed),
            _folder: folder,
        }
    }

    /// A user with an account and no chain.
    pub(crate) async fn user(&self, seed: u8, org: OrgId) -> Person {
        let account = Account {
            user: UserId::from_bytes([seed; 16]),
            org,
            username: format!("user{seed}").parse().unwrap(),
            role: Role::Member,
            password: String::new(),
            disabled_at: None,
        };
        let opening = self.store.write(move |tx| tx.open_account(&account, NOW));
        assert_eq!(opening.await.unwrap(), Naming::Given);
        Person::new(seed, org)
    }

    /// A user of the home organisation who has one device with every capability.
    pub(crate) async fn user_with_device(&self, seed: u8) -> (Person, Phone) {
        let mut person = self.user(seed, HOME).await;
        let phone = Phone::new(seed, 1);
        let upload = person.first_upload(&phone);
        self.identity
            .extend_chain(&person.enrolling(), upload)
            .await
            .unwrap();
        (person, phone)
    }

    /// Certifies one more device, or the same one anew, and uploads the record.
    pub(crate) async fn certify(&self, person: &mut Person, phone: &Phone) {
        let upload = person.upload(|person| person.certify(phone), &[phone]);
        self.identity
            .extend_chain(&person.enrolling(), upload)
            .await
            .unwrap();
    }

    pub(crate) async fn revoke(&self, person: &mut Person, phone: &Phone) {
        let upload = person.upload(|person| person.revoke(phone), &[]);
        self.identity
            .extend_chain(&person.enrolling(), upload)
            .await
            .unwrap();
    }

    pub(crate) async fn begin_session(&self, person: &Person, phone: &Phone) -> Tokens {
        let token = format!(
            "an enrolment token, checked by the edge: {:?}",
            context(NOW).random::<8>()
        );
        let challenge = sha256(&[token.as_bytes()]);
        let body = BeginSession {
            signature: Base64Array(auth::sign_challenge(&phone.dsk, ORIGIN, &challenge)),
        };
        self.identity
            .begin_session(&person.enrolling(), phone.id, &token, &body)
            .await
            .unwrap()
    }

    /// What the audit log says was done, in order.
    pub(crate) async fn acts(&self) -> Vec<u16> {
        let records = self.store.read(|db| db.audit_records(0, 10_000)).await.unwrap();
        records.into_iter().map(|record| record.act).collect()
    }

    pub(crate) async fn count(&self, act: Act) -> usize {
        let acts = self.acts().await;
        acts.into_iter().filter(|found| *found == act.number()).count()
    }

    /// The events since the last call. They come before the answers of their acts.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut feed = self.feed.borrow_mut();
        std::iter::from_fn(|| feed.try_recv().ok()).flatten().collect()
    }

    pub(crate) async fn head(&self, user: UserId) -> Option<(u32, [u8; 32])> {
        let head = self.store.read(move |db| db.chain_head(user));
        head.await.unwrap()
    }

    pub(crate) async fn device(&self, id: DeviceId) -> Option<unhidra_store::device::Device> {
        let device = self.store.read(move |db| db.device(id));
        device.await.unwrap()
    }
}

/// A user who holds the identity key, and the chain made with it.
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) org: OrgId,
    pub(crate) uik: SigningKey,
    pub(crate) chain: Chain,
}

impl Person {
    pub(crate) fn new(seed: u8, org: OrgId) -> Self {
        let id = UserId::from_bytes([seed; 16]);
        let uik = signing_key([seed, 0]);
        let genesis = Genesis::sign(&uik, id, NOW, None);
        Self {
            id,
            org,
            chain: Chain::begin(genesis.as_bytes()).unwrap(),
            uik,
        }
    }

    pub(crate) fn enrolling(&self) -> Caller {
        self.enrolling_at(NOW)
    }

    pub(crate) fn enrolling_at(&self, now: Timestamp) -> Caller {
        let principal = Principal::Enrolling {
            user: self.id,
            org: self.org,
        };
        caller(principal, now)
    }

    /// The caller that a session of the device makes.
    pub(crate) fn with(&self, phone: &Phone, now: Timestamp) -> Caller {
        let principal = Principal::Device {
            user: self.id,
            device: phone.id,
            session: SessionId::from_bytes([0; 16]),
            org: self.org,
            role: Role::Member,
        };
        caller(principal, now)
    }

    pub(crate) fn first_upload(&mut self, phone: &Phone) -> ExtendChain {
        let genesis = self.chain.genesis().as_bytes().to_vec();
        let certificate = self.certify(phone);
        ExtendChain {
            expected: 0,
            records: vec![Base64(genesis), certificate],
            proofs: vec![phone.proof(self)],
            recovery: Some(Base64(self.wrapped())),
        }
    }

    /// One record, in the place where the server's chain ends, with the proofs of some devices.
    pub(crate) fn upload(
        &mut self,
        record: impl FnOnce(&mut Self) -> Base64,
        proved: &[&Phone],
    ) -> ExtendChain {
        let expected = self.chain.head().version.0 + 1;
        ExtendChain {
            expected,
            records: vec![record(self)],
            proofs: proved.iter().map(|phone| phone.proof(self)).collect(),
            recovery: None,
        }
    }

    /// A certificate as the next record, without taking it into the chain.
    pub(crate) fn certificate(&self, phone: &Phone) -> Base64 {
        let (head, subject) = (self.chain.head(), phone.subject());
        let certificate =
            DeviceCertificate::sign(&self.uik, self.id, &head, subject, Validity::starting(NOW));
        Base64(certificate.as_bytes().to_vec())
    }

    pub(crate) fn certify(&mut self, phone: &Phone) -> Base64 {
        let certificate = self.certificate(phone);
        self.chain.append(&certificate.0).unwrap();
        certificate
    }

    pub(crate) fn revoke(&mut self, phone: &Phone) -> Base64 {
        let revocation = Revocation::sign(&self.uik, self.id, &self.chain.head(), phone.id, NOW);
        self.chain.append(revocation.as_bytes()).unwrap();
        Base64(revocation.as_bytes().to_vec())
    }

    /// What the recovery key would have made: the server sees only its frame.
    pub(crate) fn wrapped(&self) -> Vec<u8> {
        [&[1], self.chain.genesis().hash().as_slice(), &[0xaa; 60]].concat()
    }

    pub(crate) fn certificate_hash(&self, phone: &Phone) -> [u8; 32] {
        *self.chain.device(phone.id).unwrap().certificate_hash()
    }

    /// A correct upload under `generation` with one-time keys of both kinds under these numbers.
    pub(crate) fn prekeys(&self, phone: &Phone, generation: u64, numbers: &[u32]) -> UploadPrekeys {
        let keys = Signer::new(self, phone, generation);
        let pq = phone.capabilities.contains(Capabilities::PQ);
        UploadPrekeys {
            generation,
            cert_hash: Base64Array(self.certificate_hash(phone)),
            signed: keys.signed(0xffff_0001),
            last_resort: pq.then(|| keys.kem(KemKind::LastResort, 0xffff_0002)),
            one_time: numbers.iter().map(|number| one_time(*number)).collect(),
            one_time_kem: numbers
                .iter()
                .filter(|_| pq)
                .map(|number| keys.kem(KemKind::OneTime, number | 0x8000_0000))
                .collect(),
        }
    }
}

/// A device with its keys.
pub(crate) struct Phone {
    pub(crate) id: DeviceId,
    pub(crate) dsk: SigningKey,
    pub(crate) dik: x25519::PublicKey,
    pub(crate) capabilities: Capabilities,
    pub(crate) name: String,
}

impl Phone {
    pub(crate) fn new(owner: u8, number: u8) -> Self {
        Self {
            id: DeviceId::from_bytes([owner, number, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]),
            dsk: signing_key([owner, number]),
            dik: dh_key([owner, number]),
            capabilities: Capabilities::PQ.with(Capabilities::CERTIFY),
            name: format!("phone {number}"),
        }
    }

    pub(crate) fn classical(owner: u8, number: u8) -> Self {
        Self {
            capabilities: Capabilities::NONE,
            ..Self::new(owner, number)
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject {
            device: self.id,
            kind: DeviceKind::Human,
            dsk: self.dsk.verifying_key(),
            dik: self.dik,
            capabilities: self.capabilities,
        }
    }

    pub(crate) fn proof(&self, owner: &Person) -> DeviceProof {
        let claim = Claim {
            user: owner.id,
            device: self.id,
            dsk: self.dsk.verifying_key(),
            dik: self.dik,
        };
        DeviceProof {
            device_id: self.id,
            name: self.name.clone(),
            signature: Base64Array(claim.prove(&self.dsk)),
        }
    }
}

/// Signs prekeys of one device and generation.
pub(crate) struct Signer<'a> {
    pub(crate) dsk: &'a SigningKey,
    pub(crate) owner: PrekeyOwner,
    pub(crate) not_after: Timestamp,
}

impl<'a> Signer<'a> {
    pub(crate) fn new(person: &Person, phone: &'a Phone, generation: u64) -> Self {
        let owner = PrekeyOwner {
            user: person.id,
            device: phone.id,
            generation: Generation(generation),
        };
        Self {
            dsk: &phone.dsk,
            owner,
            not_after: after(14 * DAY),
        }
    }

    pub(crate) fn signed(&self, number: u32) -> rest::SignedPrekey {
        let id = PrekeyId::new(number).unwrap();
        let key = SignedPrekey::sign(self.dsk, &self.owner, id, self.not_after, dh_key([7, 7]));
        rest::SignedPrekey {
            id: number,
            not_after: key.not_after,
            public: Base64(key.public.as_bytes().to_vec()),
            signature: Base64Array(key.signature),
        }
    }

    pub(crate) fn kem(&self, kind: KemKind, number: u32) -> rest::SignedPrekey {
        let id = PrekeyId::new(number).unwrap();
        let public = kem::DecapsulationKey::from_seed(&Secret::new([7; 64])).encapsulation_key();
        let key = KemPrekey::sign(self.dsk, &self.owner, kind, id, self.not_after, public);
        rest::SignedPrekey {
            id: number,
            not_after: key.not_after,
            public: Base64(key.public.to_bytes().to_vec()),
            signature: Base64Array(key.signature),
        }
    }
}

/// Its public half is its own, so that bundles can be told apart.
pub(crate) fn one_time(number: u32) -> OneTimePrekey {
    let [_, _, high, low] = number.to_be_bytes();
    OneTimePrekey {
        id: number,
        public: Base64Array(*dh_key([high, low]).as_bytes()),
    }
}

pub(crate) fn after(time: Duration) -> Timestamp {
    NOW.saturating_add(time)
}

pub(crate) fn context(now: Timestamp) -> Context {
    Clock::manual(now).0.context()
}

pub(crate) fn caller(principal: Principal, now: Timestamp) -> Caller {
    Caller {
        principal,
        context: context(now),
        network: None,
    }
}

fn signing_key(seed: [u8; 2]) -> SigningKey {
    SigningKey::from_seed(&Secret::new(sha256(&[b"signing", &seed])))
}

fn dh_key(seed: [u8; 2]) -> x25519::PublicKey {
    *x25519::SecretKey::from_bytes(&Secret::new(sha256(&[b"dh", &seed]))).public()
}
