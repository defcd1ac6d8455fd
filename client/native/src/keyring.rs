//! The user's keyring of the operating system, by the Secret Service interface of the session bus (GNOME Keyring,
//! KWallet, KeePassXC).
//!
//! It keeps one secret for each store, found by the store's salt. Only the default collection is used: others may be
//! gone at logout. Every call runs on a thread of its own and ends within its time, so that callers need no runtime and
//! a keyring that hangs stops nobody.

use std::{collections::HashMap, io, thread, time::Duration};

use secret_service::{Collection, EncryptionType, Error, SecretService};
use unhidra_types::Secret;
use zeroize::Zeroizing;

/// How long the keyring may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long it may take when it asks its user to unlock it.
const UNLOCK: Duration = Duration::from_secs(120);
/// What kind of secret an item holds.
const CONTENT_TYPE: &str = "application/octet-stream";

/// Why the keyring does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// There is no session bus, or nobody on it that keeps secrets.
    #[error("there is no keyring in this session")]
    Absent,
    /// It is locked, and its user did not unlock it.
    #[error("the keyring is locked")]
    Locked,
    /// It holds no key of this store.
    #[error("the keyring does not hold the key of this store")]
    Missing,
    /// What it holds is not a key.
    #[error("the keyring holds something else than a key for this store")]
    Damaged,
    /// It did not answer.
    #[error("the keyring does not answer")]
    Silent,
    /// It failed.
    #[error("the keyring failed: {0}")]
    Failed(Error),
    /// No thread or runtime for the call.
    #[error("ask the keyring")]
    Ask(#[source] io::Error),
}

/// Whether a keyring is there and open, without asking its user for anything.
#[must_use]
pub fn is_ready() -> bool {
    let found = run(ANSWER, || async {
        let service = connect().await?;
        let collection = service.get_default_collection().await?;
        Ok(!collection.is_locked().await?)
    });
    matches!(found, Ok(true))
}

/// Keeps `key` for the store with `salt`, under a label that people see. It is read back before this returns.
pub(crate) fn keep(salt: &[u8; 32], label: &str, key: &Secret<32>) -> Result<(), KeyringError> {
    let (id, label, bytes) = (hex(salt), label.to_owned(), Zeroizing::new(*key.expose()));
    run(UNLOCK, || async move {
        let service = connect().await?;
        let collection = service.get_default_collection().await?;
        open(&collection).await?;
        let item = collection
            .create_item(&label, attributes(&id), bytes.as_slice(), true, CONTENT_TYPE)
            .await?;
        let kept = Zeroizing::new(item.get_secret().await?);
        if kept.as_slice() == bytes.as_slice() {
            Ok(())
        } else {
            Err(KeyringError::Damaged)
        }
    })
}

/// The key of the store with `salt`.
pub(crate) fn look_up(salt: &[u8; 32]) -> Result<Secret<32>, KeyringError> {
    let id = hex(salt);
    run(UNLOCK, || async move {
        let service = connect().await?;
        let collection = service.get_default_collection().await?;
        open(&collection).await?;
        let items = collection.search_items(attributes(&id)).await?;
        let item = items.first().ok_or(KeyringError::Missing)?;
        let bytes = Zeroizing::new(item.get_secret().await?);
        Secret::try_from(bytes.as_slice()).map_err(|_wrong_length| KeyringError::Damaged)
    })
}

/// Deletes the key of the store with `salt`; no error when there is none.
pub(crate) fn forget(salt: &[u8; 32]) -> Result<(), KeyringError> {
    let id = hex(salt);
    run(UNLOCK, || async move {
        let service = connect().await?;
        let collection = service.get_default_collection().await?;
        open(&collection).await?;
        for item in collection.search_items(attributes(&id)).await? {
            item.delete().await?;
        }
        Ok(())
    })
}

async fn connect<'a>() -> Result<SecretService<'a>, KeyringError> {
    Ok(SecretService::connect(EncryptionType::Dh).await?)
}

/// Lets the keyring ask its user if it is locked.
async fn open(collection: &Collection<'_>) -> Result<(), KeyringError> {
    if collection.is_locked().await? {
        collection.unlock().await?;
        if collection.is_locked().await? {
            return Err(KeyringError::Locked);
        }
    }
    Ok(())
}

fn attributes(id: &str) -> HashMap<&str, &str> {
    HashMap::from([("application", "unhidra"), ("store", id)])
}

/// Runs a call on a thread of its own, which may be inside or outside of a runtime.
fn run<T: Send, F: Future<Output = Result<T, KeyringError>>>(
    within: Duration,
    call: impl FnOnce() -> F + Send,
) -> Result<T, KeyringError> {
    let ask = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(KeyringError::Ask)?;
        runtime.block_on(async {
            tokio::time::timeout(within, call())
                .await
                .unwrap_or(Err(KeyringError::Silent))
        })
    };
    thread::scope(|scope| {
        let asked = scope.spawn(ask).join();
        asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn hex(salt: &[u8; 32]) -> String {
    salt.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl From<Error> for KeyringError {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable | Error::NoResult => Self::Absent,
            Error::Locked | Error::Prompt | Error::PromptDisconnected => Self::Locked,
            error => Self::Failed(error),
        }
    }
}
