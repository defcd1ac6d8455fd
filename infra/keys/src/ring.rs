//! The open key ring: signs and verifies [`tokens`], seals small values, rotates.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use aws_lc_rs::{
    digest, hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use serde::{Deserialize, Serialize};
use unhidra_runtime::Context;
use unhidra_types::{Secret, Timestamp};
use zeroize::Zeroizing;

mod tokens;

use crate::{
    KeysConfig,
    audit::{AuditKey, StoredAuditKey},
    file::{self, FileError, OnDisk},
    jwks::{Jwk, Jwks},
    known::KnownTokens,
};

/// Signing keys that are kept beside the current one; the oldest go first.
const MAX_RETIRED_KEYS: usize = 8;

/// Why the server has no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A key file can't be used.
    #[error("key file can't be used")]
    File(#[from] FileError),
    /// The sealed content has another form: it was written by another version.
    #[error("{path} was written by another version")]
    Form {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// The cryptographic library refused a key.
    #[error("a stored key is not usable")]
    Unusable,
    /// A replaced key would stop verifying before its last token ends.
    #[error("the overlap of signing keys is shorter than the lifetime of a token")]
    OverlapTooShort,
}

/// The server's open keys. Clones are the same ring.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    path: PathBuf,
    sealing_key: Secret<32>,
    issuer: String,
    token_lifetime: Duration,
    rotation: Duration,
    overlap: Duration,
    /// Held for a lookup or a swap; never while a file is written.
    ring: RwLock<Arc<Ring>>,
    known: KnownTokens,
}

struct Ring {
    /// Newest first; never empty.
    signing: Vec<SigningKey>,
    /// Seals refresh tokens in the database and authenticates their numbers.
    session_key: Secret<32>,
    /// Signs tree heads; never rotated.
    audit: Arc<AuditKey>,
}

#[derive(Clone)]
struct SigningKey {
    kid: Arc<str>,
    created_at: Timestamp,
    seed: Secret<32>,
    public: Vec<u8>,
    encoding: EncodingKey,
}

/// The ring as it is sealed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    signing: Vec<StoredKey>,
    session_key: String,
    /// Absent in a file from before there was an audit tree.
    #[serde(default)]
    audit: Option<StoredAuditKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    created_at: Timestamp,
    seed: String,
}

impl Stored {
    fn read(path: &Path, plain: &[u8]) -> Result<Self, KeyError> {
        serde_json::from_slice(plain).map_err(|source| KeyError::Form {
            path: path.to_owned(),
            source,
        })
    }
}

/// Looks at the key files under `data` without making any.
///
/// # Errors
/// [`KeyError`] when one is there and can't be used.
pub fn examine(config: &KeysConfig, data: &Path) -> Result<OnDisk, KeyError> {
    let path = data.join(&config.file);
    let Some(key) = file::read_sealing_key(&data.join(&config.sealing_key))? else {
        let has_sealed = file::read_secret(&path)?.is_some();
        return Ok(if has_sealed {
            OnDisk::SealedAlone
        } else {
            OnDisk::Nothing
        });
    };
    match file::read_sealed(&path, &key)? {
        None => Ok(OnDisk::SealingKeyAlone),
        Some(plain) => Ring::restore(Stored::read(&path, &plain)?).map(|_| OnDisk::Whole),
    }
}

impl Keys {
    /// Opens the key files under `data`, or makes them on the first start. `issuer` is the server's public address.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open(config: &KeysConfig, data: &Path, issuer: &str, context: &Context) -> Result<Self, KeyError> {
        if config.overlap < config.token_lifetime {
            return Err(KeyError::OverlapTooShort);
        }
        let path = data.join(&config.file);
        let sealing_key = file::sealing_key(&data.join(&config.sealing_key), || context.random())?;
        let ring = match file::read_sealed(&path, &sealing_key)? {
            Some(plain) => {
                let mut stored = Stored::read(&path, &plain)?;
                let is_older = stored.audit.is_none();
                if is_older {
                    stored.audit = Some(AuditKey::fresh(context)?.store());
                }
                let ring = Ring::restore(stored)?;
                if is_older {
                    ring.store(&path, &sealing_key)?;
                }
                ring
            }
            None => {
                let ring = Ring::fresh(context)?;
                ring.store(&path, &sealing_key)?;
                ring
            }
        };
        Ok(Self(Arc::new(Inner {
            path,
            sealing_key,
            issuer: issuer.to_owned(),
            token_lifetime: config.token_lifetime,
            rotation: config.rotation,
            overlap: config.overlap,
            ring: RwLock::new(Arc::new(ring)),
            known: KnownTokens::new(),
        })))
    }

    /// The public half of the key that signs tree heads in `data`, without making anything; `None` when there are no
    /// keys yet, or none that sign heads.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read_audit_key(config: &KeysConfig, data: &Path) -> Result<Option<[u8; 32]>, KeyError> {
        let Some(sealing_key) = file::read_secret(&data.join(&config.sealing_key))? else {
            return Ok(None);
        };
        let sealing_key = Secret::try_from(sealing_key.as_slice()).map_err(|_| KeyError::Unusable)?;
        let path = data.join(&config.file);
        let Some(plain) = file::read_sealed(&path, &sealing_key)? else {
            return Ok(None);
        };
        let key = Stored::read(&path, &plain)?.audit.map(AuditKey::restore);
        Ok(key.transpose()?.map(|key| key.public()))
    }

    /// The public half of the key that signs tree heads.
    #[must_use]
    pub fn audit_key(&self) -> [u8; 32] {
        self.ring().audit.public()
    }

    /// The name of the log whose heads this server signs.
    #[must_use]
    pub fn audit_log(&self) -> [u8; 32] {
        self.ring().audit.log_id()
    }

    /// Signs the bytes of a tree head, which begin with a label.
    #[must_use]
    pub fn sign_tree_head(&self, head: &[u8]) -> [u8; 64] {
        self.ring().audit.sign(head)
    }

    /// Lifetime of an access token.
    #[must_use]
    pub fn token_lifetime(&self) -> Duration {
        self.0.token_lifetime
    }

    /// Who signs: the server's public address.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The public keys that verify tokens at `now`, newest first.
    #[must_use]
    pub fn jwks(&self, now: Timestamp) -> Jwks {
        let ring = self.ring();
        let keys = ring.in_force(now, self.0.overlap);
        Jwks {
            keys: keys
                .map(|key| Jwk::ed25519(key.kid.to_string(), BASE64_URL_SAFE_NO_PAD.encode(&key.public)))
                .collect(),
        }
    }

    /// Whether the signing key has reached the age of rotation.
    #[must_use]
    pub fn rotation_due(&self, now: Timestamp) -> bool {
        self.ring()
            .signing
            .first()
            .is_none_or(|key| now.since(key.created_at) >= self.0.rotation)
    }

    /// Replaces the signing key, on disk first. The old one verifies for the overlap and is forgotten then.
    ///
    /// # Errors
    /// [`KeyError`]; the old key is in force then.
    pub fn rotate(&self, context: &Context) -> Result<(), KeyError> {
        let old = self.ring();
        let mut signing = vec![SigningKey::new(Secret::new(context.random()), context.now)?];
        signing.extend(
            old.in_force(context.now, self.0.overlap)
                .take(MAX_RETIRED_KEYS)
                .cloned(),
        );
        let ring = Ring {
            signing,
            session_key: old.session_key.clone(),
            audit: Arc::clone(&old.audit),
        };
        ring.store(&self.0.path, &self.0.sealing_key)?;
        *self.0.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        Ok(())
    }

    /// Seals a small value that the database may hold, for `purpose`.
    ///
    /// # Errors
    /// [`KeyError::Unusable`] when the cryptographic library fails.
    pub fn seal(&self, purpose: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        file::seal(&self.ring().session_key, purpose, plain).ok_or(KeyError::Unusable)
    }

    /// Opens what [`Keys::seal`] made for the same purpose.
    ///
    /// # Errors
    /// [`KeyError::Unusable`] for anything else.
    pub fn open_sealed(&self, purpose: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        file::open(&self.ring().session_key, purpose, sealed).ok_or(KeyError::Unusable)
    }

    /// Authenticates `message`, which begins with a label: HMAC-SHA-256.
    #[must_use]
    pub fn authenticate(&self, message: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.ring().session_key.expose());
        let tag = hmac::sign(&key, message);
        // An HMAC-SHA-256 tag has 32 bytes.
        tag.as_ref().try_into().unwrap_or([0; 32])
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.0.ring.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ring {
    fn fresh(context: &Context) -> Result<Self, KeyError> {
        let signing = vec![SigningKey::new(Secret::new(context.random()), context.now)?];
        Ok(Self {
            signing,
            session_key: Secret::new(context.random()),
            audit: Arc::new(AuditKey::fresh(context)?),
        })
    }

    fn restore(stored: Stored) -> Result<Self, KeyError> {
        let signing = stored
            .signing
            .into_iter()
            .map(|key| SigningKey::new(decode(&Zeroizing::new(key.seed))?, key.created_at))
            .collect::<Result<Vec<_>, _>>()?;
        if signing.is_empty() {
            return Err(KeyError::Unusable);
        }
        Ok(Self {
            signing,
            session_key: decode(&Zeroizing::new(stored.session_key))?,
            audit: Arc::new(AuditKey::restore(stored.audit.ok_or(KeyError::Unusable)?)?),
        })
    }

    fn store(&self, path: &Path, sealing_key: &Secret<32>) -> Result<(), KeyError> {
        let encode = |secret: &Secret<32>| BASE64_URL_SAFE_NO_PAD.encode(secret.expose());
        let signing = self.signing.iter();
        let stored = Stored {
            signing: signing
                .map(|key| StoredKey {
                    created_at: key.created_at,
                    seed: encode(&key.seed),
                })
                .collect(),
            session_key: encode(&self.session_key),
            audit: Some(self.audit.store()),
        };
        let plain = serde_json::to_vec(&stored).map_err(|source| KeyError::Form {
            path: path.to_owned(),
            source,
        })?;
        Ok(file::write_sealed(path, sealing_key, &Zeroizing::new(plain))?)
    }

    /// The current key, and those replaced less than `overlap` ago.
    fn in_force(&self, now: Timestamp, overlap: Duration) -> impl Iterator<Item = &SigningKey> {
        let replaced_at = [None]
            .into_iter()
            .chain(self.signing.iter().map(|key| Some(key.created_at)));
        self.signing
            .iter()
            .zip(replaced_at)
            .filter_map(move |(key, replaced_at)| {
                replaced_at
                    .is_none_or(|at| now.since(at) <= overlap)
                    .then_some(key)
            })
    }

    fn verifying(&self, kid: &str, now: Timestamp, overlap: Duration) -> Option<&SigningKey> {
        self.in_force(now, overlap).find(|key| *key.kid == *kid)
    }
}

impl SigningKey {
    fn new(seed: Secret<32>, created_at: Timestamp) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| KeyError::Unusable)?;
        let public = pair.public_key().as_ref().to_vec();
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyError::Unusable)?;
        let encoding = EncodingKey::from_ed_der(pkcs8.as_ref());
        Ok(Self {
            kid: thumbprint(&public).into(),
            created_at,
            seed,
            public,
            encoding,
        })
    }
}

/// The key's name: its thumbprint (RFC 7638 with the members of RFC 8037).
fn thumbprint(public: &[u8]) -> String {
    let x = BASE64_URL_SAFE_NO_PAD.encode(public);
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()))
}

pub(crate) fn decode(text: &str) -> Result<Secret<32>, KeyError> {
    let bytes = Zeroizing::new(
        BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| KeyError::Unusable)?,
    );
    Secret::try_from(bytes.as_slice()).map_err(|_| KeyError::Unusable)
}

fn seconds(time: Timestamp) -> u64 {
    time.as_millis() / 1_000
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
