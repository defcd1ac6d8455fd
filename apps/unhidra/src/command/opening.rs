//! Which profile a command uses, and what opens it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use unhidra_client_native::{
    Client, ClientError, Settings,
    account::Account,
    keyring,
    profile::{Profile, ProfileError, ProfileName, Protection},
    store::{KeptBy, OpenError},
};
use unhidra_types::{UserId, Username};
use unhidra_wire::rest::ProblemCode;
use zeroize::Zeroizing;

use crate::{
    arguments::{Global, Keep},
    exit::{Exit, Failure, OrExit as _},
};

/// A profile that a command is about to open.
pub(crate) struct Opening {
    home: PathBuf,
    name: ProfileName,
    key: Key,
    watch_audit: Duration,
}

/// Whether a profile was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Before,
    Now,
}

enum Key {
    /// In the keyring, or in the file beside the store: the store says which.
    Unnamed,
    File(PathBuf),
    Passphrase(Zeroizing<String>),
}

impl Opening {
    /// Reads what the global options say.
    pub(crate) fn of(global: &Global) -> Result<Self, Failure> {
        let name = global.profile.parse().or_exit(Exit::Usage)?;
        let key = match &global.passphrase_file {
            Some(file) => Key::Passphrase(passphrase(file).or_exit(Exit::Store)?),
            None => global.key_file.clone().map_or(Key::Unnamed, Key::File),
        };
        Ok(Self {
            home: home(global)?,
            name,
            key,
            watch_audit: global.watch_audit,
        })
    }

    /// A profile by its name in `home`, opened by the key file beside it.
    pub(crate) fn in_home(home: PathBuf, name: &str) -> Result<Self, Failure> {
        Ok(Self {
            home,
            name: name.parse().or_exit(Exit::Usage)?,
            key: Key::Unnamed,
            watch_audit: Settings::default().watch_audit,
        })
    }

    /// The logged-in client of the profile.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let profile = match Profile::open(&self.home, &self.name, self.protection()) {
            Err(ProfileError::Open(OpenError::NotFound(_))) => {
                return Err(Failure {
                    exit: Exit::Credentials,
                    error: anyhow::anyhow!(
                        "there is no profile of this name: make one with `unhidra register` or `unhidra login`"
                    ),
                });
            }
            profile => profile?,
        };
        let settings = Settings {
            watch_audit: self.watch_audit,
            ..settings()
        };
        Ok(Client::open(profile, settings)?)
    }

    /// The account that the profile belongs to, if there is one.
    pub(crate) fn account(&self) -> Result<Option<Account>, Failure> {
        match Profile::open(&self.home, &self.name, self.protection()) {
            Err(ProfileError::Open(OpenError::NotFound(_))) => Ok(None),
            profile => Ok(profile?.account().map_err(ClientError::from)?),
        }
    }

    /// The profile for an enrolment: the one that is there, or a new one whose key is kept as `keep` says.
    pub(crate) fn profile(&self, keep: Keep) -> Result<(Profile, Made), Failure> {
        if self.kept_by()?.is_some() {
            let profile = Profile::open(&self.home, &self.name, self.protection())?;
            return Ok((profile, Made::Before));
        }
        let is_unnamed = matches!(self.key, Key::Unnamed);
        if keep.keyring || (is_unnamed && !keep.no_keyring && keyring::is_ready()) {
            match Profile::create(&self.home, &self.name, Protection::Keyring) {
                // It was ready a moment ago, and nobody insisted on it.
                Err(ProfileError::Open(OpenError::Keyring(_))) if !keep.keyring => {}
                profile => return Ok((profile?, Made::Now)),
            }
        }
        let profile = Profile::create(&self.home, &self.name, self.protection())?;
        Ok((profile, Made::Now))
    }

    /// Where the key of the profile lies; `None` when there is no profile.
    pub(crate) fn kept_by(&self) -> Result<Option<KeptBy>, Failure> {
        Ok(Profile::kept_by(&self.home, &self.name)?)
    }

    /// The file that the key lies in, if it lies in one.
    pub(crate) fn key_file(&self) -> PathBuf {
        match &self.key {
            Key::File(file) => file.clone(),
            Key::Unnamed | Key::Passphrase(_) => Profile::key_file(&self.home, &self.name),
        }
    }

    /// Lets `to` open the profile from now on.
    pub(crate) fn protect(&self, to: Protection<'_>) -> Result<(), Failure> {
        Ok(Profile::protect(&self.home, &self.name, self.protection(), to)?)
    }

    fn protection(&self) -> Protection<'_> {
        match &self.key {
            Key::File(file) => Protection::KeyFileAt(file),
            Key::Passphrase(passphrase) => Protection::Passphrase(passphrase),
            Key::Unnamed => match Profile::kept_by(&self.home, &self.name) {
                Ok(Some(KeptBy::Keyring)) => Protection::Keyring,
                // What is wrong with the store is told when it is opened.
                _ => Protection::KeyFile,
            },
        }
    }
}

/// How this program drives a client.
pub(crate) fn settings() -> Settings {
    Settings {
        warn: |text| eprintln!("unhidra: warning: {text}"),
        ..Settings::default()
    }
}

/// The user of a name that was typed.
pub(crate) async fn user_named(client: &mut Client, name: &Username) -> Result<UserId, Failure> {
    match client.user_named(name).await {
        Err(ClientError::Rest(error)) if error.code() == Some(ProblemCode::NotFound) => Err(Failure {
            exit: Exit::NotFound,
            error: anyhow::anyhow!("there is no user {name}: check the name"),
        }),
        // Whom a message is for has to be known before it can be sealed, so there is nothing to queue.
        Err(ClientError::Rest(error)) if error.is_transient() => Err(Failure {
            exit: Exit::Unreachable,
            error: anyhow::Error::from(error).context(format!(
                "this device has not met {name} yet, and the server can't be asked who that is: nothing was queued, \
                 try again later"
            )),
        }),
        user => Ok(user?),
    }
}

/// Why something about a user was not done, by the name that was typed.
pub(crate) fn by_name(error: ClientError, name: &Username) -> Failure {
    let text = match error {
        ClientError::NoDevice(_) => {
            format!("{name} has no device yet: it can be reached once {name} has logged in on one")
        }
        ClientError::IdentityChanged(_) => format!(
            "{name} has a new identity key: nothing is sent until you compared the digits and ran \
             `unhidra contacts accept {name}`"
        ),
        ClientError::ListWithheld(_) => {
            format!("the server withholds the device list of {name}: nothing is sent until it shows it")
        }
        ClientError::ChainOfPeer(_) => format!(
            "the server shows a false device list of {name}: nothing is sent; ask its administrator to explain it"
        ),
        ClientError::Blocked(_) => {
            format!("you have blocked {name}: `unhidra contacts unblock {name}` lets {name} in again")
        }
        error => return error.into(),
    };
    Failure {
        exit: Exit::Blocked,
        error: anyhow::anyhow!(text),
    }
}

fn passphrase(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let passphrase = first_line(file, "--passphrase-file")?;
    ensure!(
        !passphrase.is_empty(),
        "the first line of {} is empty: write the passphrase there",
        file.display()
    );
    Ok(passphrase)
}

/// A file that holds a secret, such as the words as they were printed, and the option that named it.
pub(crate) fn whole_file(file: &Path, option: &str) -> anyhow::Result<Zeroizing<String>> {
    fs::read_to_string(file)
        .map(Zeroizing::new)
        .with_context(|| format!("read {}, which {option} names", file.display()))
}

/// The first line of a file that holds a secret, and the option that named it.
pub(crate) fn first_line(file: &Path, option: &str) -> anyhow::Result<Zeroizing<String>> {
    let text = whole_file(file, option)?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

fn home(global: &Global) -> Result<PathBuf, Failure> {
    let data = match (&global.home, &global.data_home) {
        (Some(home), _) => return Ok(home.clone()),
        (None, Some(data)) => data.clone(),
        (None, None) => env::home_dir()
            .map(|home| home.join(".local/share"))
            .context("there is no home folder: name one with --home")
            .or_exit(Exit::Usage)?,
    };
    Ok(data.join("unhidra"))
}
