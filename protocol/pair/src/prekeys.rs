//! Own prekeys: the private halves, how they are made, published, looked up and erased.
//!
//! A set has one signed X25519 prekey, one last-resort KEM prekey and two pools of one-time keys. The pools are refilled
//! below [`REFILL_PERCENT`] % under the same generation; the whole set is replaced under the next one after
//! [`ROTATION_AGE`]. Private halves outlive their set, because messages wait: until [`PRIVATE_LIFETIME`], or the first
//! successful use of a one-time key.

use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

use rand_core::CryptoRng;
use unhidra_chain::{
    Capabilities,
    codec::Reader,
    prekey::{Generation, KemKind, KemPrekey, OneTimePrekey, PrekeyId, PrekeyOwner, SignedPrekey},
};
use unhidra_crypto::{
    ed25519::SigningKey,
    kem::{DecapsulationKey, SEED_BYTES},
    x25519::SecretKey,
};
use unhidra_types::{
    DeviceId, Secret, Timestamp, UserId,
    limits::{ONE_TIME_KEM_PREKEYS, ONE_TIME_PREKEYS},
};

use crate::error::StoredError;

/// A set older than this is replaced: 7 d.
pub const ROTATION_AGE: Duration = Duration::from_secs(7 * 86_400);
/// How long after its making a signed prekey may be used by senders: 14 d.
pub const PUBLIC_LIFETIME: Duration = Duration::from_secs(14 * 86_400);
/// How long after its making a private half is kept: 28 d.
pub const PRIVATE_LIFETIME: Duration = Duration::from_secs(28 * 86_400);
/// A pool with less than this share of a full one is refilled.
pub const REFILL_PERCENT: usize = 40;

/// The private half of one prekey: a row of its own in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prekey {
    id: PrekeyId,
    generation: Generation,
    made: Timestamp,
    secret: PrekeySecret,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PrekeySecret {
    Signed(Secret<32>),
    OneTime(Secret<32>),
    Kem(KemKind, Secret<SEED_BYTES>),
}

/// Every private half that is held. Bounded by its sets: one per [`ROTATION_AGE`], each for [`PRIVATE_LIFETIME`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrekeyStore {
    generation: Generation,
    keys: BTreeMap<PrekeyId, Prekey>,
}

/// Who publishes prekeys, and with which key it signs them.
#[derive(Clone, Copy)]
pub struct Publisher<'a> {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The device's signing key.
    pub dsk: &'a SigningKey,
    /// Its certified capabilities: a device without `pq` has no KEM prekeys.
    pub capabilities: Capabilities,
}

/// What the server is given.
#[derive(Clone, Debug, PartialEq)]
pub struct PublicPrekeys {
    /// The set that the keys belong to.
    pub generation: Generation,
    /// The signed X25519 prekey and the last-resort KEM prekey; in a whole set, not in a refill.
    pub standing: Option<StandingPrekeys>,
    /// One-time KEM prekeys.
    pub kem: Vec<KemPrekey>,
    /// One-time X25519 prekeys.
    pub one_time: Vec<OneTimePrekey>,
}

/// The keys of a set that are used again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct StandingPrekeys {
    /// X25519.
    pub signed: SignedPrekey,
    /// ML-KEM-768, from a device with `pq`.
    pub last_resort: Option<KemPrekey>,
}

/// New prekeys: store `added`, make it durable, then upload.
#[derive(Clone, Debug)]
pub struct NewPrekeys {
    /// The store from now on.
    pub store: PrekeyStore,
    /// The rows that `store` has and the one before has not.
    pub added: Vec<Prekey>,
    /// What the server is given.
    pub upload: PublicPrekeys,
}

/// What the server says it has, held against what is held here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stock {
    /// The server holds nothing that was spent.
    Sound {
        /// One-time X25519 prekeys left.
        one_time: usize,
        /// One-time KEM prekeys left.
        kem: usize,
    },
    /// The server was restored: it has a spent key or another generation. Replace the set.
    Restored,
}

impl PrekeyStore {
    /// Makes the first set of a device, generation 1.
    pub fn generate<R: CryptoRng + ?Sized>(
        publisher: &Publisher<'_>,
        now: Timestamp,
        rng: &mut R,
    ) -> NewPrekeys {
        let nothing = Self {
            generation: Generation(0),
            keys: BTreeMap::new(),
        };
        nothing.replace(publisher, now, rng)
    }

    /// Makes a whole set under the next generation. The old private halves stay until they die of age.
    pub fn replace<R: CryptoRng + ?Sized>(
        &self,
        publisher: &Publisher<'_>,
        now: Timestamp,
        rng: &mut R,
    ) -> NewPrekeys {
        let mut store = self.clone();
        store.generation = Generation(self.generation.0.saturating_add(1));
        let mut added = Vec::new();
        added.push(store.add(PrekeySecret::signed(rng), now, rng));
        if publisher.has_kem() {
            added.push(store.add(PrekeySecret::kem(KemKind::LastResort, rng), now, rng));
        }
        store.fill(publisher, Missing::ALL, now, rng, &mut added);
        store.publish(publisher, added)
    }

    /// Makes what the server lacks for full pools; `None` while both are above [`REFILL_PERCENT`] %.
    pub fn refill<R: CryptoRng + ?Sized>(
        &self,
        in_stock: &Stock,
        publisher: &Publisher<'_>,
        now: Timestamp,
        rng: &mut R,
    ) -> Option<NewPrekeys> {
        let Stock::Sound { one_time, kem } = *in_stock else {
            return None;
        };
        let missing = Missing {
            one_time: missing(one_time, ONE_TIME_PREKEYS),
            kem: missing(kem, ONE_TIME_KEM_PREKEYS),
        };
        let mut store = self.clone();
        let mut added = Vec::new();
        store.fill(publisher, missing, now, rng, &mut added);
        (!added.is_empty()).then(|| store.publish(publisher, added))
    }

    /// Whether the set is older than [`ROTATION_AGE`], or there is none.
    #[must_use]
    pub fn replacement_due(&self, now: Timestamp) -> bool {
        let made = self
            .keys
            .values()
            .filter(|key| key.generation == self.generation)
            .find(|key| matches!(key.secret, PrekeySecret::Signed(_)))
            .map(|key| key.made);
        made.is_none_or(|made| now.since(made) >= ROTATION_AGE)
    }

    /// Compares the server's word with what is held: every one-time key that it still hands out must be here.
    #[must_use]
    pub fn compare(&self, generation: Generation, in_stock: &[PrekeyId]) -> Stock {
        let (mut one_time, mut kem) = (0, 0);
        for id in in_stock {
            match self.keys.get(id).map(|key| &key.secret) {
                Some(PrekeySecret::OneTime(_)) => one_time += 1,
                Some(PrekeySecret::Kem(KemKind::OneTime, _)) => kem += 1,
                Some(PrekeySecret::Kem(KemKind::LastResort, _) | PrekeySecret::Signed(_)) | None => {
                    return Stock::Restored;
                }
            }
        }
        if generation == self.generation {
            Stock::Sound { one_time, kem }
        } else {
            Stock::Restored
        }
    }

    /// The keys that are past [`PRIVATE_LIFETIME`]. Erase them after the backlog of messages has been read.
    pub fn dead(&self, now: Timestamp) -> impl Iterator<Item = PrekeyId> {
        self.keys
            .values()
            .filter(move |key| now.since(key.made) >= PRIVATE_LIFETIME)
            .map(|key| key.id)
    }

    /// The oldest keys beyond the `keep` newest: what a bound on the store costs.
    #[must_use]
    pub fn surplus(&self, keep: usize) -> Vec<PrekeyId> {
        let mut keys: Vec<&Prekey> = self.keys.values().collect();
        keys.sort_unstable_by_key(|key| (core::cmp::Reverse(key.made), key.id));
        keys.into_iter().skip(keep).map(|key| key.id).collect()
    }

    /// The store without `ids`.
    #[must_use]
    pub fn without(&self, ids: &[PrekeyId]) -> Self {
        let mut store = self.clone();
        store.keys.retain(|id, _| !ids.contains(id));
        store
    }

    /// The current generation; [`PrekeyStore::restore`] needs it back.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Every key held.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Prekey> {
        self.keys.values()
    }

    /// Puts a store together again. To open one message, the rows that its prefix names are enough.
    ///
    /// # Errors
    /// [`StoredError`] when a row is not one of [`Prekey::to_bytes`], or two have one id.
    pub fn restore<B: AsRef<[u8]>>(
        generation: Generation,
        rows: impl IntoIterator<Item = B>,
    ) -> Result<Self, StoredError> {
        let mut keys = BTreeMap::new();
        for row in rows {
            let key = Prekey::from_bytes(row.as_ref())?;
            if keys.insert(key.id, key).is_some() {
                return Err(StoredError::Malformed);
            }
        }
        Ok(Self { generation, keys })
    }

    pub(crate) fn signed(&self, id: PrekeyId) -> Option<SecretKey> {
        match &self.keys.get(&id)?.secret {
            PrekeySecret::Signed(secret) => Some(SecretKey::from_bytes(secret)),
            PrekeySecret::OneTime(_) | PrekeySecret::Kem(..) => None,
        }
    }

    pub(crate) fn one_time(&self, id: PrekeyId) -> Option<SecretKey> {
        match &self.keys.get(&id)?.secret {
            PrekeySecret::OneTime(secret) => Some(SecretKey::from_bytes(secret)),
            PrekeySecret::Signed(_) | PrekeySecret::Kem(..) => None,
        }
    }

    pub(crate) fn kem(&self, id: PrekeyId) -> Option<(KemKind, DecapsulationKey)> {
        match &self.keys.get(&id)?.secret {
            PrekeySecret::Kem(kind, seed) => Some((*kind, DecapsulationKey::from_seed(seed))),
            PrekeySecret::Signed(_) | PrekeySecret::OneTime(_) => None,
        }
    }

    fn fill<R: CryptoRng + ?Sized>(
        &mut self,
        publisher: &Publisher<'_>,
        missing: Missing,
        now: Timestamp,
        rng: &mut R,
        added: &mut Vec<Prekey>,
    ) {
        for _ in 0..missing.one_time {
            added.push(self.add(PrekeySecret::one_time(rng), now, rng));
        }
        let kem = if publisher.has_kem() { missing.kem } else { 0 };
        for _ in 0..kem {
            added.push(self.add(PrekeySecret::kem(KemKind::OneTime, rng), now, rng));
        }
    }

    fn add<R: CryptoRng + ?Sized>(&mut self, secret: PrekeySecret, now: Timestamp, rng: &mut R) -> Prekey {
        let id = loop {
            match PrekeyId::new(rng.next_u32()) {
                Some(id) if !self.keys.contains_key(&id) => break id,
                Some(_) | None => {}
            }
        };
        let key = Prekey {
            id,
            generation: self.generation,
            made: now,
            secret,
        };
        self.keys.insert(id, key.clone());
        key
    }

    fn publish(self, publisher: &Publisher<'_>, added: Vec<Prekey>) -> NewPrekeys {
        let owner = PrekeyOwner {
            user: publisher.user,
            device: publisher.device,
            generation: self.generation,
        };
        let (mut signed, mut last_resort) = (None, None);
        let (mut kem, mut one_time) = (Vec::new(), Vec::new());
        for key in &added {
            let not_after = key.made.saturating_add(PUBLIC_LIFETIME);
            match &key.secret {
                PrekeySecret::Signed(secret) => {
                    let public = *SecretKey::from_bytes(secret).public();
                    signed = Some(SignedPrekey::sign(
                        publisher.dsk,
                        &owner,
                        key.id,
                        not_after,
                        public,
                    ));
                }
                PrekeySecret::OneTime(secret) => one_time.push(OneTimePrekey {
                    id: key.id,
                    public: *SecretKey::from_bytes(secret).public(),
                }),
                PrekeySecret::Kem(kind, seed) => {
                    let public = DecapsulationKey::from_seed(seed).encapsulation_key();
                    let prekey = KemPrekey::sign(publisher.dsk, &owner, *kind, key.id, not_after, public);
                    match kind {
                        KemKind::OneTime => kem.push(prekey),
                        KemKind::LastResort => last_resort = Some(prekey),
                    }
                }
            }
        }
        let standing = signed.map(|signed| StandingPrekeys { signed, last_resort });
        let upload = PublicPrekeys {
            generation: self.generation,
            standing,
            kem,
            one_time,
        };
        NewPrekeys {
            store: self,
            added,
            upload,
        }
    }
}

impl Prekey {
    const VERSION: u8 = 1;

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> PrekeyId {
        self.id
    }

    /// `ver(1)=1 | type(1) | id(4) | generation(8) | made(8) | secret(32; 64 for a KEM seed)`. Type 1 signed,
    /// 2 KEM one-time, 3 KEM last resort, 4 one-time.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, secret): (u8, &[u8]) = match &self.secret {
            PrekeySecret::Signed(secret) => (1, secret.expose()),
            PrekeySecret::Kem(kind, seed) => (kind.prekey_type().to_byte(), seed.expose()),
            PrekeySecret::OneTime(secret) => (4, secret.expose()),
        };
        [
            [Self::VERSION, kind].as_slice(),
            &self.id.to_u32().to_be_bytes(),
            &self.generation.0.to_be_bytes(),
            &self.made.as_millis().to_be_bytes(),
            secret,
        ]
        .concat()
    }

    /// Reads [`Prekey::to_bytes`].
    ///
    /// # Errors
    /// [`StoredError`] for another version, type or length, or a zero id.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoredError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != Self::VERSION {
            return Err(StoredError::UnknownVersion);
        }
        let kind = reader.u8()?;
        let id = PrekeyId::new(reader.u32()?).ok_or(StoredError::Malformed)?;
        let generation = Generation(reader.u64()?);
        let made = Timestamp::from_millis(reader.u64()?);
        let secret = match kind {
            1 => PrekeySecret::Signed(Secret::new(reader.array()?)),
            2 => PrekeySecret::Kem(KemKind::OneTime, Secret::new(reader.array()?)),
            3 => PrekeySecret::Kem(KemKind::LastResort, Secret::new(reader.array()?)),
            4 => PrekeySecret::OneTime(Secret::new(reader.array()?)),
            _ => return Err(StoredError::Malformed),
        };
        reader.finish()?;
        Ok(Self {
            id,
            generation,
            made,
            secret,
        })
    }
}

impl PrekeySecret {
    fn signed<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self::Signed(SecretKey::generate(rng).to_bytes())
    }

    fn one_time<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self::OneTime(SecretKey::generate(rng).to_bytes())
    }

    fn kem<R: CryptoRng + ?Sized>(kind: KemKind, rng: &mut R) -> Self {
        let mut seed = [0; SEED_BYTES];
        rng.fill_bytes(&mut seed);
        Self::Kem(kind, Secret::new(seed))
    }
}

impl Publisher<'_> {
    const fn has_kem(&self) -> bool {
        self.capabilities.contains(Capabilities::PQ)
    }
}

#[derive(Clone, Copy)]
struct Missing {
    one_time: usize,
    kem: usize,
}

impl Missing {
    const ALL: Self = Self {
        one_time: ONE_TIME_PREKEYS,
        kem: ONE_TIME_KEM_PREKEYS,
    };
}

/// Nothing until the pool falls below its share, then everything.
const fn missing(in_stock: usize, full: usize) -> usize {
    if in_stock * 100 < full * REFILL_PERCENT {
        full - in_stock
    } else {
        0
    }
}
