//! Users and devices from fixed seeds: everything here comes out the same in every run.

use unhidra_chain::{
    Bundle, Capabilities, Chain, DeviceCertificate, DeviceKind, Genesis, Revocation, Validity,
    prekey::{Generation, KemKind, KemPrekey, OneTimePrekey, PrekeyId, PrekeyOwner, SignedPrekey},
    record::Subject,
};
use unhidra_crypto::{ed25519::SigningKey, kem, x25519};
use unhidra_types::{DeviceId, Secret, Timestamp, UserId};

pub(crate) const DAY_MS: u64 = 86_400_000;
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
pub(crate) const ALL: Capabilities = Capabilities::from_bits(0b111);

/// Encodings of points that no honest key has: of small order (canonical or not), or no points at all.
pub(crate) const UNUSABLE_ED25519: [[u8; 32]; 6] = {
    let mut keys = [[0; 32]; 6];
    keys[1][0] = 1; // the identity
    keys[2] = [0xff; 32]; // p - 1 (order 2), with the sign bit: not canonical
    keys[2][0] = 0xec;
    keys[3] = [0xff; 32]; // y = p: a second spelling of 0
    keys[3][0] = 0xed;
    keys[3][31] = 0x7f;
    keys[4][0] = 2; // no point
    keys[5] = [
        // order 8
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    keys
};

/// A `u` beyond `p`, and one with bit 255 set.
pub(crate) const NON_CANONICAL_X25519: [[u8; 32]; 2] = {
    let mut keys = [[0xff; 32], [7; 32]];
    keys[0][31] = 0x7f;
    keys[1][31] = 0x80;
    keys
};

pub(crate) fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

pub(crate) fn dh_key(seed: u8) -> x25519::PublicKey {
    *x25519::SecretKey::from_bytes(&Secret::new([seed; 32])).public()
}

pub(crate) fn kem_key(seed: u8) -> kem::EncapsulationKey {
    kem::DecapsulationKey::from_seed(&Secret::new([seed; 64])).encapsulation_key()
}

pub(crate) fn user(seed: u8) -> UserId {
    UserId::from_bytes([seed; 16])
}

pub(crate) fn device(seed: u8) -> DeviceId {
    DeviceId::from_bytes([seed | 0x80; 16])
}

/// The device's DSK has the seed `n | 0x40`, its DIK `n | 0x20`.
pub(crate) fn subject(n: u8, capabilities: Capabilities) -> Subject {
    Subject {
        device: device(n),
        kind: DeviceKind::Human,
        dsk: signing_key(n | 0x40).verifying_key(),
        dik: dh_key(n | 0x20),
        capabilities,
    }
}

/// A user who holds the identity key and the chain made with it.
pub(crate) struct Owner {
    pub(crate) uik: SigningKey,
    pub(crate) chain: Chain,
}

impl Owner {
    pub(crate) fn new(seed: u8) -> Self {
        let uik = signing_key(seed);
        let genesis = Genesis::sign(&uik, user(seed), NOW, None);
        Self {
            uik,
            chain: Chain::begin(genesis.as_bytes()).unwrap(),
        }
    }

    pub(crate) fn certificate(&self, subject: Subject, validity: Validity) -> DeviceCertificate {
        DeviceCertificate::sign(
            &self.uik,
            self.chain.user(),
            &self.chain.head(),
            subject,
            validity,
        )
    }

    pub(crate) fn revocation(&self, n: u8) -> Revocation {
        Revocation::sign(&self.uik, self.chain.user(), &self.chain.head(), device(n), NOW)
    }

    pub(crate) fn certify(&mut self, n: u8, capabilities: Capabilities) {
        let certificate = self.certificate(subject(n, capabilities), Validity::starting(NOW));
        self.chain.append(certificate.as_bytes()).unwrap();
    }

    pub(crate) fn revoke(&mut self, n: u8) {
        let revocation = self.revocation(n);
        self.chain.append(revocation.as_bytes()).unwrap();
    }

    pub(crate) fn records(&self) -> Vec<Vec<u8>> {
        self.chain.records().map(Vec::from).collect()
    }

    /// A good bundle of device `n` at generation 3, with every kind of prekey that its certificate announces.
    pub(crate) fn bundle(&self, n: u8) -> Bundle {
        let dsk = signing_key(n | 0x40);
        let certified = self.chain.device(device(n)).unwrap();
        let owner = PrekeyOwner {
            user: self.chain.user(),
            device: device(n),
            generation: Generation(3),
        };
        let not_after = Timestamp::from_millis(NOW.as_millis() + 14 * DAY_MS);
        let pq = certified
            .certificate()
            .subject()
            .capabilities
            .contains(Capabilities::PQ);
        Bundle {
            device: device(n),
            certificate_hash: *certified.certificate_hash(),
            generation: owner.generation,
            signed: SignedPrekey::sign(&dsk, &owner, id(0x11), not_after, dh_key(0x11)),
            kem: pq
                .then(|| KemPrekey::sign(&dsk, &owner, KemKind::OneTime, id(0x12), not_after, kem_key(0x12))),
            one_time: Some(OneTimePrekey {
                id: id(0x13),
                public: dh_key(0x13),
            }),
        }
    }
}

/// One user with a history of each kind: two devices, one renewed, one revoked.
pub(crate) fn storied() -> Owner {
    let mut owner = Owner::new(1);
    owner.certify(1, ALL);
    owner.certify(2, Capabilities::NONE);
    owner.certify(1, Capabilities::PQ);
    owner.revoke(2);
    owner.certify(3, Capabilities::NONE);
    owner
}

pub(crate) fn id(number: u32) -> PrekeyId {
    PrekeyId::new(number).unwrap()
}
