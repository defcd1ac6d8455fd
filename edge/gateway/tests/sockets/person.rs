//! A user with an identity key, and devices in sessions.

use unhidra_chain::{
    Capabilities, Chain, DeviceCertificate, DeviceKind, Genesis, Revocation, Validity,
    auth::{self, Claim},
    record::Subject,
};
use unhidra_crypto::{ed25519::SigningKey, hash::sha256, x25519};
use unhidra_identity::Caller;
use unhidra_messaging::access::Sender;
use unhidra_policy::Principal;
use unhidra_store::account::{Account, Naming};
use unhidra_types::{DeviceId, OrgId, Role, Secret, SessionId, UserId};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    rest::{BeginSession, DeviceProof, ExtendChain},
};

use crate::server::{ORIGIN, Server};

pub(crate) const ORG: OrgId = OrgId::from_bytes([1; 16]);

/// A user and the chain that their key signs.
pub(crate) struct Person {
    pub(crate) id: UserId,
    uik: SigningKey,
    chain: Chain,
}

/// A device in a session.
#[derive(Clone)]
pub(crate) struct Phone {
    pub(crate) user: UserId,
    pub(crate) id: DeviceId,
    pub(crate) session: SessionId,
    pub(crate) token: String,
}

impl Phone {
    pub(crate) fn sender(&self) -> Sender {
        Sender {
            user: self.user,
            device: self.id,
            session: self.session,
            org: ORG,
            role: Role::Member,
        }
    }
}

impl Person {
    fn caller(&self, server: &Server) -> Caller {
        Caller {
            principal: Principal::Enrolling {
                user: self.id,
                org: ORG,
            },
            context: server.clock.context(),
            network: None,
        }
    }

    fn certify(&mut self, server: &Server, seed: &DeviceSeed) -> Base64 {
        let subject = Subject {
            device: seed.id,
            kind: DeviceKind::Human,
            dsk: seed.dsk.verifying_key(),
            dik: seed.dik,
            capabilities: Capabilities::PQ.with(Capabilities::CERTIFY),
        };
        let (head, validity) = (self.chain.head(), Validity::starting(server.now()));
        let certificate = DeviceCertificate::sign(&self.uik, self.id, &head, subject, validity);
        self.chain.append(certificate.as_bytes()).unwrap();
        Base64(certificate.as_bytes().to_vec())
    }
}

/// The keys of a device.
struct DeviceSeed {
    id: DeviceId,
    dsk: SigningKey,
    dik: x25519::PublicKey,
}

impl DeviceSeed {
    fn new(owner: UserId, number: u8) -> Self {
        let mut id = *owner.as_bytes();
        id[15] = number;
        Self {
            id: DeviceId::from_bytes(id),
            dsk: signing_key(&id),
            dik: *x25519::SecretKey::from_bytes(&Secret::new(sha256(&[b"dh", &id]))).public(),
        }
    }

    fn proof(&self, owner: UserId) -> DeviceProof {
        let claim = Claim {
            user: owner,
            device: self.id,
            dsk: self.dsk.verifying_key(),
            dik: self.dik,
        };
        DeviceProof {
            device_id: self.id,
            name: "phone".into(),
            signature: Base64Array(claim.prove(&self.dsk)),
        }
    }
}

fn signing_key(seed: &[u8]) -> SigningKey {
    SigningKey::from_seed(&Secret::new(sha256(&[b"signing", seed])))
}

impl Server {
    /// An account with a chain and its first device in a session.
    pub(crate) async fn person(&self, seed: u8) -> (Person, Phone) {
        let (id, now) = (UserId::from_bytes([seed; 16]), self.now());
        let account = Account {
            user: id,
            org: ORG,
            username: format!("user{seed}").parse().unwrap(),
            role: Role::Member,
            password: String::new(),
            disabled_at: None,
        };
        let opening = self.store.write(move |tx| tx.open_account(&account, now));
        assert_eq!(opening.await.unwrap(), Naming::Given);
        let uik = signing_key(&[seed]);
        let genesis = Genesis::sign(&uik, id, now, None);
        let chain = Chain::begin(genesis.as_bytes()).unwrap();
        let wrapped = [&[1], genesis.hash().as_slice(), &[0xaa; 60]].concat();
        let mut person = Person { id, uik, chain };
        let phone = DeviceSeed::new(id, 1);
        let upload = ExtendChain {
            expected: 0,
            records: vec![Base64(genesis.as_bytes().to_vec()), person.certify(self, &phone)],
            proofs: vec![phone.proof(id)],
            recovery: Some(Base64(wrapped)),
        };
        self.extend(&person, upload).await;
        let phone = self.begin_session(&person, &phone).await;
        (person, phone)
    }

    /// A further device, in a session.
    pub(crate) async fn phone(&self, person: &mut Person, number: u8) -> Phone {
        let phone = DeviceSeed::new(person.id, number);
        let upload = ExtendChain {
            expected: person.chain.head().version.0 + 1,
            records: vec![person.certify(self, &phone)],
            proofs: vec![phone.proof(person.id)],
            recovery: None,
        };
        self.extend(person, upload).await;
        self.begin_session(person, &phone).await
    }

    pub(crate) async fn revoke(&self, person: &mut Person, phone: &Phone) {
        let (expected, head) = (person.chain.head().version.0 + 1, person.chain.head());
        let revocation = Revocation::sign(&person.uik, person.id, &head, phone.id, self.now());
        person.chain.append(revocation.as_bytes()).unwrap();
        let upload = ExtendChain {
            expected,
            records: vec![Base64(revocation.as_bytes().to_vec())],
            proofs: Vec::new(),
            recovery: None,
        };
        self.extend(person, upload).await;
    }

    pub(crate) async fn end_session(&self, person: &Person, phone: &Phone) {
        let caller = person.caller(self);
        let ending = self.identity.end_session(&caller, phone.session);
        ending.await.unwrap();
    }

    /// A token that is good for enrolling a device and nothing else.
    pub(crate) fn enrolment_token(&self, person: &Person) -> String {
        let bearer = unhidra_keys::token::Bearer::Enrolling;
        let token = self.keys.sign(person.id, ORG, bearer, &self.clock.context());
        token.unwrap()
    }

    async fn extend(&self, person: &Person, upload: ExtendChain) {
        let caller = person.caller(self);
        let extending = self.identity.extend_chain(&caller, upload);
        extending.await.unwrap();
    }

    async fn begin_session(&self, person: &Person, phone: &DeviceSeed) -> Phone {
        let token = format!(
            "an enrolment token, checked by the edge: {:?}",
            self.clock.context().random::<8>()
        );
        let challenge = sha256(&[token.as_bytes()]);
        let body = BeginSession {
            signature: Base64Array(auth::sign_challenge(&phone.dsk, ORIGIN, &challenge)),
        };
        let caller = person.caller(self);
        let begun = self.identity.begin_session(&caller, phone.id, &token, &body);
        let tokens = begun.await.unwrap();
        Phone {
            user: person.id,
            id: phone.id,
            session: tokens.session_id,
            token: tokens.access_token.expose().to_owned(),
        }
    }
}
