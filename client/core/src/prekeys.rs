//! Own prekeys: made and stored here first, then uploaded; replaced when the server's word does not fit.
//!
//! An upload is kept until the server has confirmed it, so a lost answer repeats the same keys instead of making more.

use std::time::Duration;

use unhidra_chain::{
    codec::{Malformed, Reader},
    prekey::{Generation, KemPrekey, OneTimePrekey, PrekeyId, SignedPrekey},
};
use unhidra_pair::{
    PrekeyPrefix, PrekeyStore, Publisher,
    prekeys::{NewPrekeys, Prekey, StandingPrekeys, Stock},
};
use unhidra_types::{ConversationId, Timestamp};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    rest,
};

use crate::{
    effects::Need,
    identity::CAPABILITIES,
    record::{Record, read_bytes, write_bytes},
    security::{SecurityEvent, Suspicion},
    step::Step,
    store::{KeyRange, Order, StoreError, Table, Transaction},
};

/// Counts the rows of [`Table::SeenKeys`].
pub(crate) const SEEN_KEYS: &str = "seen keys";
/// The number of the current set.
const GENERATION: &str = "prekey generation";
/// The upload that the server has not confirmed.
const PENDING: &[u8] = b"pending prekeys";
/// The signed and last-resort prekey of the current set, which every upload repeats.
const STANDING: &[u8] = b"standing prekeys";
/// Private halves kept: every set of [`unhidra_pair::prekeys::PRIVATE_LIFETIME`], and more; the oldest go first.
const MAX_PREKEYS: usize = 4_096;
/// When the set was last replaced because of what the server said.
const REPLACED_AT: &str = "prekeys replaced";
/// The server's word alone replaces a set at most once in this time.
const REPLACING_PAUSE: Duration = Duration::from_secs(3_600);
/// How far the server's generation may be above this device's, which was set back: more sets than it can have made.
const MAX_GENERATION_LEAP: u64 = 1 << 20;

/// Public prekeys on their way to the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Upload {
    generation: Generation,
    standing: StandingPrekeys,
    kem: Vec<KemPrekey>,
    one_time: Vec<OneTimePrekey>,
}

impl Step<'_> {
    /// Makes what the server lacks, by its own word of what it has.
    pub(crate) fn stock(&mut self, listed: &rest::Stock) -> Result<(), StoreError> {
        if Upload::load_pending(self.tx)?.is_some() {
            self.effects.needs.insert(Need::UploadPrekeys);
            return Ok(());
        }
        let store = self.prekeys()?;
        let in_stock: Option<Vec<PrekeyId>> = listed
            .one_time
            .iter()
            .chain(&listed.one_time_kem)
            .map(|id| PrekeyId::new(*id))
            .collect();
        // A zero id was never uploaded: the server's word is worth nothing.
        let stock = in_stock.map_or(Stock::Restored, |ids| {
            store.compare(Generation(listed.generation), &ids)
        });
        let publisher = Publisher {
            user: self.me.user,
            device: self.me.device,
            dsk: &self.me.dsk,
            capabilities: CAPABILITIES,
        };
        let is_old = store.replacement_due(self.now);
        if stock == Stock::Restored && !is_old && !self.may_replace()? {
            return Ok(());
        }
        let made = if stock == Stock::Restored || is_old {
            // Above whatever the server has, so that it takes the set.
            let own = store.generation().0;
            let floor = match listed.generation.checked_sub(own) {
                None => own,
                Some(leap) if leap <= MAX_GENERATION_LEAP => listed.generation,
                Some(_) => {
                    self.doubt_stock()?;
                    own
                }
            };
            let store = PrekeyStore::restore(Generation(floor), store.keys().map(Prekey::to_bytes))
                .map_err(|_| StoreError::Damaged(Table::Prekeys))?;
            Some(store.replace(&publisher, self.now, self.rng))
        } else {
            store.refill(&stock, &publisher, self.now, self.rng)
        };
        if let Some(made) = made {
            self.keep_prekeys(&made)?;
            self.effects.needs.insert(Need::UploadPrekeys);
        }
        Ok(())
    }

    /// Whether the server's word may replace the set now; if so, the next time is later.
    fn may_replace(&mut self) -> Result<bool, StoreError> {
        let last = Timestamp::from_millis(self.number(REPLACED_AT)?);
        let may_replace = last == Timestamp::EPOCH || self.now.since(last) >= REPLACING_PAUSE;
        if may_replace {
            self.set_number(REPLACED_AT, self.now.as_millis());
        }
        Ok(may_replace)
    }

    /// A generation that this device can't have reached: believed once, it would leave none for the sets to come.
    fn doubt_stock(&mut self) -> Result<(), StoreError> {
        self.log(&SecurityEvent {
            at: self.now,
            reason: Suspicion::ImpossibleStock,
            sender: self.me.user,
            device: self.me.device,
            conversation: ConversationId::CONTROL,
            seq: 0,
        })
    }

    /// Forces a new set under the next generation: after a rollback of this device's store.
    pub(crate) fn replace_prekeys(&mut self) -> Result<(), StoreError> {
        self.tx.delete(Table::Identity, PENDING)?;
        self.effects.needs.insert(Need::Stock);
        self.set_number(REPLACED_AT, 0);
        // Keys that a message may have spent in the lost future must not be compared with the server's stock.
        let generation = self.number(GENERATION)?;
        self.set_number(GENERATION, generation.saturating_add(1));
        Ok(())
    }

    fn keep_prekeys(&mut self, made: &NewPrekeys) -> Result<(), StoreError> {
        for prekey in &made.added {
            self.tx.put(
                Table::Prekeys,
                &prekey.id().to_u32().to_be_bytes(),
                &prekey.to_bytes(),
            )?;
        }
        for id in made.store.surplus(MAX_PREKEYS) {
            self.tx.delete(Table::Prekeys, &id.to_u32().to_be_bytes())?;
        }
        let standing = match &made.upload.standing {
            Some(standing) => standing.clone(),
            None => Upload::load(self.tx, STANDING)?
                .map(|upload| upload.standing)
                .ok_or(StoreError::Damaged(Table::Identity))?,
        };
        let mut upload = Upload {
            generation: made.upload.generation,
            standing,
            kem: Vec::new(),
            one_time: Vec::new(),
        };
        upload.save(self.tx, STANDING)?;
        upload.kem.clone_from(&made.upload.kem);
        upload.one_time.clone_from(&made.upload.one_time);
        upload.save(self.tx, PENDING)?;
        self.set_number(GENERATION, made.store.generation().0);
        Ok(())
    }

    /// The server has the pending upload.
    pub(crate) fn uploaded(&mut self, generation: u64) -> Result<(), StoreError> {
        let confirmed =
            Upload::load_pending(self.tx)?.is_some_and(|upload| upload.generation.0 == generation);
        if confirmed {
            self.tx.delete(Table::Identity, PENDING)?;
        }
        Ok(())
    }

    /// Erases private halves that are past their time, and what was remembered with them.
    pub(crate) fn expire_prekeys(&mut self) -> Result<(), StoreError> {
        let dead: Vec<PrekeyId> = self.prekeys()?.dead(self.now).collect();
        for id in &dead {
            self.tx.delete(Table::Prekeys, &id.to_u32().to_be_bytes())?;
        }
        if dead.is_empty() {
            return Ok(());
        }
        let mut rows = self.number(SEEN_KEYS)?;
        let seen = self
            .tx
            .scan(Table::SeenKeys, &KeyRange::all(), Order::Ascending, usize::MAX)?;
        for row in seen {
            if dead.iter().any(|id| id.to_u32().to_be_bytes() == *row.value) {
                self.tx.delete(Table::SeenKeys, &row.key)?;
                rows = rows.saturating_sub(1);
            }
        }
        self.set_number(SEEN_KEYS, rows);
        Ok(())
    }

    /// Whether the counts that the server states call for a look at its stock.
    pub(crate) fn stock_is_due(
        &mut self,
        stated: unhidra_wire::frame::PrekeyStock,
    ) -> Result<bool, StoreError> {
        use unhidra_types::limits::{ONE_TIME_KEM_PREKEYS, ONE_TIME_PREKEYS};
        let is_low = |left: u32, full: usize| {
            usize::try_from(left).is_ok_and(|left| left * 100 < full * unhidra_pair::prekeys::REFILL_PERCENT)
        };
        Ok(stated.generation != self.number(GENERATION)?
            || is_low(stated.one_time, ONE_TIME_PREKEYS)
            || is_low(stated.one_time_kem, ONE_TIME_KEM_PREKEYS)
            || Upload::load_pending(self.tx)?.is_some()
            || self.prekeys()?.replacement_due(self.now))
    }

    fn prekeys(&mut self) -> Result<PrekeyStore, StoreError> {
        let rows = self
            .tx
            .scan(Table::Prekeys, &KeyRange::all(), Order::Ascending, usize::MAX)?;
        let generation = Generation(self.number(GENERATION)?);
        PrekeyStore::restore(generation, rows.iter().map(|row| &row.value))
            .map_err(|_malformed| StoreError::Damaged(Table::Prekeys))
    }
}

/// Whether this device ever made prekeys: it does once the server has its certificate.
pub(crate) fn were_made(tx: &mut dyn Transaction) -> Result<bool, StoreError> {
    tx.get(Table::Numbers, GENERATION.as_bytes())
        .map(|generation| generation.is_some())
}

/// The private halves that a first message names, if they are held.
pub(crate) fn named_by(tx: &mut dyn Transaction, prefix: &PrekeyPrefix) -> Result<PrekeyStore, StoreError> {
    let ids = [
        Some(prefix.spk_id),
        prefix.opk_id,
        prefix.kem.as_ref().map(|kem| kem.id),
    ];
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids.into_iter().flatten() {
        rows.extend(tx.get(Table::Prekeys, &id.to_u32().to_be_bytes())?);
    }
    rows.sort_unstable();
    // A message that names one key twice finds it once.
    rows.dedup();
    PrekeyStore::restore(Generation(0), rows).map_err(|_malformed| StoreError::Damaged(Table::Prekeys))
}

impl Upload {
    pub(crate) fn load_pending(tx: &mut dyn Transaction) -> Result<Option<Self>, StoreError> {
        Self::load(tx, PENDING)
    }

    /// The body of the request, from a device whose newest certificate has this hash.
    pub(crate) fn to_rest(&self, cert_hash: [u8; 32]) -> rest::UploadPrekeys {
        let kem = |prekey: &KemPrekey| rest::SignedPrekey {
            id: prekey.id.to_u32(),
            not_after: prekey.not_after,
            public: Base64(prekey.public.to_bytes().to_vec()),
            signature: Base64Array(prekey.signature),
        };
        let signed = &self.standing.signed;
        rest::UploadPrekeys {
            generation: self.generation.0,
            cert_hash: Base64Array(cert_hash),
            signed: rest::SignedPrekey {
                id: signed.id.to_u32(),
                not_after: signed.not_after,
                public: Base64(signed.public.as_bytes().to_vec()),
                signature: Base64Array(signed.signature),
            },
            last_resort: self.standing.last_resort.as_ref().map(kem),
            one_time: self
                .one_time
                .iter()
                .map(|prekey| rest::OneTimePrekey {
                    id: prekey.id.to_u32(),
                    public: Base64Array(*prekey.public.as_bytes()),
                })
                .collect(),
            one_time_kem: self.kem.iter().map(kem).collect(),
        }
    }
}

impl Record for Upload {
    const TABLE: Table = Table::Identity;

    /// `generation(8) signed last_resort one_time kem`, each a byte string; lists are their items in a row.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.generation.0.to_be_bytes());
        write_bytes(out, &self.standing.signed.to_bytes());
        let last_resort = self.standing.last_resort.iter().flat_map(KemPrekey::to_bytes);
        write_bytes(out, &last_resort.collect::<Vec<_>>());
        let one_time = self.one_time.iter().flat_map(OneTimePrekey::to_bytes);
        write_bytes(out, &one_time.collect::<Vec<_>>());
        let kem = self.kem.iter().flat_map(KemPrekey::to_bytes);
        write_bytes(out, &kem.collect::<Vec<_>>());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let generation = Generation(reader.u64()?);
        let signed = SignedPrekey::parse(read_bytes(reader)?)?;
        let mut last_resort = read_list(reader, KemPrekey::parse, KemPrekey::BYTES)?;
        let standing = StandingPrekeys {
            signed,
            last_resort: last_resort.pop(),
        };
        Ok(Self {
            generation,
            standing,
            one_time: read_list(reader, OneTimePrekey::parse, OneTimePrekey::BYTES)?,
            kem: read_list(reader, KemPrekey::parse, KemPrekey::BYTES)?,
        })
    }
}

fn read_list<T>(
    reader: &mut Reader<'_>,
    parse: impl Fn(&[u8]) -> Result<T, Malformed>,
    size: usize,
) -> Result<Vec<T>, Malformed> {
    read_bytes(reader)?.chunks(size).map(parse).collect()
}
