//! The users and devices of a trace, as this implementation has them.

use std::collections::BTreeMap;

use unhidra_chain::{
    Bundle, Capabilities, Chain, DeviceCertificate, DeviceKind, Genesis, PqRatchet, Revocation, Validity,
    auth::{Claim, sign_challenge},
    direct::direct_conversation,
    prekey::{Generation, KemKind, KemPrekey, OneTimePrekey, PrekeyId, PrekeyOwner, SignedPrekey},
    record::Subject,
    safety_number::{Person, SafetyNumber},
};
use unhidra_crypto::{ed25519::SigningKey, kem::DecapsulationKey, x25519::SecretKey};
use unhidra_pair::{Address, EkHash, LocalDevice, PrekeyStore, SealedBody, SessionSet};
use unhidra_types::{ConversationId, DeviceId, MsgId, Secret, Timestamp, UserId};

use crate::{
    replay::{Difference, same},
    trace::{START, Step, shown, to_hex},
};

pub(crate) struct User {
    pub(crate) id: UserId,
    uik: SigningKey,
    pub(crate) records: Vec<Vec<u8>>,
}

pub(crate) struct Device {
    pub(crate) user: String,
    pub(crate) id: DeviceId,
    kind: DeviceKind,
    dsk: SigningKey,
    dik: SecretKey,
    pub(crate) prekeys: PrekeyStore,
    public: Public,
    pub(crate) sets: BTreeMap<Address, SessionSet>,
    pub(crate) seen: BTreeMap<EkHash, PrekeyId>,
}

/// The public halves that a bundle is made of.
#[derive(Default)]
struct Public {
    signed: Vec<SignedPrekey>,
    kem: Vec<KemPrekey>,
    one_time: Vec<OneTimePrekey>,
}

pub(crate) struct Body {
    pub(crate) sealed: SealedBody,
    pub(crate) conversation: ConversationId,
    pub(crate) msg_id: MsgId,
    pub(crate) content: Vec<u8>,
    pub(crate) cseq: u64,
}

pub(crate) struct Message {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) conversation: ConversationId,
    pub(crate) msg_id: MsgId,
    pub(crate) kind: u8,
    pub(crate) bytes: Vec<u8>,
    pub(crate) body: Option<usize>,
    pub(crate) control: Vec<u8>,
    /// sent_at, own_list and peer_list, of what an honest device has sealed.
    pub(crate) facts: Option<(Timestamp, u32, u32)>,
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) devices: BTreeMap<String, Device>,
    pub(crate) bundles: Vec<Vec<u8>>,
    pub(crate) bodies: Vec<Body>,
    pub(crate) messages: Vec<Message>,
}

pub(crate) fn time(step: &Step<'_>) -> Timestamp {
    Timestamp::from_millis(START + step.number("at"))
}

impl World {
    pub(crate) fn user(&mut self, step: &Step<'_>) -> Result<(), Difference> {
        let previous = self.users.get(step.text("prev")).map(|user| &user.uik);
        let uik = SigningKey::from_seed(&Secret::new(step.random("uik")));
        let id = UserId::from_bytes(step.array("user_id"));
        let genesis = Genesis::sign(&uik, id, time(step), previous);
        same(step, "record", genesis.as_bytes())?;
        let records = vec![genesis.as_bytes().to_vec()];
        self.users
            .insert(step.text("user").into(), User { id, uik, records });
        Ok(())
    }

    pub(crate) fn certify(&mut self, step: &Step<'_>) -> Result<(), Difference> {
        let name = step.text("device");
        let owner = name.split('.').next().unwrap();
        let device = self.devices.entry(name.into()).or_insert_with(|| Device {
            user: owner.into(),
            id: DeviceId::from_bytes(step.array("device_id")),
            kind: DeviceKind::from_byte(step.number("kind").try_into().unwrap()).unwrap(),
            dsk: SigningKey::from_seed(&Secret::new(step.random("dsk"))),
            dik: SecretKey::from_bytes(&Secret::new(step.random("dik"))),
            prekeys: PrekeyStore::restore(Generation(0), Vec::<Vec<u8>>::new()).unwrap(),
            public: Public::default(),
            sets: BTreeMap::new(),
            seen: BTreeMap::new(),
        });
        let subject = Subject {
            device: device.id,
            kind: device.kind,
            dsk: device.dsk.verifying_key(),
            dik: *device.dik.public(),
            capabilities: Capabilities::from_bits(step.number("caps").try_into().unwrap()),
        };
        let validity = Validity {
            not_before: Timestamp::from_millis(step.number("not_before")),
            not_after: Timestamp::from_millis(step.number("not_after")),
        };
        let user = self.users.get_mut(owner).unwrap();
        let head = Chain::restore(&user.records).unwrap().head();
        let record = DeviceCertificate::sign(&user.uik, user.id, &head, subject, validity);
        user.records.push(record.as_bytes().to_vec());
        same(step, "record", record.as_bytes())
    }

    pub(crate) fn revoke(&mut self, step: &Step<'_>) -> Result<(), Difference> {
        let device = &self.devices[step.text("device")];
        let user = self.users.get_mut(&device.user).unwrap();
        let head = Chain::restore(&user.records).unwrap().head();
        let record = Revocation::sign(&user.uik, user.id, &head, device.id, time(step));
        user.records.push(record.as_bytes().to_vec());
        same(step, "record", record.as_bytes())
    }

    pub(crate) fn stock(&mut self, step: &Step<'_>) -> Result<(), Difference> {
        let made = time(step);
        let user = self.users[&self.devices[step.text("device")].user].id;
        let device = self.devices.get_mut(step.text("device")).unwrap();
        let generation = Generation(step.number("generation"));
        let owner = PrekeyOwner {
            user,
            device: device.id,
            generation,
        };
        let not_after = made.saturating_add(unhidra_pair::prekeys::PUBLIC_LIFETIME);
        let (mut rows, mut public) = (Vec::new(), Public::default());
        for key in step.facts["keys"].as_array().unwrap() {
            let kind = u8::try_from(key[0].as_u64().unwrap()).unwrap();
            let number = u32::try_from(key[1].as_u64().unwrap()).unwrap();
            let id = PrekeyId::new(number).unwrap();
            let (secret, bytes, signature) = match kind {
                1 => {
                    let secret: [u8; 32] = step.random("spk");
                    let key = *SecretKey::from_bytes(&Secret::new(secret)).public();
                    let key = SignedPrekey::sign(&device.dsk, &owner, id, not_after, key);
                    public.signed.push(key.clone());
                    (
                        secret.to_vec(),
                        key.public.as_bytes().to_vec(),
                        key.signature.to_vec(),
                    )
                }
                0 => {
                    let secret: [u8; 32] = step.random(&format!("one_time.{}", public.one_time.len()));
                    let key = *SecretKey::from_bytes(&Secret::new(secret)).public();
                    public.one_time.push(OneTimePrekey { id, public: key });
                    (secret.to_vec(), key.as_bytes().to_vec(), Vec::new())
                }
                _ => {
                    let (name, kind) = match kind {
                        2 => (format!("kem.{}", public.kem.len()), KemKind::OneTime),
                        _ => ("last_resort".into(), KemKind::LastResort),
                    };
                    let secret: [u8; 64] = step.random(&name);
                    let key = DecapsulationKey::from_seed(&Secret::new(secret)).encapsulation_key();
                    let key = KemPrekey::sign(&device.dsk, &owner, kind, id, not_after, key);
                    public.kem.push(key.clone());
                    (
                        secret.to_vec(),
                        key.public.to_bytes().to_vec(),
                        key.signature.to_vec(),
                    )
                }
            };
            Difference::unless(
                "public half",
                shown(&bytes, key[2].as_str().unwrap()),
                key[2].as_str().unwrap(),
            )?;
            Difference::unless(
                "signature",
                shown(&signature, key[3].as_str().unwrap()),
                key[3].as_str().unwrap(),
            )?;
            rows.push(row(
                if kind == 0 { 4 } else { kind },
                number,
                generation,
                made,
                &secret,
            ));
        }
        device.prekeys = PrekeyStore::restore(generation, rows).unwrap();
        device.public = public;
        Ok(())
    }

    pub(crate) fn bundle(&mut self, step: &Step<'_>) -> Result<(), Difference> {
        let device = &self.devices[step.text("device")];
        let chain = self.chain(&device.user);
        let is = |id: PrekeyId, key: &str| u64::from(id.to_u32()) == step.number(key);
        let bundle = Bundle {
            device: device.id,
            certificate_hash: *chain.device(device.id).unwrap().certificate_hash(),
            generation: device.prekeys.generation(),
            signed: device
                .public
                .signed
                .iter()
                .find(|key| is(key.id, "spk_id"))
                .unwrap()
                .clone(),
            kem: device.public.kem.iter().find(|key| is(key.id, "pq_id")).cloned(),
            one_time: device
                .public
                .one_time
                .iter()
                .find(|key| is(key.id, "opk_id"))
                .copied(),
        };
        let bytes = bundle.to_bytes();
        Difference::unless(
            "bundle, read and written again",
            Bundle::parse(&bytes)
                .map(|read| to_hex(&read.to_bytes()))
                .unwrap_or_default(),
            &to_hex(&bytes),
        )?;
        same(step, "bundle", &bytes)?;
        self.bundles.push(bytes);
        Ok(())
    }

    pub(crate) fn derived(&self, step: &Step<'_>) -> Result<(), Difference> {
        let users = ["a", "b"].map(|key| &self.users[step.text(key)]);
        let [one, other] = users.map(|user| Person {
            user: user.id,
            uik: user.uik.verifying_key(),
        });
        same(
            step,
            "conversation",
            direct_conversation(one.user, other.user).as_bytes(),
        )?;
        let number = SafetyNumber::of(&one, &other).to_string().replace(' ', "");
        Difference::unless("safety", number, step.text("safety"))?;
        let device = self
            .devices
            .values()
            .find(|device| device.user == step.text("a"))
            .unwrap();
        let login = sign_challenge(&device.dsk, step.text("origin"), &step.random("challenge"));
        same(step, "login", &login)?;
        let claim = Claim {
            user: one.user,
            device: device.id,
            dsk: device.dsk.verifying_key(),
            dik: *device.dik.public(),
        };
        same(step, "possession", &claim.prove(&device.dsk))
    }

    pub(crate) fn erase(&mut self, step: &Step<'_>) {
        let device = self.devices.get_mut(step.text("device")).unwrap();
        let id = PrekeyId::new(step.number("key_id").try_into().unwrap()).unwrap();
        device.prekeys = device.prekeys.without(&[id]);
    }

    pub(crate) fn chain(&self, user: &str) -> Chain {
        // Records that this implementation has signed: their signatures were compared when they were made.
        Chain::restore(&self.users[user].records).unwrap()
    }

    pub(crate) fn address(&self, device: &str) -> Address {
        let device = &self.devices[device];
        Address {
            user: self.users[&device.user].id,
            device: device.id,
        }
    }

    /// The device as a party to handshakes, by its newest certificate.
    pub(crate) fn local(&self, name: &str) -> LocalDevice {
        let device = &self.devices[name];
        let chain = self.chain(&device.user);
        LocalDevice {
            identity: chain.identity(device.id).unwrap(),
            dik: device.dik.clone(),
            cert_hash: *chain.device(device.id).unwrap().certificate_hash(),
        }
    }

    pub(crate) fn capabilities(&self, name: &str) -> Capabilities {
        let device = &self.devices[name];
        self.chain(&device.user)
            .device(device.id)
            .unwrap()
            .certificate()
            .subject()
            .capabilities
    }

    pub(crate) fn pq_ratchet(&self, one: &str, other: &str) -> PqRatchet {
        PqRatchet::between(self.capabilities(one), self.capabilities(other))
    }
}

/// A prekey as this crate stores it.
fn row(kind: u8, id: u32, generation: Generation, made: Timestamp, secret: &[u8]) -> Vec<u8> {
    [
        [1, kind].as_slice(),
        &id.to_be_bytes(),
        &generation.0.to_be_bytes(),
        &made.as_millis().to_be_bytes(),
        secret,
    ]
    .concat()
}

pub(crate) fn sends(set: &SessionSet) -> String {
    set.active()
        .map_or_else(String::new, |session| to_hex(&session.0[..8]))
}
