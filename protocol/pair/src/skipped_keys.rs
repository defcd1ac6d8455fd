//! Skip store: the keys of messages that have not come yet.
//!
//! Bounds: [`MAX_STORED_SKIPPED_KEYS`] keys, of the current chain and [`MAX_OLD_CHAINS`] older ones, each for
//! [`SKIPPED_KEY_LIFETIME`]. The oldest go first, and a header key goes with the last key of its chain.

use alloc::{collections::VecDeque, vec::Vec};

use unhidra_chain::codec::Reader;
use unhidra_types::{
    Secret, Timestamp,
    limits::{MAX_OLD_CHAINS, MAX_STORED_SKIPPED_KEYS, SKIPPED_KEY_LIFETIME},
};

use crate::{chain_key::MessageKey, error::StoredError, header::HeaderKey};

/// `(HK, n) -> (mk, time)`, oldest chain first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SkippedKeys(Vec<SkippedChain>);

/// Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SkippedChain {
    header_key: HeaderKey,
    keys: VecDeque<SkippedKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SkippedKey {
    n: u32,
    stored: Timestamp,
    key: MessageKey,
}

impl SkippedKey {
    fn is_alive(&self, now: Timestamp) -> bool {
        now < self.stored.saturating_add(SKIPPED_KEY_LIFETIME)
    }
}

impl SkippedKeys {
    /// Keys held.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|chain| chain.keys.len()).sum()
    }

    /// Header keys of the chains other than `current`: at most [`MAX_OLD_CHAINS`].
    pub(crate) fn older_header_keys(&self, current: Option<&HeaderKey>) -> impl Iterator<Item = &HeaderKey> {
        self.0
            .iter()
            .rev()
            .map(|chain| &chain.header_key)
            .filter(move |key| Some(*key) != current)
    }

    /// The key of position `n` under `header_key`, unless it is gone.
    pub(crate) fn find(&self, header_key: &HeaderKey, n: u32, now: Timestamp) -> Option<&MessageKey> {
        let chain = self.0.iter().find(|chain| chain.header_key == *header_key)?;
        let found = chain.keys.iter().find(|key| key.n == n)?;
        found.is_alive(now).then_some(&found.key)
    }

    /// Forgets the key of position `n` under `header_key`.
    pub(crate) fn remove(&mut self, header_key: &HeaderKey, n: u32) {
        for chain in &mut self.0 {
            if chain.header_key == *header_key {
                chain.keys.retain(|key| key.n != n);
            }
        }
        self.0.retain(|chain| !chain.keys.is_empty());
    }

    /// Keeps `keys` under `header_key`, the newest chain.
    pub(crate) fn insert(&mut self, header_key: &HeaderKey, keys: Vec<(u32, MessageKey)>, now: Timestamp) {
        if keys.is_empty() {
            return;
        }
        let keys = keys
            .into_iter()
            .map(|(n, key)| SkippedKey { n, stored: now, key });
        match self.0.last_mut() {
            Some(chain) if chain.header_key == *header_key => chain.keys.extend(keys),
            _ => self.0.push(SkippedChain {
                header_key: header_key.clone(),
                keys: keys.collect(),
            }),
        }
    }

    /// Enforces every bound.
    pub(crate) fn prune(&mut self, current: Option<&HeaderKey>, now: Timestamp) {
        for chain in &mut self.0 {
            chain.keys.retain(|key| key.is_alive(now));
        }
        self.0.retain(|chain| !chain.keys.is_empty());
        let old = self.older_header_keys(current).count();
        let excess_chains = old.saturating_sub(MAX_OLD_CHAINS);
        self.0.drain(..excess_chains);
        let mut excess = self.len().saturating_sub(MAX_STORED_SKIPPED_KEYS);
        for chain in &mut self.0 {
            let dropped = excess.min(chain.keys.len());
            chain.keys.drain(..dropped);
            excess -= dropped;
        }
        self.0.retain(|chain| !chain.keys.is_empty());
    }

    /// `chains(1)`, then per chain `HK(32) | keys(2)` and per key `n(4) | time(8) | mk(32)`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        for chain in &self.0 {
            out.extend_from_slice(chain.header_key.expose());
            out.extend_from_slice(&u16::try_from(chain.keys.len()).unwrap_or(u16::MAX).to_be_bytes());
            for key in &chain.keys {
                out.extend_from_slice(&key.n.to_be_bytes());
                out.extend_from_slice(&key.stored.as_millis().to_be_bytes());
                out.extend_from_slice(key.key.expose());
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, StoredError> {
        let mut chains = Vec::new();
        for _ in 0..reader.u8()? {
            let header_key = HeaderKey::new(Secret::new(reader.array()?));
            let mut keys = VecDeque::new();
            for _ in 0..reader.u16()? {
                keys.push_back(SkippedKey {
                    n: reader.u32()?,
                    stored: Timestamp::from_millis(reader.u64()?),
                    key: MessageKey::new(Secret::new(reader.array()?)),
                });
            }
            if keys.is_empty() {
                return Err(StoredError::Malformed);
            }
            chains.push(SkippedChain { header_key, keys });
        }
        let skipped = Self(chains);
        if skipped.0.len() > MAX_OLD_CHAINS + 1 || skipped.len() > MAX_STORED_SKIPPED_KEYS {
            return Err(StoredError::Malformed);
        }
        Ok(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn header_key(byte: u8) -> HeaderKey {
        HeaderKey::new(Secret::new([byte; 32]))
    }

    fn keys(range: core::ops::Range<u32>) -> Vec<(u32, MessageKey)> {
        range
            .map(|n| (n, MessageKey::new(Secret::new([7; 32]))))
            .collect()
    }

    /// Invariant 9.
    #[test]
    fn the_oldest_keys_go_when_the_store_is_full() {
        let mut store = SkippedKeys::default();
        store.insert(&header_key(1), keys(0..1_000), NOW);
        store.insert(&header_key(2), keys(0..1_000), NOW);
        store.insert(&header_key(3), keys(0..10), NOW);
        store.prune(Some(&header_key(3)), NOW);
        assert_eq!(store.len(), MAX_STORED_SKIPPED_KEYS);
        assert!(store.find(&header_key(1), 9, NOW).is_none());
        assert!(store.find(&header_key(1), 10, NOW).is_some());
        assert!(store.find(&header_key(3), 0, NOW).is_some());
    }

    /// Invariant 3.
    #[test]
    fn a_fifth_older_chain_takes_the_first_one_with_it() {
        let mut store = SkippedKeys::default();
        for chain in 1..=6 {
            store.insert(&header_key(chain), keys(0..1), NOW);
            store.prune(Some(&header_key(chain)), NOW);
        }
        assert!(store.find(&header_key(1), 0, NOW).is_none());
        assert_eq!(
            store.older_header_keys(Some(&header_key(6))).count(),
            MAX_OLD_CHAINS
        );
    }

    /// Invariant 3.
    #[test]
    fn a_key_dies_at_its_age_and_takes_its_header_key_along() {
        let mut store = SkippedKeys::default();
        store.insert(&header_key(1), keys(0..1), NOW);
        let last_moment = NOW.saturating_add(SKIPPED_KEY_LIFETIME - Duration::from_millis(1));
        assert!(store.find(&header_key(1), 0, last_moment).is_some());
        let dead = NOW.saturating_add(SKIPPED_KEY_LIFETIME);
        assert!(store.find(&header_key(1), 0, dead).is_none());
        store.prune(None, dead);
        assert_eq!(store, SkippedKeys::default());
    }

    fn read_back(store: &SkippedKeys) -> Result<SkippedKeys, StoredError> {
        let mut out = Vec::new();
        store.write(&mut out);
        SkippedKeys::read(&mut Reader::new(&out))
    }

    /// Invariants 9 and 15.
    #[test]
    fn a_stored_form_beyond_a_bound_or_with_an_empty_chain_is_refused() {
        let mut store = SkippedKeys::default();
        store.insert(&header_key(1), keys(0..2_000), NOW);
        assert_eq!(read_back(&store), Ok(store.clone()));
        store.insert(&header_key(1), keys(2_000..2_001), NOW);
        assert_eq!(read_back(&store), Err(StoredError::Malformed));

        let mut store = SkippedKeys::default();
        for chain in 0..=5 {
            store.insert(&header_key(chain), keys(0..1), NOW);
        }
        assert_eq!(read_back(&store), Err(StoredError::Malformed));

        let empty = SkippedChain {
            header_key: header_key(1),
            keys: VecDeque::new(),
        };
        assert_eq!(
            read_back(&SkippedKeys([empty].into())),
            Err(StoredError::Malformed)
        );
    }
}
