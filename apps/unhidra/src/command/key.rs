//! `key show` and `key move`: where the key lies that opens this profile's store.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client_native::{profile::Protection, store::KeptBy};
use zeroize::Zeroizing;

use super::opening::{Opening, first_line};
use crate::{
    arguments::{Key, KeyPlace, MoveKey},
    exit::{Exit, Failure, OrExit as _, Outcome},
    output::{Output, printable},
};

/// Where a key lies.
#[derive(Serialize)]
struct Kept {
    kept: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

/// Shows where the key lies, or moves it.
pub(crate) fn key(opening: &Opening, command: &Key, output: Output) -> Outcome {
    if let Key::Move(options) = command {
        let passphrase = match options.to {
            KeyPlace::Passphrase => Some(new_passphrase(options)?),
            KeyPlace::File | KeyPlace::Keyring => None,
        };
        let to = match (&options.to, &passphrase) {
            (KeyPlace::Keyring, _) => Protection::Keyring,
            (KeyPlace::Passphrase, Some(passphrase)) => Protection::Passphrase(passphrase),
            (KeyPlace::File | KeyPlace::Passphrase, _) => Protection::KeyFile,
        };
        opening.protect(to)?;
    }
    let kept = kept(opening)?;
    output
        .result(&kept, || kept.text())
        .context("print where the key lies")?;
    Ok(())
}

/// What a person should know about a profile that was just made.
pub(crate) fn told_after_making(opening: &Opening) -> Result<String, Failure> {
    Ok(kept(opening)?.text())
}

fn kept(opening: &Opening) -> Result<Kept, Failure> {
    let kept_by = opening.kept_by()?.ok_or_else(|| Failure {
        exit: Exit::Credentials,
        error: anyhow::anyhow!(
            "there is no profile of this name: make one with `unhidra register` or `unhidra login`"
        ),
    })?;
    Ok(match kept_by {
        KeptBy::Keyring => Kept {
            kept: "keyring",
            file: None,
        },
        KeptBy::Passphrase => Kept {
            kept: "passphrase",
            file: None,
        },
        _ => Kept {
            kept: "file",
            file: Some(opening.key_file()),
        },
    })
}

impl Kept {
    fn text(&self) -> String {
        match (self.kept, &self.file) {
            ("keyring", _) => {
                "The key of this profile lies in your keyring: it opens in your desktop session.".to_owned()
            }
            ("passphrase", _) => {
                "A passphrase opens this profile: give it by --passphrase-file with every command.".to_owned()
            }
            (_, file) => format!(
                "The key of this profile lies in the file {}: whoever reads it reads the messages.",
                printable(&file.as_deref().unwrap_or(Path::new("-")).display().to_string())
            ),
        }
    }
}

fn new_passphrase(options: &MoveKey) -> Result<Zeroizing<String>, Failure> {
    let passphrase = match &options.new_passphrase_file {
        Some(file) => first_line(file, "--new-passphrase-file").or_exit(Exit::Store)?,
        None if !std::io::stdin().is_terminal() => {
            return Err(Failure {
                exit: Exit::Usage,
                error: anyhow::anyhow!(
                    "there is no terminal to ask for the passphrase: use --new-passphrase-file"
                ),
            });
        }
        None => {
            let ask = |prompt| rpassword::prompt_password(prompt).map(Zeroizing::new);
            let passphrase = ask("New passphrase: ").context("read the passphrase")?;
            if ask("Again: ").context("read the passphrase")? != passphrase {
                return Err(unsuitable("the two passphrases differ: the key was not moved"));
            }
            passphrase
        }
    };
    if passphrase.is_empty() {
        return Err(unsuitable(
            "an empty passphrase protects nothing: the key was not moved",
        ));
    }
    Ok(passphrase)
}

fn unsuitable(text: &'static str) -> Failure {
    Failure {
        exit: Exit::Input,
        error: anyhow::anyhow!(text),
    }
}
