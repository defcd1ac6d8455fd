//! The directory of the test world: chains and prekeys, as a server keeps them.

use std::collections::BTreeMap;

use unhidra_chain::{
    Bundle, Chain,
    prekey::{Generation, KemKind, KemPrekey, OneTimePrekey, PrekeyId, SignedPrekey},
};
use unhidra_crypto::{kem::EncapsulationKey, x25519::PublicKey};
use unhidra_types::{DeviceId, UserId};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    frame::{ListVersion, PrekeyStock},
    rest,
};

#[derive(Clone, Default)]
pub(crate) struct Directory {
    pub(crate) chains: BTreeMap<UserId, Chain>,
    prekeys: BTreeMap<DeviceId, rest::UploadPrekeys>,
    /// Devices whose bundles are withheld.
    pub(crate) without_bundles: Vec<DeviceId>,
    /// Users whose chain is shown to others only as long as this.
    pub(crate) withheld: BTreeMap<UserId, Chain>,
    /// Bundles handed out.
    pub(crate) taken: usize,
    /// What devices reported of messages that they could not open, in order.
    pub(crate) reports: Vec<(DeviceId, rest::OpeningFailures)>,
    /// What is said of a device's stock instead of the truth.
    pub(crate) lies: BTreeMap<DeviceId, u64>,
}

impl Directory {
    pub(crate) fn head(&self, user: UserId) -> ListVersion {
        list_version(user, &self.chains[&user])
    }

    /// A user's chain as the server shows it to `reader`.
    pub(crate) fn shown(&self, user: UserId, reader: UserId) -> &Chain {
        let withheld = self.withheld.get(&user).filter(|_| user != reader);
        withheld.unwrap_or(&self.chains[&user])
    }

    /// The heads that a message of `sender` must name.
    pub(crate) fn head_for(&self, user: UserId, sender: UserId) -> ListVersion {
        list_version(user, self.shown(user, sender))
    }

    /// Puts another chain in the place of a user's, as a server does: devices that stay keep their prekeys.
    pub(crate) fn replace(&mut self, chain: Chain) {
        for device in chain.devices() {
            let id = device.certificate().subject().device;
            if let Some(held) = self.prekeys.get_mut(&id) {
                held.cert_hash = Base64Array(*device.certificate_hash());
            }
        }
        self.chains.insert(chain.user(), chain);
    }

    pub(crate) fn records(&self, user: UserId, from: u32, reader: UserId) -> rest::ChainRecords {
        let chain = self.shown(user, reader);
        let head = list_version(user, chain);
        let records = chain.records().skip(from as usize).take(256);
        rest::ChainRecords {
            records: records.map(|record| Base64(record.to_vec())).collect(),
            head: rest::ChainHead {
                version: head.version,
                hash: Base64Array(head.head_hash),
            },
        }
    }

    pub(crate) fn upload(&mut self, device: DeviceId, upload: rest::UploadPrekeys) -> rest::Stock {
        match self.prekeys.get_mut(&device) {
            Some(held) if held.generation == upload.generation => {
                held.signed = upload.signed;
                held.last_resort = upload.last_resort;
                let new = |id: u32, ids: Vec<u32>| !ids.contains(&id);
                for key in upload.one_time {
                    if new(key.id, held.one_time.iter().map(|key| key.id).collect()) {
                        held.one_time.push(key);
                    }
                }
                for key in upload.one_time_kem {
                    if new(key.id, held.one_time_kem.iter().map(|key| key.id).collect()) {
                        held.one_time_kem.push(key);
                    }
                }
            }
            Some(held) => {
                assert!(held.generation < upload.generation, "a generation rises");
                *held = upload;
            }
            None => drop(self.prekeys.insert(device, upload)),
        }
        self.stock(device)
    }

    pub(crate) fn stock(&self, device: DeviceId) -> rest::Stock {
        let held = self.prekeys.get(&device);
        let lie = self.lies.get(&device).copied();
        rest::Stock {
            generation: lie.unwrap_or_else(|| held.map_or(0, |held| held.generation)),
            one_time: held.map_or_else(Vec::new, |held| held.one_time.iter().map(|key| key.id).collect()),
            one_time_kem: held.map_or_else(Vec::new, |held| {
                held.one_time_kem.iter().map(|key| key.id).collect()
            }),
        }
    }

    pub(crate) fn counts(&self, device: DeviceId) -> PrekeyStock {
        let stock = self.stock(device);
        PrekeyStock {
            generation: stock.generation,
            one_time: stock.one_time.len() as u32,
            one_time_kem: stock.one_time_kem.len() as u32,
        }
    }

    pub(crate) fn take(&mut self, devices: &[DeviceId]) -> rest::Bundles {
        self.taken += devices.len();
        let bundles = devices
            .iter()
            .filter(|device| !self.without_bundles.contains(device))
            .filter_map(|device| {
                let held = self.prekeys.get_mut(device)?;
                Some((*device, Base64(bundle(*device, held).to_bytes())))
            })
            .collect();
        rest::Bundles { bundles }
    }
}

fn list_version(user: UserId, chain: &Chain) -> ListVersion {
    let head = chain.head();
    ListVersion {
        user,
        version: head.version.0,
        head_hash: head.hash,
    }
}

fn bundle(device: DeviceId, held: &mut rest::UploadPrekeys) -> Bundle {
    let kem = |key: &rest::SignedPrekey, kind| KemPrekey {
        kind,
        id: PrekeyId::new(key.id).unwrap(),
        not_after: key.not_after,
        public: EncapsulationKey::from_bytes(&key.public.0.as_slice().try_into().unwrap()).unwrap(),
        signature: key.signature.0,
    };
    Bundle {
        device,
        certificate_hash: held.cert_hash.0,
        generation: Generation(held.generation),
        signed: SignedPrekey {
            id: PrekeyId::new(held.signed.id).unwrap(),
            not_after: held.signed.not_after,
            public: PublicKey::from_bytes(&held.signed.public.0.as_slice().try_into().unwrap()).unwrap(),
            signature: held.signed.signature.0,
        },
        kem: match held.one_time_kem.pop() {
            Some(key) => Some(kem(&key, KemKind::OneTime)),
            None => held.last_resort.as_ref().map(|key| kem(key, KemKind::LastResort)),
        },
        one_time: held.one_time.pop().map(|key| OneTimePrekey {
            id: PrekeyId::new(key.id).unwrap(),
            public: PublicKey::from_bytes(&key.public.0).unwrap(),
        }),
    }
}
