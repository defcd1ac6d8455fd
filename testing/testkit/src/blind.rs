//! Whether a server knows what it must not: searches its folder, its logs and its memory.
//!
//! The search proves itself on the same places in the same pass: an opaque body that the server was given must be found
//! on its disk, and its own signing key in its memory.

use anyhow::{Context as _, bail, ensure};
use unhidra_types::MsgId;
use unhidra_wire::rest::{Enrolment, Hidden, LogIn};

use crate::{
    chaos::Aftermath,
    group::Group,
    http::Http,
    memory::Memory,
    person::Person,
    search::{Hit, Needles},
    secrets::{Profile, Secret, server_keys, token_secrets},
};

/// Words of a recovery key that betray it.
const RECOVERY_WORDS_TOGETHER: usize = 6;
/// Hits that a report names in full.
const HITS_SHOWN: usize = 40;

/// What was searched, and what was found there that must not be.
#[derive(Debug)]
pub struct Report {
    /// Secrets that were looked for.
    pub secrets: usize,
    /// Bytes of memory that were read.
    pub memory_bytes: u64,
    /// In the data folder.
    pub data: Vec<Hit>,
    /// In what the server printed.
    pub logs: Vec<Hit>,
    /// In the live process.
    pub memory: Vec<Hit>,
}

/// Everything that the devices of these people keep to themselves now.
///
/// # Errors
/// When a store can't be opened.
pub fn secrets_of(people: &[&Person]) -> anyhow::Result<Vec<Secret>> {
    let mut secrets = Vec::new();
    for device in people.iter().flat_map(|person| &person.devices) {
        secrets.extend(Profile::open(device)?.secrets()?);
    }
    Ok(secrets)
}

/// Searches the server that is left after chaos for everything that was secret before, during and after it.
///
/// # Errors
/// When something can't be read, or the search does not find what must be there. What it finds is in the report.
pub fn check(aftermath: &Aftermath) -> anyhow::Result<Report> {
    let server = &aftermath.world.server;
    let people = aftermath.people.each_ref();
    let mut needles = Needles::default();
    for canary in &aftermath.canaries {
        needles.add("plaintext", canary.as_bytes())?;
    }
    for person in people {
        add_account(&mut needles, person, server)?;
    }
    let mut secrets = secrets_of(&people)?;
    secrets.extend_from_slice(&aftermath.early_secrets);
    secrets.sort();
    secrets.dedup();
    for secret in &secrets {
        needles.add(&secret.what, &secret.bytes)?;
    }
    let planted = plant(aftermath)?;
    let (own, sealing) = server_keys(&server.data())?;
    let controls = controls(&planted, &own, &sealing)?;
    let (search, control) = (needles.search()?, controls.search()?);
    let memory = Memory::of(server.pid()?)?;
    let in_memory = search.memory(&memory)?;

    let places = control.folder(&server.data())?;
    ensure!(
        found(&places, PLANTED),
        "the search is blind on disk: {PLANTED} was not found"
    );
    own_keys_are_sealed(&places)?;
    let places = control.memory(&memory)?.hits;
    let seed = &own.first().context("the server has a signing key")?.what;
    ensure!(
        found(&places, seed),
        "the search is blind in memory: {seed} was not found"
    );
    ensure!(
        control.folder(&server.logs())?.is_empty(),
        "the logs hold bodies or keys"
    );
    Ok(Report {
        secrets: needles.len(),
        memory_bytes: in_memory.bytes,
        data: search.folder(&server.data())?,
        logs: search.folder(&server.logs())?,
        memory: in_memory.hits,
    })
}

impl Report {
    /// That nothing was found.
    ///
    /// # Errors
    /// What was found, where and how it was spelt.
    pub fn verdict(&self) -> anyhow::Result<()> {
        let hits: Vec<_> = [&self.data, &self.logs, &self.memory]
            .into_iter()
            .flatten()
            .collect();
        if hits.is_empty() {
            return Ok(());
        }
        let list: String = hits
            .iter()
            .take(HITS_SHOWN)
            .map(|hit| format!("\n  {hit}"))
            .collect();
        bail!(
            "the server knows too much: {} times in its folder, {} in its logs, {} in its memory:{list}",
            self.data.len(),
            self.logs.len(),
            self.memory.len()
        )
    }
}

/// What was planted to be found.
const PLANTED: &str = "the opaque body of a group";
const SEALING_KEY_FILE: &str = "sealing.key";

/// A password with the token that it buys, and the recovery key.
fn add_account(needles: &mut Needles, person: &Person, server: &crate::Server) -> anyhow::Result<()> {
    let name = &person.name;
    needles.add(format!("password of {name}"), person.password.as_bytes())?;
    let words: Vec<_> = person.recovery_key.split_whitespace().collect();
    for part in words.chunks(RECOVERY_WORDS_TOGETHER) {
        needles.add(
            format!("words of the recovery key of {name}"),
            part.join(" ").as_bytes(),
        )?;
    }
    let log_in = LogIn {
        username: name.parse()?,
        password: Hidden::new(person.password.clone()),
    };
    let answer = Http::to(server.address())?.post("/v1/sessions", None, &log_in)?;
    let enrolment: Enrolment = answer.json().context("log in")?;
    for secret in token_secrets(
        &format!("enrolment token of {name}"),
        enrolment.enrol_token.expose(),
    ) {
        needles.add(secret.what, &secret.bytes)?;
    }
    Ok(())
}

/// Leaves a random body in a group, where the server keeps it as it is.
fn plant(aftermath: &Aftermath) -> anyhow::Result<Vec<u8>> {
    let group = Group::open(
        aftermath.world.server.address(),
        aftermath.people[0].first()?,
        &[],
    )?;
    let (mut msg_id, mut body) = ([0; 16], vec![0; 32]);
    getrandom::fill(&mut msg_id).context("draw an id")?;
    getrandom::fill(&mut body).context("draw a body")?;
    group.append(MsgId::from_bytes(msg_id), body.clone())?;
    Ok(body)
}

fn controls(planted: &[u8], own: &[Secret], sealing: &Secret) -> anyhow::Result<Needles> {
    let mut controls = Needles::default();
    controls.add(PLANTED, planted)?;
    for key in own.iter().chain([sealing]) {
        controls.add(&key.what, &key.bytes)?;
    }
    Ok(controls)
}

/// The server's keys are nowhere on disk but sealed, and what seals them is in its one file.
fn own_keys_are_sealed(places: &[Hit]) -> anyhow::Result<()> {
    for hit in places.iter().filter(|hit| hit.what != PLANTED) {
        let is_sealing_key = hit.what.starts_with("sealing key") && hit.place.ends_with(SEALING_KEY_FILE);
        ensure!(is_sealing_key, "a key of the server lies open: {hit}");
    }
    Ok(())
}

fn found(hits: &[Hit], what: &str) -> bool {
    hits.iter().any(|hit| hit.what == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Spelling;

    #[test]
    fn a_single_hit_condemns_and_is_named() {
        let mut report = Report {
            secrets: 1,
            memory_bytes: 1,
            data: Vec::new(),
            logs: Vec::new(),
            memory: Vec::new(),
        };
        report.verdict().unwrap();
        report.logs.push(Hit {
            what: "password of alice".into(),
            spelling: Spelling::Base64(1),
            place: "log/stderr".into(),
            offset: 16,
        });
        let verdict = report.verdict().unwrap_err().to_string();
        assert!(
            verdict.contains("password of alice (Base64(1)) at 0x10 of log/stderr"),
            "{verdict}"
        );
    }
}
