//! Which profile a command uses, and what opens it.

use std::{env, fs, path::PathBuf};

use anyhow::Context as _;
use unhidra_client_native::{
    Client, ClientError, Settings,
    profile::{Profile, ProfileError, ProfileName, Protection},
    store::OpenError,
};
use unhidra_types::{UserId, Username};
use unhidra_wire::rest::ProblemCode;
use zeroize::Zeroizing;

use crate::{
    arguments::Global,
    exit::{Exit, Failure, OrExit as _},
};

/// A profile that a command is about to open.
pub(crate) struct Opening {
    home: PathBuf,
    name: ProfileName,
    key: Key,
}

enum Key {
    /// The file beside the store, or the one that was named.
    File(Option<PathBuf>),
    Passphrase(Zeroizing<String>),
}

impl Opening {
    /// Reads what the global options say.
    pub(crate) fn of(global: &Global) -> Result<Self, Failure> {
        let name = global.profile.parse().or_exit(Exit::Usage)?;
        let key = match &global.passphrase_file {
            Some(file) => Key::Passphrase(first_line(file).or_exit(Exit::Store)?),
            None => Key::File(global.key_file.clone()),
        };
        Ok(Self {
            home: home(global)?,
            name,
            key,
        })
    }

    /// A profile by its name in `home`, opened by the key file beside it.
    pub(crate) fn in_home(home: PathBuf, name: &str) -> Result<Self, Failure> {
        Ok(Self {
            home,
            name: name.parse().or_exit(Exit::Usage)?,
            key: Key::File(None),
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
        Ok(Client::open(profile, Settings::default())?)
    }

    /// The profile for an enrolment: the one that is there, or a new one.
    pub(crate) fn profile(&self) -> Result<Profile, Failure> {
        match Profile::create(&self.home, &self.name, self.protection()) {
            Err(ProfileError::Open(OpenError::Exists(_))) => {
                Ok(Profile::open(&self.home, &self.name, self.protection())?)
            }
            profile => Ok(profile?),
        }
    }

    fn protection(&self) -> Protection<'_> {
        match &self.key {
            Key::File(None) => Protection::KeyFile,
            Key::File(Some(file)) => Protection::KeyFileAt(file),
            Key::Passphrase(passphrase) => Protection::Passphrase(passphrase),
        }
    }
}

/// The user of a name that was typed.
pub(crate) async fn user_named(client: &mut Client, name: &Username) -> Result<UserId, Failure> {
    match client.user_named(name).await {
        Err(ClientError::Rest(error)) if error.code() == Some(ProblemCode::NotFound) => Err(Failure {
            exit: Exit::NotFound,
            error: anyhow::anyhow!("there is no user {name}: check the name"),
        }),
        user => Ok(user?),
    }
}

/// A file that holds a secret, such as the words as they were printed.
pub(crate) fn whole_file(file: &std::path::Path) -> anyhow::Result<Zeroizing<String>> {
    fs::read_to_string(file)
        .map(Zeroizing::new)
        .with_context(|| format!("read {}", file.display()))
}

/// The first line of a file that holds a secret.
pub(crate) fn first_line(file: &std::path::Path) -> anyhow::Result<Zeroizing<String>> {
    let text = Zeroizing::new(fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?);
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
