//! Secret files: mode 0600, written whole or not at all.
//!
//! The sealed file is `"UNHKEYS1" | nonce(12) | AES-256-GCM(key, nonce, aad "UNHKEYS1", JSON)`; the sealing key is a
//! file of 32 bytes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use unhidra_types::Secret;
use zeroize::Zeroizing;

/// The largest secret file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;
const MAGIC: &[u8; 8] = b"UNHKEYS1";

/// Which of the server's key files are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisk {
    /// None: this would be the first start.
    Nothing,
    /// The sealing key, and nothing that it opens.
    SealingKeyAlone,
    /// The sealed keys, without the key that opens them.
    SealedAlone,
    /// Both, and one opens the other.
    Whole,
}

/// Why a secret file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading or writing failed.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("{path} may be read by others: set its mode to 0600")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It is not what it should be, or was sealed under another key.
    #[error("{path} is damaged, or sealed under another key")]
    Unusable {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a secret file; `None` when there is none.
///
/// # Errors
/// [`FileError`], also when others may read it.
pub fn read_secret(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    let failed = |source| FileError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        return Err(FileError::Exposed {
            path: path.to_owned(),
        });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(Some(bytes))
}

/// Writes a secret file: to a neighbour first, to disk, then into place.
///
/// # Errors
/// [`FileError::Io`].
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_atomically(path, bytes).map_err(|source| FileError::Io {
        path: path.to_owned(),
        source,
    })
}

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let neighbour = folder.join(name);
    match fs::remove_file(&neighbour) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&neighbour)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&neighbour, path)?;
    File::open(folder)?.sync_all()
}

/// Reads the sealing key; `None` when there is none.
pub(crate) fn read_sealing_key(path: &Path) -> Result<Option<Secret<32>>, FileError> {
    let Some(bytes) = read_secret(path)? else {
        return Ok(None);
    };
    Secret::try_from(bytes.as_slice())
        .map(Some)
        .map_err(|_| FileError::Unusable {
            path: path.to_owned(),
        })
}

/// Reads the sealing key, or makes one.
pub(crate) fn sealing_key(path: &Path, fresh: impl FnOnce() -> [u8; 32]) -> Result<Secret<32>, FileError> {
    match read_sealing_key(path)? {
        Some(key) => Ok(key),
        None => {
            let key = Secret::new(fresh());
            write_secret(path, key.expose())?;
            Ok(key)
        }
    }
}

/// Encrypts and authenticates `plain` for `purpose`: `nonce(12) | ciphertext | tag(16)`. `None` only when the
/// cryptographic library fails.
pub(crate) fn seal(key: &Secret<32>, purpose: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key.expose()).ok()?;
    let mut sealed = plain.to_vec();
    let nonce = key
        .seal_in_place_append_tag(Aad::from(purpose), &mut sealed)
        .ok()?;
    Some([nonce.as_ref().as_slice(), &sealed].concat())
}

/// Opens what [`seal`] made.
pub(crate) fn open(key: &Secret<32>, purpose: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key.expose()).ok()?;
    let (nonce, sealed) = sealed.split_first_chunk::<12>()?;
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let length = key
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(purpose),
            &mut buffer,
        )
        .ok()?
        .len();
    buffer.truncate(length);
    Some(buffer)
}

pub(crate) fn write_sealed(path: &Path, key: &Secret<32>, plain: &[u8]) -> Result<(), FileError> {
    let sealed = seal(key, MAGIC, plain).ok_or_else(|| FileError::Unusable {
        path: path.to_owned(),
    })?;
    write_secret(path, &[MAGIC, sealed.as_slice()].concat())
}

pub(crate) fn read_sealed(path: &Path, key: &Secret<32>) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    let Some(bytes) = read_secret(path)? else {
        return Ok(None);
    };
    let plain = bytes
        .strip_prefix(MAGIC)
        .and_then(|sealed| open(key, MAGIC, sealed));
    plain.map(Some).ok_or_else(|| FileError::Unusable {
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_secret(&path, b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_secret(&path).unwrap().unwrap().as_slice(), b"x");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read_secret(&path), Err(FileError::Exposed { .. })));
    }

    #[test]
    fn a_sealed_value_opens_under_its_key_and_purpose_only() {
        let (key, other) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let mut sealed = seal(&key, b"a", b"plain").unwrap();
        assert_eq!(open(&key, b"a", &sealed).unwrap().as_slice(), b"plain");
        assert!(open(&key, b"b", &sealed).is_none());
        assert!(open(&other, b"a", &sealed).is_none());
        sealed[13] ^= 1;
        assert!(open(&key, b"a", &sealed).is_none());
    }
}
