//! A map that remembers whoever came lately, in bounded memory.

use std::{collections::HashMap, hash::Hash};

/// Remembers between `capacity` and twice as many keys: when that many new ones have come, those that have not come
/// again since the time before are forgotten at once. So memory is bounded, a look costs the same however many there
/// are, and whoever keeps coming is never forgotten.
#[derive(Debug)]
pub struct Recent<K, V> {
    capacity: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Copy + Eq + Hash, V: Default> Recent<K, V> {
    /// An empty map.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// What is remembered of `key`, or the default if it is new or was forgotten.
    pub fn entry(&mut self, key: K) -> &mut V {
        if !self.young.contains_key(&key) && self.young.len() >= self.capacity {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        let old = &mut self.old;
        self.young
            .entry(key)
            .or_insert_with(|| old.remove(&key).unwrap_or_default())
    }

    /// What is remembered of `key`, if anything. Whoever is looked for and not found takes nobody's place.
    pub fn find(&mut self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        *self.entry(*key) = value.clone();
        Some(value)
    }

    /// Keys that are remembered, at most twice the capacity.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
