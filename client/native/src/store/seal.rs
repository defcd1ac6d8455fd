//! How one record is sealed.
//!
//! `salt(32, random) | AEAD(key, nonce, aad table(1) | key, value)` with
//! `key(32) | nonce(12) = HKDF(salt, store key, L("UNH1/store"), 44)`: every write has a key and a nonce of its own, so
//! neither the number of writes nor a store that was set back ever brings two values under one pair.
//!
//! The AEAD is ChaCha20-Poly1305 (RFC 8439) by aws-lc, which is here for TLS: a step seals thousands of small records, and
//! the portable one takes several times as long for each.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use getrandom::{SysRng, rand_core::TryRng as _};
use unhidra_chain::label;
use unhidra_client::store::{StoreError, Table};
use unhidra_crypto::{
    aead::{self, NONCE_BYTES, TAG_BYTES},
    kdf::hkdf,
};
use unhidra_types::Secret;

const SALT_BYTES: usize = 32;
/// Salts that are drawn at first, and at most, at once.
const FIRST_SALTS: usize = 4;
const MOST_SALTS: usize = 64;
/// Bytes that sealing adds to a record.
pub const SEALING_BYTES: usize = SALT_BYTES + TAG_BYTES;

/// The key that every record of one store is sealed under.
pub(super) struct StoreKey(Secret<32>);

impl StoreKey {
    pub(super) const fn new(bytes: Secret<32>) -> Self {
        Self(bytes)
    }

    pub(super) fn draw() -> Result<Self, getrandom::Error> {
        random().map(|bytes| Self(Secret::new(bytes)))
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        self.0.expose()
    }

    pub(super) fn seal(&self, salts: &mut Salts, place: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let salt = salts
            .draw()
            .map_err(|error| StoreError::Backend(Box::new(error)))?;
        let (key, nonce) = self.derive(&salt);
        let mut record = Vec::with_capacity(SEALING_BYTES + value.len());
        record.extend(salt);
        record.extend(value);
        let tag = cipher(&key)
            .and_then(|cipher| {
                let sealed = record.get_mut(SALT_BYTES..).unwrap_or_default();
                let nonce = Nonce::assume_unique_for_key(nonce);
                cipher.seal_in_place_separate_tag(nonce, Aad::from(place), sealed)
            })
            .map_err(|error| StoreError::Backend(Box::new(error)))?;
        record.extend(tag.as_ref());
        Ok(record)
    }

    pub(super) fn open(&self, table: Table, place: &[u8], record: &[u8]) -> Result<Vec<u8>, StoreError> {
        let (salt, sealed) = record.split_first_chunk().ok_or(StoreError::Damaged(table))?;
        let (key, nonce) = self.derive(salt);
        let mut value = sealed.to_vec();
        let length = cipher(&key)
            .and_then(|cipher| {
                let nonce = Nonce::assume_unique_for_key(nonce);
                let opened = cipher.open_in_place(nonce, Aad::from(place), &mut value)?;
                Ok(opened.len())
            })
            .map_err(|_forged| StoreError::Damaged(table))?;
        value.truncate(length);
        Ok(value)
    }

    fn derive(&self, salt: &[u8; SALT_BYTES]) -> (Secret<32>, [u8; NONCE_BYTES]) {
        split(hkdf::<44>(salt, &[self.0.expose()], &[label!("UNH1/store")]).expose())
    }
}

fn cipher(key: &Secret<32>) -> Result<LessSafeKey, aws_lc_rs::error::Unspecified> {
    UnboundKey::new(&CHACHA20_POLY1305, key.expose()).map(LessSafeKey::new)
}

/// Salts of one transaction, drawn from the operating system several at a time: asking costs more than the bytes do. They
/// are not kept longer, so that a copy of this process, or of its machine, does not draw the same.
pub(super) struct Salts {
    drawn: Vec<u8>,
    next_draw: usize,
}

impl Salts {
    pub(super) const fn new() -> Self {
        Self {
            drawn: Vec::new(),
            next_draw: FIRST_SALTS,
        }
    }

    fn draw(&mut self) -> Result<[u8; SALT_BYTES], getrandom::Error> {
        loop {
            if let Some((rest, salt)) = self.drawn.split_last_chunk() {
                let (left, salt) = (rest.len(), *salt);
                self.drawn.truncate(left);
                return Ok(salt);
            }
            let mut drawn = vec![0; self.next_draw * SALT_BYTES];
            SysRng.try_fill_bytes(&mut drawn)?;
            self.drawn = drawn;
            self.next_draw = MOST_SALTS.min(self.next_draw * 4);
        }
    }
}

/// A key and nonce for one sealing.
pub(super) fn derive(
    secret: &Secret<32>,
    salt: &[u8; SALT_BYTES],
    label: &[u8],
) -> (aead::Key, [u8; NONCE_BYTES]) {
    let okm = hkdf::<44>(salt, &[secret.expose()], &[label]);
    let (key, nonce) = split(okm.expose());
    (aead::Key::new(key), nonce)
}

fn split(okm: &[u8; 44]) -> (Secret<32>, [u8; NONCE_BYTES]) {
    let mut key = [0; 32];
    let mut nonce = [0; NONCE_BYTES];
    key.copy_from_slice(&okm[..32]);
    nonce.copy_from_slice(&okm[32..]);
    (Secret::new(key), nonce)
}

/// Random bytes of the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes)
}

/// Which record it is, to which its sealing is bound: `table(1) | key`.
pub(super) fn place(table: Table, key: &[u8]) -> Vec<u8> {
    let mut place = Vec::with_capacity(1 + key.len());
    place.push(table.number());
    place.extend(key);
    place
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_record_is_sealed_as_the_format_says() {
        let key = StoreKey::draw().unwrap();
        let place = place(Table::Messages, b"key");
        let mut record = key.seal(&mut Salts::new(), &place, b"value").unwrap();
        assert_eq!(record.len(), SEALING_BYTES + 5);
        let (salt, sealed) = record.split_first_chunk().unwrap();
        let (aead, nonce) = derive(&key.0, salt, label!("UNH1/store"));
        assert_eq!(aead.open(&nonce, &place, sealed).unwrap(), b"value");
        assert_eq!(key.open(Table::Messages, &place, &record).unwrap(), b"value");
        for index in 0..record.len() {
            record[index] ^= 1;
            assert!(key.open(Table::Messages, &place, &record).is_err());
            record[index] ^= 1;
        }
        assert!(key.open(Table::Messages, &place, &record[..40]).is_err());
    }

    #[test]
    fn no_salt_is_given_twice() {
        let mut salts = Salts::new();
        let drawn: HashSet<[u8; SALT_BYTES]> = (0..1_000).map(|_| salts.draw().unwrap()).collect();
        assert_eq!(drawn.len(), 1_000);
        assert!(!drawn.contains(&[0; SALT_BYTES]));
    }
}
