//! What opens a store: its key, wrapped under a passphrase or a key file.
//!
//! `wrapped_key = AEAD(key, nonce, aad lock(1) | memory_kib(4) | passes(4), store key)` with
//! `key | nonce = HKDF(salt, secret, L("UNH1/store/lock"), 44)`; the secret is Argon2id of the passphrase under the
//! same salt, or the 32 bytes of the key file, or the 32 bytes that the keyring keeps for that salt.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use argon2::{Algorithm, Argon2, Params, Version};
use rusqlite::{Connection, OptionalExtension as _, params};
use unhidra_chain::label;
use unhidra_types::Secret;
use zeroize::Zeroize as _;

use crate::keyring::{self, KeyringError};

use super::{
    OpenError,
    seal::{StoreKey, derive, random},
};

/// What a key file holds.
const KEY_BYTES: usize = 32;

/// What the owner opens the store with.
#[derive(Clone, Copy)]
pub enum Unlock<'a> {
    /// A passphrase, stretched with Argon2id.
    Passphrase {
        /// The text.
        passphrase: &'a str,
        /// What stretching costs when the store is made; an existing store names its own cost.
        cost: PassphraseCost,
    },
    /// A file of 32 random bytes that only its owner reads. It is made with the store.
    KeyFile(&'a Path),
    /// 32 random bytes in the keyring of the operating system. They are made with the store.
    Keyring {
        /// What people see in the keyring.
        label: &'a str,
    },
}

/// Where the secret that opens a store lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeptBy {
    /// In a file.
    KeyFile,
    /// In the keyring of the operating system.
    Keyring,
    /// In its owner's head.
    Passphrase,
}

/// What one try at a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    memory_kib: u32,
    passes: u32,
}

impl PassphraseCost {
    /// 64 MiB and 3 passes: about 0.2 s on a desktop processor.
    pub const INTERACTIVE: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
    };
    #[cfg(test)]
    pub(crate) const WEAK_FOR_TESTS: Self = Self {
        memory_kib: 64,
        passes: 1,
    };
}

/// The one row of the table `header`.
pub(super) struct Header {
    lock: Lock,
    salt: [u8; 32],
    wrapped_key: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    KeyFile,
    Keyring,
    Passphrase(PassphraseCost),
}

impl Header {
    /// Draws a store key and wraps it. A key file is made if there is none.
    pub(super) fn make(unlock: &Unlock<'_>) -> Result<(Self, StoreKey), OpenError> {
        let key = StoreKey::draw()?;
        let header = Self::wrap(&key, unlock)?;
        Ok((header, key))
    }

    pub(super) fn wrap(key: &StoreKey, unlock: &Unlock<'_>) -> Result<Self, OpenError> {
        let salt = random()?;
        let (lock, secret) = match *unlock {
            Unlock::Passphrase { passphrase, cost } => {
                (Lock::Passphrase(cost), stretch(passphrase, &salt, cost))
            }
            Unlock::KeyFile(path) => (Lock::KeyFile, read_or_make(path)?),
            Unlock::Keyring { label } => {
                let secret = Secret::new(random()?);
                keyring::keep(&salt, label, &secret)?;
                (Lock::Keyring, secret)
            }
        };
        let (aead, nonce) = derive(&secret, &salt, label!("UNH1/store/lock"));
        #[expect(
            clippy::expect_used,
            reason = "the plaintext has 32 bytes, far below the cipher's limit"
        )]
        let wrapped_key = aead
            .seal(&nonce, &lock.aad(), key.as_bytes())
            .expect("32 bytes are not too long");
        Ok(Self {
            lock,
            salt,
            wrapped_key,
        })
    }

    /// The store key.
    pub(super) fn open(&self, unlock: &Unlock<'_>) -> Result<StoreKey, OpenError> {
        let (secret, refusal) = match (self.lock, *unlock) {
            (Lock::Passphrase(cost), Unlock::Passphrase { passphrase, .. }) => {
                (stretch(passphrase, &self.salt, cost), OpenError::WrongPassphrase)
            }
            (Lock::KeyFile, Unlock::KeyFile(path)) => (read(path)?, OpenError::WrongKeyFile),
            (Lock::Keyring, Unlock::Keyring { .. }) => {
                let secret = keyring::look_up(&self.salt)?;
                (secret, OpenError::Keyring(KeyringError::Damaged))
            }
            (Lock::Passphrase(_), _) => return Err(OpenError::OtherProtection("passphrase")),
            (Lock::KeyFile, _) => return Err(OpenError::OtherProtection("key file")),
            (Lock::Keyring, _) => return Err(OpenError::OtherProtection("key in the keyring")),
        };
        let (aead, nonce) = derive(&secret, &self.salt, label!("UNH1/store/lock"));
        match aead.open(&nonce, &self.lock.aad(), &self.wrapped_key) {
            Ok(mut key) => {
                let opened = Secret::try_from(key.as_slice()).map(StoreKey::new);
                key.zeroize();
                opened.map_err(|_wrong_length| refusal)
            }
            Err(_forged) => Err(refusal),
        }
    }

    /// Where the secret lies.
    pub(super) const fn kept_by(&self) -> KeptBy {
        match self.lock {
            Lock::KeyFile => KeptBy::KeyFile,
            Lock::Keyring => KeptBy::Keyring,
            Lock::Passphrase(_) => KeptBy::Passphrase,
        }
    }

    /// Deletes the secret from the keyring, if it lies there and opens nothing any more.
    pub(super) fn forget(&self) {
        if self.lock == Lock::Keyring
            && let Err(error) = keyring::forget(&self.salt)
        {
            // It opens nothing: leaving it costs one entry in a list.
            tracing::debug!(error = %error, "a key that opens nothing stays in the keyring");
        }
    }

    pub(super) fn insert(&self, tx: &Connection) -> rusqlite::Result<()> {
        let (lock, memory_kib, passes) = self.lock.numbers();
        tx.execute(
            "INSERT INTO header (lock, salt, memory_kib, passes, wrapped_key) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![lock, self.salt, memory_kib, passes, self.wrapped_key],
        )?;
        Ok(())
    }

    /// The header of an existing store; `None` when it is not one of ours.
    pub(super) fn select(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let row = connection
            .query_row(
                "SELECT lock, memory_kib, passes, salt, wrapped_key FROM header",
                (),
                |row| {
                    let lock = Lock::from_numbers(row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok((lock, row.get(3)?, row.get(4)?))
                },
            )
            .optional()?;
        Ok(row.and_then(|(lock, salt, wrapped_key)| {
            lock.map(|lock| Self {
                lock,
                salt,
                wrapped_key,
            })
        }))
    }
}

impl Lock {
    const fn numbers(self) -> (u8, u32, u32) {
        match self {
            Self::KeyFile => (1, 0, 0),
            Self::Keyring => (3, 0, 0),
            Self::Passphrase(cost) => (2, cost.memory_kib, cost.passes),
        }
    }

    fn from_numbers(lock: u8, memory_kib: u32, passes: u32) -> Option<Self> {
        match lock {
            1 => Some(Self::KeyFile),
            3 => Some(Self::Keyring),
            // Out of these bounds Argon2 refuses or never ends: the row was not written by us.
            2 if (64..=4 * 1024 * 1024).contains(&memory_kib) && (1..=64).contains(&passes) => {
                Some(Self::Passphrase(PassphraseCost { memory_kib, passes }))
            }
            _ => None,
        }
    }

    fn aad(self) -> [u8; 9] {
        let (lock, memory_kib, passes) = self.numbers();
        let mut aad = [lock; 9];
        aad[1..5].copy_from_slice(&memory_kib.to_be_bytes());
        aad[5..].copy_from_slice(&passes.to_be_bytes());
        aad
    }
}

fn stretch(passphrase: &str, salt: &[u8; 32], cost: PassphraseCost) -> Secret<32> {
    let mut out = [0; 32];
    #[expect(
        clippy::expect_used,
        reason = "the costs are constants or checked by Lock::from_numbers, the salt has 32 bytes"
    )]
    Params::new(cost.memory_kib, cost.passes, 1, Some(out.len()))
        .and_then(|params| {
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(
                passphrase.as_bytes(),
                salt,
                &mut out,
            )
        })
        .expect("cost and salt are within the bounds of Argon2");
    let secret = Secret::new(out);
    out.zeroize();
    secret
}

fn read_or_make(path: &Path) -> Result<Secret<32>, OpenError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(mut file) => {
            let mut key: [u8; 32] = random()?;
            let written = file.write_all(&key).and_then(|()| file.sync_all());
            let secret = Secret::new(key);
            key.zeroize();
            // A store must not name a key whose folder has not got it after a crash.
            written
                .and_then(|()| sync_folder(path))
                .map_err(|source| unreadable(path, source))?;
            Ok(secret)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(source) => Err(unreadable(path, source)),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn read(path: &Path) -> Result<Secret<32>, OpenError> {
    let mut file = File::open(path).map_err(|source| unreadable(path, source))?;
    let mode = file
        .metadata()
        .map_err(|source| unreadable(path, source))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(unreadable(
            path,
            io::Error::other("others may read it: set its mode to 0600"),
        ));
    }
    let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
    (&mut file)
        .take(KEY_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| unreadable(path, source))?;
    let secret = Secret::try_from(bytes.as_slice());
    bytes.zeroize();
    secret.map_err(|_wrong_length| {
        let what = format!("a key has {KEY_BYTES} bytes: it is not one, name another file by --key-file");
        unreadable(path, io::Error::new(io::ErrorKind::InvalidData, what))
    })
}

fn unreadable(path: &Path, source: io::Error) -> OpenError {
    OpenError::KeyFile {
        path: path.to_owned(),
        source,
    }
}
