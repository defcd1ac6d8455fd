//! Someone with an account, and the devices that they type on.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    process::{Output, Process, RUN_TIMEOUT},
    program::Program,
    secrets::Profile,
};

/// One profile of the command line in a folder of its own, as on a machine of its own.
#[derive(Clone, Debug)]
pub struct Device {
    program: Program,
    home: PathBuf,
    name: String,
    protection: Protection,
}

/// What opens a device's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// The file beside it.
    KeyFile,
    /// The first line of this file.
    Passphrase(PathBuf),
}

/// An account with its secrets as its owner knows them.
#[derive(Clone, Debug)]
pub struct Person {
    /// The account's name.
    pub name: String,
    /// The account's password.
    pub password: String,
    /// The words that were shown at registration.
    pub recovery_key: String,
    /// Certified devices, the first one first.
    pub devices: Vec<Device>,
}

/// A message as a command prints it with `--json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Message {
    /// Its id.
    pub msg_id: String,
    /// The log that it is in.
    pub conversation: String,
    /// Its place in the log, once it has one.
    pub seq: Option<u64>,
    /// Who sent it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// The device that sent it.
    pub from_device: String,
    /// How far it has come.
    pub state: String,
    /// What it says; absent when it needs a newer version.
    pub text: Option<String>,
}

impl Device {
    /// A profile that does not exist yet, in the folder `home`.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn new(program: &Program, home: PathBuf, protection: Protection) -> anyhow::Result<Self> {
        fs::create_dir_all(&home).context("make the folder of a device")?;
        let name = home
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            program: program.clone(),
            home,
            name,
            protection,
        })
    }

    /// What its owner calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both are one profile.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.home == other.home
    }

    /// Where everything that it keeps lies.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What opens its store.
    #[must_use]
    pub fn protection(&self) -> &Protection {
        &self.protection
    }

    /// The same device, opened another way.
    #[must_use]
    pub fn opened_by(&self, protection: Protection) -> Self {
        Self {
            protection,
            ..self.clone()
        }
    }

    /// A command of this profile, to be given arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = self.program.command(&self.home);
        command.arg("--home").arg(&self.home);
        if let Protection::Passphrase(file) = &self.protection {
            command.arg("--passphrase-file").arg(file);
        }
        command
    }

    /// Starts a command of this profile.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> anyhow::Result<Process> {
        let mut command = self.command();
        command.args(arguments);
        Process::start(&mut command, input)
    }

    /// Runs a command of this profile to its end.
    ///
    /// # Errors
    /// When it can't be started or does not end.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> anyhow::Result<Output> {
        self.start(arguments, b"")?.wait(RUN_TIMEOUT)
    }

    /// Starts `send PEER --lines --batch BATCH` on `lines`, whose texts hold no line feed.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_lines(
        &self,
        peer: &str,
        batch: &str,
        lines: &[String],
        patience: Duration,
    ) -> anyhow::Result<Process> {
        let mut input = lines.join("\n").into_bytes();
        input.push(b'\n');
        let patience = format!("{}s", patience.as_secs());
        self.start(
            [
                "--json",
                "send",
                peer,
                "--lines",
                "--batch",
                batch,
                "--timeout",
                &patience,
            ],
            &input,
        )
    }

    /// Sends every line as a message, and waits until the server has them.
    ///
    /// # Errors
    /// When the command fails.
    pub fn send_lines(&self, peer: &str, batch: &str, lines: &[String]) -> anyhow::Result<()> {
        self.start_lines(peer, batch, lines, RUN_TIMEOUT)?
            .wait(RUN_TIMEOUT * 2)?
            .success()?;
        Ok(())
    }

    /// Sends one message, and waits until the server has it.
    ///
    /// # Errors
    /// When the command fails.
    pub fn send(&self, peer: &str, text: &str) -> anyhow::Result<()> {
        self.run(["send", peer, text])?.success()?;
        Ok(())
    }

    /// Catches up and prints what is new.
    ///
    /// # Errors
    /// When the command fails, or prints something else than messages.
    pub fn read_json(&self) -> anyhow::Result<Vec<Message>> {
        self.read_json_within(RUN_TIMEOUT)
    }

    /// [`Device::read_json`] with more or less patience.
    ///
    /// # Errors
    /// When the command fails, or prints something else than messages.
    pub fn read_json_within(&self, patience: Duration) -> anyhow::Result<Vec<Message>> {
        let output = self.start(["--json", "read"], b"")?.wait(patience)?.success()?;
        messages(&output)
    }

    /// What `whoami` says.
    ///
    /// # Errors
    /// When the command fails.
    pub fn whoami(&self) -> anyhow::Result<Value> {
        let output = self.run(["--json", "whoami"])?.success()?;
        only(output.json()?)
    }

    /// The bearer token of its session, which is good for a while.
    ///
    /// # Errors
    /// When it has no session.
    pub fn access_token(&self) -> anyhow::Result<String> {
        // Refreshes a token that is about to expire.
        self.whoami()?;
        Profile::open(self)?.access_token()
    }

    /// Its id.
    ///
    /// # Errors
    /// When the command fails, or does not name it.
    pub fn id(&self) -> anyhow::Result<String> {
        text_of(&self.whoami()?, &["device_id"])
    }
}

impl Person {
    /// The device that the account was opened with.
    ///
    /// # Errors
    /// When there is none.
    pub fn first(&self) -> anyhow::Result<&Device> {
        self.devices.first().context("a person has a device")
    }

    /// The device that was linked first.
    ///
    /// # Errors
    /// When there is none.
    pub fn second(&self) -> anyhow::Result<&Device> {
        self.devices.get(1).context("this person has a second device")
    }
}

/// The texts of messages, in order; those without text count as empty.
#[must_use]
pub fn texts(messages: &[Message]) -> Vec<String> {
    messages
        .iter()
        .map(|message| message.text.clone().unwrap_or_default())
        .collect()
}

/// The messages that a command printed.
///
/// # Errors
/// When it printed something else.
pub fn messages(output: &Output) -> anyhow::Result<Vec<Message>> {
    let values = output.json()?;
    values
        .into_iter()
        .map(|value| {
            let shown = value.to_string();
            serde_json::from_value(value).with_context(|| format!("`{shown}` is not a message"))
        })
        .collect()
}

/// The one value of an answer.
pub(crate) fn only(values: Vec<Value>) -> anyhow::Result<Value> {
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => bail!("the command printed nothing"),
        (Some(_), Some(second)) => bail!("the command printed more than one object: {second}"),
    }
}

/// The text of the first of `fields` that an object has.
pub(crate) fn text_of(value: &Value, fields: &[&str]) -> anyhow::Result<String> {
    let found = fields
        .iter()
        .find_map(|field| value.get(field).and_then(Value::as_str));
    let text = found.with_context(|| format!("{value} has none of {fields:?}"))?;
    ensure!(!text.is_empty(), "{value} has an empty one of {fields:?}");
    Ok(text.to_owned())
}
