//! A person and their devices: the keys, signatures and uploads that a client makes.

use serde_json::{Value, json};
use unhidra_chain::{
    Capabilities, Chain, DeviceCertificate, DeviceKind, Genesis, ListHead, Revocation, Validity,
    auth::{Claim, sign_challenge},
    prekey::{Generation, KemKind, KemPrekey, PrekeyId, PrekeyOwner, SignedPrekey},
    record::Subject,
};
use unhidra_crypto::{ed25519::SigningKey, hash::sha256, kem, x25519};
use unhidra_types::{DeviceId, OrgId, Timestamp, UserId};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    rest::{ChainHead, Enrolment, Tokens},
};

use super::world::{Answer, DAY, ORIGIN, World};

pub(super) struct Person {
    pub(super) name: String,
    pub(super) user: UserId,
    pub(super) org: OrgId,
    pub(super) enrol: String,
    pub(super) uik: SigningKey,
    pub(super) chain: Option<Chain>,
    pub(super) devices: Vec<Handset>,
}

pub(super) struct Handset {
    pub(super) id: DeviceId,
    pub(super) dsk: SigningKey,
    pub(super) dik: x25519::SecretKey,
    pub(super) tokens: Option<Tokens>,
}

impl Person {
    pub(super) fn new(name: &str, enrolment: &Enrolment, world: &World) -> Self {
        let mut rng = world.clock.context().rng();
        Self {
            name: name.into(),
            user: enrolment.user_id,
            org: enrolment.org_id,
            enrol: enrolment.enrol_token.expose().into(),
            uik: SigningKey::generate(&mut rng),
            chain: None,
            devices: vec![Handset::new(world)],
        }
    }

    /// The access token of the first device.
    pub(super) fn access(&self) -> &str {
        self.access_of(0)
    }

    pub(super) fn access_of(&self, device: usize) -> &str {
        self.devices[device]
            .tokens
            .as_ref()
            .unwrap()
            .access_token
            .expose()
    }

    pub(super) fn head(&self) -> ListHead {
        self.chain.as_ref().unwrap().head()
    }

    /// A certificate of the device, in the place after `head`.
    pub(super) fn certificate(&self, device: &Handset, head: &ListHead, now: Timestamp) -> DeviceCertificate {
        let subject = Subject {
            device: device.id,
            kind: DeviceKind::Human,
            dsk: device.dsk.verifying_key(),
            dik: *device.dik.public(),
            capabilities: Capabilities::PQ.with(Capabilities::CERTIFY),
        };
        DeviceCertificate::sign(&self.uik, self.user, head, subject, Validity::starting(now))
    }

    /// The first upload: a genesis, a certificate of the first device, its proof and a recovery wrap.
    pub(super) fn first_upload(&self, world: &World) -> Value {
        let genesis = Genesis::sign(&self.uik, self.user, world.now(), None);
        let head = Chain::begin(genesis.as_bytes()).unwrap().head();
        let certificate = self.certificate(&self.devices[0], &head, world.now());
        let wrapped = [[1].as_slice(), &genesis.hash(), &[7; 60]].concat();
        json!({
            "expected": 0,
            "records": [record(genesis.as_bytes()), record(certificate.as_bytes())],
            "proofs": [self.proof(&self.devices[0])],
            "recovery": Base64(wrapped),
        })
    }

    pub(super) async fn begin_chain(&mut self, world: &World) {
        let body = self.first_upload(world);
        let _: ChainHead = world
            .post("/v1/users/me/chain", Some(&self.enrol), &body)
            .await
            .ok();
        let records: Vec<Base64> = serde_json::from_value(body["records"].clone()).unwrap();
        self.chain = Some(Chain::verify(records.iter().map(|Base64(bytes)| bytes)).unwrap());
    }

    /// Certifies one more device; the answer tells whether the server took it.
    pub(super) async fn certify(&mut self, device: Handset, world: &World) -> Answer {
        let certificate = self.certificate(&device, &self.head(), world.now());
        let body = json!({
            "expected": self.head().version.0 + 1,
            "records": [record(certificate.as_bytes())],
            "proofs": [self.proof(&device)],
        });
        let answer = world.post("/v1/users/me/chain", Some(self.access()), body).await;
        if answer.status.is_success() {
            self.chain
                .as_mut()
                .unwrap()
                .append(certificate.as_bytes())
                .unwrap();
            self.devices.push(device);
        }
        answer
    }

    pub(super) async fn revoke(&mut self, device: DeviceId, world: &World) -> Answer {
        let revocation = Revocation::sign(&self.uik, self.user, &self.head(), device, world.now());
        let body = json!({"expected": self.head().version.0 + 1, "records": [record(revocation.as_bytes())]});
        let answer = world.post("/v1/users/me/chain", Some(self.access()), body).await;
        if answer.status.is_success() {
            self.chain
                .as_mut()
                .unwrap()
                .append(revocation.as_bytes())
                .unwrap();
        }
        answer
    }

    pub(super) fn proof(&self, device: &Handset) -> Value {
        let (dsk, dik) = (device.dsk.verifying_key(), *device.dik.public());
        let claim = Claim {
            user: self.user,
            device: device.id,
            dsk,
            dik,
        };
        let signature = Base64Array(claim.prove(&device.dsk));
        json!({"device_id": device.id, "name": format!("{}'s device", self.name), "signature": signature})
    }

    pub(super) async fn begin_session(&mut self, world: &World, device: usize) {
        // Each password is good for one session.
        let context = world.clock.context();
        let bearer = unhidra_keys::token::Bearer::Enrolling;
        let enrol = world.identity.keys().sign(self.user, self.org, bearer, &context);
        let tokens = self.devices[device]
            .begin_session(world, &enrol.unwrap())
            .await
            .created();
        self.devices[device].tokens = Some(tokens);
    }
}

impl Handset {
    pub(super) fn new(world: &World) -> Self {
        let context = world.clock.context();
        let mut rng = context.rng();
        Self {
            id: DeviceId::new(context.now, context.random()),
            dsk: SigningKey::generate(&mut rng),
            dik: x25519::SecretKey::generate(&mut rng),
            tokens: None,
        }
    }

    pub(super) async fn begin_session(&self, world: &World, enrol: &str) -> Answer {
        let path = format!("/v1/devices/{}/sessions", self.id);
        world
            .post(&path, Some(enrol), json!({"signature": self.sign(ORIGIN, enrol)}))
            .await
    }

    /// Signs the challenge that a token is.
    pub(super) fn sign(&self, origin: &str, token: &str) -> Base64Array<64> {
        Base64Array(sign_challenge(&self.dsk, origin, &sha256(&[token.as_bytes()])))
    }

    pub(super) fn refresh_token(&self) -> String {
        self.tokens.as_ref().unwrap().refresh_token.expose().into()
    }

    pub(super) async fn refresh(&self, world: &World, token: &str) -> Answer {
        let body =
            json!({"refresh_token": token, "signature": self.sign(ORIGIN, token), "device_id": self.id});
        world.post("/v1/sessions/refresh", None, body).await
    }

    /// An upload of `one_time` keys of each kind, whose numbers begin at `first`.
    pub(super) fn prekeys(
        &self,
        person: &Person,
        world: &World,
        generation: u64,
        first: u32,
        one_time: u32,
    ) -> Value {
        let mut rng = world.clock.context().rng();
        let owner = PrekeyOwner {
            user: person.user,
            device: self.id,
            generation: Generation(generation),
        };
        let not_after = world.now().saturating_add(14 * DAY);
        let id = |number| PrekeyId::new(number).unwrap();
        let public = *x25519::SecretKey::generate(&mut rng).public();
        let signed = SignedPrekey::sign(&self.dsk, &owner, id(1_000), not_after, public);
        let mut kem_key = |kind, number| {
            let public = kem::DecapsulationKey::generate(&mut rng).encapsulation_key();
            let key = KemPrekey::sign(&self.dsk, &owner, kind, id(number), not_after, public);
            signed_json(number, not_after, &key.public.to_bytes(), key.signature)
        };
        let last_resort = kem_key(KemKind::LastResort, 1_001);
        let kems: Vec<_> = (0..one_time)
            .map(|n| kem_key(KemKind::OneTime, first + 500 + n))
            .collect();
        let curves: Vec<_> = (0..one_time)
            .map(|n| {
                let public = *x25519::SecretKey::generate(&mut world.clock.context().rng()).public();
                json!({"id": first + n, "public": Base64Array(*public.as_bytes())})
            })
            .collect();
        let chain = person.chain.as_ref().unwrap();
        json!({
            "generation": generation,
            "cert_hash": Base64Array(*chain.device(self.id).unwrap().certificate_hash()),
            "signed": signed_json(1_000, not_after, signed.public.as_bytes(), signed.signature),
            "last_resort": last_resort,
            "one_time": curves,
            "one_time_kem": kems,
        })
    }
}

pub(super) fn record(bytes: &[u8]) -> Base64 {
    Base64(bytes.to_vec())
}

fn signed_json(id: u32, not_after: Timestamp, public: &[u8], signature: [u8; 64]) -> Value {
    json!({"id": id, "not_after": not_after, "public": Base64(public.to_vec()), "signature": Base64Array(signature)})
}
