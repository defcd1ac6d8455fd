//! The REST interface against its own description: `cargo xtask api-fuzz`.
//!
//! A server with an administrator and a member; Schemathesis reads `/v1/openapi.json` from it and asks for everything
//! that the document allows, and for much that it does not, once as each of them.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, ensure};
use clap::Parser;
use unhidra_testkit::{Person, Program, Seed, World, http::Http};

/// A run must not outlive the tokens that it starts with.
const TOKEN_LIFETIME: &str = "2h";

/// What would otherwise answer 429 before anything is looked at.
const LIMITS: [&str; 5] = [
    "UNHIDRA_LIMITS_REQUESTS_PER_SESSION",
    "UNHIDRA_LIMITS_REQUESTS_PER_NETWORK",
    "UNHIDRA_LIMITS_LOGINS_PER_NETWORK",
    "UNHIDRA_LIMITS_LOGINS_PER_ACCOUNT",
    "UNHIDRA_LIMITS_ACCOUNTS_PER_NETWORK",
];
const UNLIMITED: &str = "off";

#[derive(Parser)]
struct Arguments {
    /// The binary under test
    #[arg(long)]
    program: PathBuf,
    /// The fuzzer's program
    #[arg(long)]
    schemathesis: PathBuf,
    /// Where it leaves what it learns
    #[arg(long)]
    folder: PathBuf,
    /// What it checks, and what it leaves out
    #[arg(long)]
    configuration: PathBuf,
    /// Requests of each kind for each operation
    #[arg(long)]
    examples: u32,
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    match fuzz(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("api-fuzz: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn fuzz(arguments: &Arguments) -> anyhow::Result<()> {
    let seed = match arguments.seed {
        Some(seed) => Seed(seed),
        None => Seed::from_environment()?,
    };
    let mut settings = vec![("UNHIDRA_KEYS_TOKEN_LIFETIME", TOKEN_LIFETIME.to_owned())];
    settings.extend(LIMITS.map(|limit| (limit, UNLIMITED.to_owned())));
    let mut world = World::configured(Program::at(&arguments.program), seed, settings)?;
    let administrator = world.person("root")?;
    let member = world.person("alice")?;
    for (person, whom) in [(&administrator, "administrator"), (&member, "member")] {
        println!("as {whom}:");
        run_as(arguments, seed, &world, person).with_context(|| format!("as {whom}"))?;
    }
    Ok(())
}

fn run_as(arguments: &Arguments, seed: Seed, world: &World, person: &Person) -> anyhow::Result<()> {
    let token = person.first()?.access_token()?;
    let status = Command::new(&arguments.schemathesis)
        .arg("--config-file")
        .arg(&arguments.configuration)
        .arg("run")
        .arg(format!("{}/v1/openapi.json", world.server.url()))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--max-examples", &arguments.examples.to_string()])
        .args(["--seed", &seed.0.to_string()])
        .current_dir(&arguments.folder)
        .status()
        .context("start schemathesis")?;
    ensure!(status.success(), "schemathesis found what should not be");
    // Else everything after the end of the session was refused, and nothing was shown.
    let me = Http::to(world.server.address())?.get("/v1/me", Some(&token))?;
    ensure!(me.status == 200, "the fuzzer ended its own session on the way");
    Ok(())
}
