//! How one record is sealed.
//!
//! `salt(32, random) | AEAD(key, nonce, aad table(1) | key, value)` with
//! `key(32) | nonce(12) = HKDF(salt, store key, L("UNH1/store"), 44)`: every write has a key and a nonce of its own, so
//! neither the number of writes nor a store that was set back ever brings two values under one pair.
//!
//! The AEAD is ChaCha20-Poly1305 (RFC 8439).

use getrandom::{SysRng, rand_core::TryRng as _};
use unhidra_chain::label;
use unhidra_client::store::{StoreError, Table};
use unhidra_crypto::{
    aead::{self, NONCE_BYTES, TAG_BYTES},
    kdf::hkdf,
};
use unhidra_types::Secret;

use crate::edge::Drawn;

const SALT_BYTES: usize = 32;
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

    pub(super) fn seal(&self, salts: &mut Drawn, place: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let salt = salts
            .array()
            .map_err(|error| StoreError::Backend(Box::new(error)))?;
        let (key, nonce) = self.derive(&salt);
        let mut record = Vec::with_capacity(SEALING_BYTES + value.len());
        record.extend(salt);
        key.seal_onto(&mut record, &nonce, place, value)
            .map_err(|error| StoreError::Backend(Box::new(error)))?;
        Ok(record)
    }

    pub(super) fn open(&self, table: Table, place: &[u8], record: &[u8]) -> Result<Vec<u8>, StoreError> {
        let (salt, sealed) = record.split_first_chunk().ok_or(StoreError::Damaged(table))?;
        let (key, nonce) = self.derive(salt);
        key.open(&nonce, place, sealed)
            .map_err(|_forged| StoreError::Damaged(table))
    }

    fn derive(&self, salt: &[u8; SALT_BYTES]) -> (aead::Key, [u8; NONCE_BYTES]) {
        derive(&self.0, salt, label!("UNH1/store"))
    }
}

/// A key and nonce for one sealing.
pub(super) fn derive(
    secret: &Secret<32>,
    salt: &[u8; SALT_BYTES],
    label: &[u8],
) -> (aead::Key, [u8; NONCE_BYTES]) {
    let okm = hkdf::<44>(salt, &[secret.expose()], &[label]);
    let mut key = [0; 32];
    let mut nonce = [0; NONCE_BYTES];
    key.copy_from_slice(&okm.expose()[..32]);
    nonce.copy_from_slice(&okm.expose()[32..]);
    (aead::Key::new(Secret::new(key)), nonce)
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
    use super::*;

    #[test]
    fn a_record_is_sealed_as_the_format_says() {
        let key = StoreKey::draw().unwrap();
        let place = place(Table::Messages, b"key");
        let mut record = key.seal(&mut Drawn::new(), &place, b"value").unwrap();
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
}
