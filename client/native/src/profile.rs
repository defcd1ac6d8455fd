//! One account on this machine: a folder with the sealed store, its key file and the lock of the token refresh.
//!
//! Several processes may have a profile open; every step they take is one transaction of the store.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use unhidra_client::store::StoreError;

use crate::{
    account::Account,
    store::{KeptBy, OpenError, PassphraseCost, SqliteStore, Unlock},
};

/// The name of a profile: 1 to 32 of `a-z 0-9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileName(String);

/// Why a text is not the name of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a profile name has 1 to 32 characters out of a-z, 0-9, `_` and `-`")]
pub struct ProfileNameError;

/// An open profile.
pub struct Profile {
    folder: ProfileFolder,
    store: SqliteStore,
}

/// Where a profile lies.
#[derive(Clone, Debug)]
pub(crate) struct ProfileFolder(PathBuf);

/// How a profile is protected while nobody uses it.
#[derive(Clone, Copy)]
pub enum Protection<'a> {
    /// By a key file beside the store: whoever reads the folder reads the messages.
    KeyFile,
    /// By a key file at another place.
    KeyFileAt(&'a Path),
    /// By a passphrase.
    Passphrase(&'a str),
    /// By a key in the keyring of the operating system.
    Keyring,
}

/// Why a profile can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The folder can't be made or read.
    #[error("profile folder {}", .path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The store can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Keeps every other process from refreshing the tokens, until it is dropped or its process ends.
pub(crate) struct RefreshLock {
    _file: File,
}

const STORE_FILE: &str = "store.db";
const KEY_FILE: &str = "store.key";
const REFRESH_LOCK: &str = "refresh.lock";

impl Profile {
    /// Makes a profile under `data`, readable by its owner only.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when there is one of this name, and what creating can fail with.
    pub fn create(data: &Path, name: &ProfileName, protection: Protection<'_>) -> Result<Self, ProfileError> {
        let folder = folder(data, name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|source| failed(&folder, source))?;
        let (key_file, label) = (folder.join(KEY_FILE), label(name));
        let store = SqliteStore::create(&folder.join(STORE_FILE), &protection.unlock(&key_file, &label))?;
        let folder = ProfileFolder(folder);
        Ok(Self { folder, store })
    }

    /// Opens a profile.
    ///
    /// # Errors
    /// [`OpenError::NotFound`] when there is none of this name, and what opening can fail with.
    pub fn open(data: &Path, name: &ProfileName, protection: Protection<'_>) -> Result<Self, ProfileError> {
        let folder = folder(data, name);
        let (key_file, label) = (folder.join(KEY_FILE), label(name));
        let store = SqliteStore::open(&folder.join(STORE_FILE), &protection.unlock(&key_file, &label))?;
        let folder = ProfileFolder(folder);
        Ok(Self { folder, store })
    }

    /// Where the secret lies that opens a profile; `None` when there is no profile of this name.
    ///
    /// # Errors
    /// What reading the store's header can fail with.
    pub fn kept_by(data: &Path, name: &ProfileName) -> Result<Option<KeptBy>, ProfileError> {
        match SqliteStore::kept_by(&folder(data, name).join(STORE_FILE)) {
            Err(OpenError::NotFound(_)) => Ok(None),
            kept_by => Ok(Some(kept_by?)),
        }
    }

    /// The key file beside the store of a profile, whether or not there is one.
    #[must_use]
    pub fn key_file(data: &Path, name: &ProfileName) -> PathBuf {
        folder(data, name).join(KEY_FILE)
    }

    /// Lets `to` open the profile from now on, and what opened it before no longer. At every moment one of the two does:
    /// the new secret is kept before the store names it, and the former one deleted after. A key file that was at another
    /// place than beside the store may open other stores, and stays.
    ///
    /// # Errors
    /// What opening by `from` and keeping the new secret can fail with; the profile is as it was then.
    pub fn protect(
        data: &Path,
        name: &ProfileName,
        from: Protection<'_>,
        to: Protection<'_>,
    ) -> Result<(), ProfileError> {
        let Self { mut store, .. } = Self::open(data, name, from)?;
        let (key_file, label) = (Self::key_file(data, name), label(name));
        let is_beside = |protection| matches!(protection, Protection::KeyFile);
        if is_beside(from) && is_beside(to) {
            return Ok(());
        }
        // One that a crash left behind opens nothing, and may have been copied.
        if is_beside(to) {
            remove(&key_file)?;
        }
        store.protect(&to.unlock(&key_file, &label))?;
        if is_beside(from) {
            remove(&key_file)?;
        }
        Ok(())
    }

    /// The account that the profile belongs to; `None` before the first enrolment.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn account(mut self) -> Result<Option<Account>, StoreError> {
        Account::load(&mut self.store)
    }

    /// The names of the profiles under `data`, sorted.
    ///
    /// # Errors
    /// [`ProfileError::Folder`] when `data` can't be read; a missing `data` has no profiles.
    pub fn list(data: &Path) -> Result<Vec<ProfileName>, ProfileError> {
        let folder = data.join("profiles");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed(&folder, source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| failed(&folder, source))?;
            let name = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(name) = name
                && entry.path().join(STORE_FILE).exists()
            {
                names.push(name);
            }
        }
        names.sort_by(|ProfileName(one), ProfileName(other)| one.cmp(other));
        Ok(names)
    }

    /// The folder and the store, for whoever uses both from now on.
    pub(crate) fn into_parts(self) -> (ProfileFolder, SqliteStore) {
        (self.folder, self.store)
    }
}

impl ProfileFolder {
    /// Waits until no other process refreshes the tokens.
    pub(crate) async fn lock_refresh(&self) -> Result<RefreshLock, ProfileError> {
        let Self(folder) = self;
        let path = folder.join(REFRESH_LOCK);
        let open = path.clone();
        let locked = tokio::task::spawn_blocking(move || {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(open)?;
            file.lock()?;
            Ok(RefreshLock { _file: file })
        });
        locked
            .await
            .map_err(io::Error::from)
            .flatten()
            .map_err(|source| failed(&path, source))
    }
}

impl<'a> Protection<'a> {
    const fn unlock(self, key_file: &'a Path, label: &'a str) -> Unlock<'a> {
        match self {
            Self::Keyring => Unlock::Keyring { label },
            Self::KeyFile => Unlock::KeyFile(key_file),
            Self::KeyFileAt(key_file) => Unlock::KeyFile(key_file),
            Self::Passphrase(passphrase) => Unlock::Passphrase {
                passphrase,
                cost: PassphraseCost::INTERACTIVE,
            },
        }
    }
}

impl FromStr for ProfileName {
    type Err = ProfileNameError;

    fn from_str(text: &str) -> Result<Self, ProfileNameError> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ProfileNameError)
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn folder(data: &Path, ProfileName(name): &ProfileName) -> PathBuf {
    data.join("profiles").join(name)
}

/// What people see in their keyring.
fn label(ProfileName(name): &ProfileName) -> String {
    format!("Unhidra profile {name}")
}

fn remove(file: &Path) -> Result<(), ProfileError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(file, error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, source: io::Error) -> ProfileError {
    ProfileError::Folder {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use futures_util::FutureExt as _;

    use super::*;

    fn name(text: &str) -> ProfileName {
        text.parse().unwrap()
    }

    #[test]
    fn profiles_are_private_and_listed_by_name() {
        let data = tempfile::tempdir().unwrap();
        assert!(Profile::list(data.path()).unwrap().is_empty());
        for text in ["work", "home"] {
            Profile::create(data.path(), &name(text), Protection::KeyFile).unwrap();
        }
        assert_eq!(Profile::list(data.path()).unwrap(), [name("home"), name("work")]);
        let folder = folder(data.path(), &name("work"));
        let mode = fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_new_protection_opens_and_the_former_one_does_not() {
        let data = tempfile::tempdir().unwrap();
        let name = name("a");
        Profile::create(data.path(), &name, Protection::KeyFile).unwrap();
        let key_file = Profile::key_file(data.path(), &name);
        let former = fs::read(&key_file).unwrap();
        let elsewhere = data.path().join("elsewhere.key");
        let steps = [
            Protection::KeyFile,
            Protection::Passphrase("a"),
            Protection::KeyFileAt(&elsewhere),
            Protection::Passphrase("b"),
            Protection::KeyFile,
        ];
        for step in steps.windows(2) {
            Profile::protect(data.path(), &name, step[0], step[1]).unwrap();
            assert!(Profile::open(data.path(), &name, step[1]).is_ok());
            assert!(Profile::open(data.path(), &name, step[0]).is_err());
        }
        assert!(elsewhere.exists());
        let now = fs::read(&key_file).unwrap();
        assert_ne!(now, former);
        fs::write(&key_file, former).unwrap();
        assert!(Profile::open(data.path(), &name, Protection::KeyFile).is_err());
    }

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for text in ["", "..", "a/b", "A", "name with space", &"x".repeat(33)] {
            assert_eq!(text.parse::<ProfileName>(), Err(ProfileNameError));
        }
    }

    #[tokio::test]
    async fn only_one_holds_the_refresh_lock() {
        let data = tempfile::tempdir().unwrap();
        let first = Profile::create(data.path(), &name("a"), Protection::KeyFile).unwrap();
        let second = Profile::open(data.path(), &name("a"), Protection::KeyFile).unwrap();
        let held = first.folder.lock_refresh().await.unwrap();
        let mut waiting = Box::pin(second.folder.lock_refresh());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        waiting.await.unwrap();
    }
}
