//! A server with people on it, each with devices of their own, all in one temporary folder.

use std::{fs, path::PathBuf, thread};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    person::{Device, Person, Protection, only, text_of},
    process::RUN_TIMEOUT,
    program::Program,
    seed::{Dice, Seed},
    server::{Server, Setting},
};

/// Long enough for the server, random enough to be looked for.
const PASSWORD_LETTERS: usize = 32;
/// Words of a recovery key.
const RECOVERY_WORDS: usize = 24;

/// A server, and the people who use it. The folder stays when the test fails.
#[derive(Debug)]
pub struct World {
    /// The server.
    pub server: Server,
    /// The program that everybody runs.
    pub program: Program,
    admin: Option<Device>,
    dice: Dice,
    folder: TempDir,
}

impl World {
    /// Starts a server without accounts. Passwords follow from a seed that is printed.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(program: Program) -> anyhow::Result<Self> {
        Self::configured(program, Seed::from_environment()?, Vec::new())
    }

    /// [`World::start`] with a given seed and settings of the server.
    ///
    /// # Errors
    /// When it does not start.
    pub fn configured(program: Program, seed: Seed, settings: Vec<Setting>) -> anyhow::Result<Self> {
        Self::with_data(program, seed, settings, None)
    }

    /// [`World::configured`] with the server's data in another place than the world's own folder.
    ///
    /// # Errors
    /// When it does not start.
    pub fn with_data(
        program: Program,
        seed: Seed,
        settings: Vec<Setting>,
        data: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        println!("{seed}");
        let folder = tempfile::Builder::new()
            .prefix("unhidra-test-")
            .tempdir()
            .context("make a folder")?;
        let place = folder.path().join("server");
        let data = data.unwrap_or_else(|| place.join("data"));
        let server = Server::with_data(&program, &place, data, settings)?;
        Ok(Self {
            server,
            program,
            admin: None,
            dice: seed.dice(),
            folder,
        })
    }

    /// Opens an account with one device: the first by the set-up token, later ones by an invitation.
    ///
    /// # Errors
    /// When a command fails.
    pub fn person(&mut self, name: &str) -> anyhow::Result<Person> {
        let device = self.device(name, Protection::KeyFile)?;
        self.person_on(name, device)
    }

    /// [`World::person`] on a device that the caller made.
    ///
    /// # Errors
    /// When a command fails.
    pub fn person_on(&mut self, name: &str, device: Device) -> anyhow::Result<Person> {
        let url = self.server.url();
        self.person_through(&url, name, device)
    }

    /// [`World::person_on`] by another address of the server.
    ///
    /// # Errors
    /// When a command fails.
    pub fn person_through(&mut self, url: &str, name: &str, device: Device) -> anyhow::Result<Person> {
        let password = self.dice.word(PASSWORD_LETTERS);
        let password_file = self.secret_file(&device, "password", &password)?;
        let mut arguments: Vec<_> = [
            "--json",
            "register",
            "--server",
            url,
            "--username",
            name,
            "--device-name",
            device.name(),
        ]
        .map(PathBuf::from)
        .to_vec();
        arguments.extend(["--password-file".into(), password_file]);
        arguments.extend(self.trust_arguments(url)?);
        match &self.admin {
            None => arguments.extend(["--setup-token-file".into(), self.server.setup_token_file()]),
            Some(_) => arguments.extend(["--invitation".into(), self.invitation()?.into()]),
        }
        let printed = device.run(&arguments)?.success()?.json()?;
        let words = printed.first().context("the words come first")?;
        let recovery_key = text_of(words, &["recovery_key"])?;
        ensure!(
            recovery_key.split_whitespace().count() == RECOVERY_WORDS,
            "the recovery key has {RECOVERY_WORDS} words"
        );
        self.admin.get_or_insert_with(|| device.clone());
        Ok(Person {
            name: name.to_owned(),
            password,
            recovery_key,
            devices: vec![device],
        })
    }

    /// Two people with one device each.
    ///
    /// # Errors
    /// When a command fails.
    pub fn alice_and_bob(&mut self) -> anyhow::Result<(Person, Person)> {
        Ok((self.person("alice")?, self.person("bob")?))
    }

    /// Logs `person` in on another device and certifies it on the first, as people do with the code that is shown.
    ///
    /// # Errors
    /// When a command fails.
    pub fn link(&mut self, person: &mut Person) -> anyhow::Result<()> {
        let url = self.server.url();
        self.link_through(&url, person)
    }

    /// [`World::link`] by another address of the server.
    ///
    /// # Errors
    /// When a command fails.
    pub fn link_through(&mut self, url: &str, person: &mut Person) -> anyhow::Result<()> {
        let name = format!("{}-{}", person.name, person.devices.len() + 1);
        let device = self.device(&name, Protection::KeyFile)?;
        let mut login = device.start(self.login_arguments_at(url, person, &device)?, b"")?;
        let code = login.line(RUN_TIMEOUT, |line| {
            let shown = serde_json::from_str(line).ok()?;
            text_of(&shown, &["linking_code"]).ok()
        })?;
        person
            .first()?
            .run(["devices", "link", &code, "--yes"])?
            .success()?;
        login.wait(RUN_TIMEOUT)?.success()?;
        person.devices.push(device);
        Ok(())
    }

    /// What logs `person` in on `device`.
    ///
    /// # Errors
    /// When the password can't be written down.
    pub fn login_arguments(&self, person: &Person, device: &Device) -> anyhow::Result<Vec<PathBuf>> {
        self.login_arguments_at(&self.server.url(), person, device)
    }

    /// [`World::login_arguments`] by another address of the server.
    ///
    /// # Errors
    /// When the password can't be written down.
    pub fn login_arguments_at(
        &self,
        url: &str,
        person: &Person,
        device: &Device,
    ) -> anyhow::Result<Vec<PathBuf>> {
        let password_file = self.secret_file(device, "password", &person.password)?;
        let mut arguments = [
            "--json",
            "login",
            "--yes",
            "--server",
            url,
            "--username",
            &person.name,
            "--device-name",
            device.name(),
        ]
        .map(PathBuf::from)
        .to_vec();
        arguments.extend(["--password-file".into(), password_file]);
        arguments.extend(self.trust_arguments(url)?);
        Ok(arguments)
    }

    /// An invitation from the first account.
    ///
    /// # Errors
    /// When there is no account yet, or the command fails.
    pub fn invitation(&self) -> anyhow::Result<String> {
        text_of(&self.invite()?, &["token"])
    }

    /// An invitation from the first account, as a link; a server without TLS has none.
    ///
    /// # Errors
    /// When there is no account yet, or the command fails.
    pub fn invitation_link(&self) -> anyhow::Result<String> {
        text_of(&self.invite()?, &["link"])
    }

    fn invite(&self) -> anyhow::Result<Value> {
        let admin = self.admin.as_ref().context("someone has an account")?;
        only(admin.run(["--json", "admin", "invite"])?.success()?.json()?)
    }

    /// What makes a command trust the server, if it speaks TLS.
    fn trust_arguments(&self, url: &str) -> anyhow::Result<Vec<PathBuf>> {
        if !url.starts_with("https://") {
            return Ok(Vec::new());
        }
        let fingerprint = self.server.fingerprint()?;
        Ok(vec!["--ca-fingerprint".into(), fingerprint.into()])
    }

    /// A profile that does not exist yet, on a machine of its own.
    ///
    /// # Errors
    /// When its folder can't be made.
    pub fn device(&self, name: &str, protection: Protection) -> anyhow::Result<Device> {
        let home = self.folder.path().join("devices").join(name);
        Device::new(&self.program, home, protection)
    }

    /// Writes a secret where `device` can be told to read it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn secret_file(&self, device: &Device, name: &str, secret: &str) -> anyhow::Result<PathBuf> {
        let file = device.home().join(format!("{name}.txt"));
        fs::write(&file, format!("{secret}\n")).context("write a secret down")?;
        Ok(file)
    }

    /// Random choices of this world.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!(
                "everything that was written stays in {}",
                self.folder.path().display()
            );
        }
    }
}
