//! One server, or one device, alone.

use std::{fs, time::Instant};

use anyhow::{Context as _, anyhow};
use argon2::{Algorithm, Argon2, Params, Version};
use tempfile::TempDir;
use unhidra_client_native::{
    authority::Trust,
    client::{Client, Destination},
};
use unhidra_load::{measure::Watched, sealed};

use crate::bench::{
    About, Bench, Size,
    subject::{OURS, Ours, Transport},
};

/// Messages of a device.
pub(in crate::bench) const SEALED: u64 = 10_000;
const MIB: f64 = 1024.0 * 1024.0;
/// The server's defaults (`services/identity`): memory in KiB, passes, lanes.
const ARGON2: (u32, u32, u32) = (48 * 1024, 3, 1);

const fn about(scenario: &str) -> About<'_> {
    About {
        scenario,
        subject: OURS,
    }
}

/// The first start makes keys and tables; the second one is what an operator waits for.
pub(super) fn empty(bench: &mut Bench) -> anyhow::Result<()> {
    let about = about("empty");
    let binary = fs::metadata(&bench.options.program).context("measure the program")?;
    bench.sample(about, "binary", binary.len() as f64 / MIB, "MiB")?;
    for _ in 0..bench.options.runs {
        let begin = Instant::now();
        let mut ours = Ours::start(bench, Transport::Plain)?;
        let first = begin.elapsed();
        ours.stop()?;
        let begin = Instant::now();
        ours.server.restart()?;
        let ready = begin.elapsed();
        let resident = ours.watched()?.usage()?.resident;
        bench.sample(about, "ready", ready.as_secs_f64() * 1e3, "ms")?;
        bench.sample(about, "ready, first time", first.as_secs_f64() * 1e3, "ms")?;
        bench.sample(about, "resident", resident as f64 / MIB, "MiB")?;
    }
    Ok(())
}

/// Logins beside the one computation that none can do without.
pub(super) fn login(bench: &mut Bench) -> anyhow::Result<()> {
    let about = about("login");
    let standard = ("UNHIDRA_IDENTITY_PASSWORD_HASHING", "standard".to_owned());
    let program = bench.options.program.clone();
    let mut ours = Ours::start_program(bench, &program, Transport::Plain, vec![standard])?;
    bench.runtime.block_on(ours.population.grow(1, &bench.progress))?;
    let logins: u32 = if bench.options.size == Size::Quick { 2 } else { 20 };
    for _ in 0..bench.options.runs {
        let watched = ours.watched()?;
        let account = ours.population.accounts.first().context("there is an account")?;
        let before = watched.usage()?;
        bench.runtime.block_on(async {
            let mut http = account.http();
            for _ in 0..logins {
                account.prove_password(&mut http).await?;
            }
            anyhow::Ok(())
        })?;
        let login = watched.usage()?.since(&before).cpu_us_per(logins.into()) / 1e3;
        let alone = argon2id(logins)?;
        bench.sample(about, "CPU of a login", login, "ms")?;
        bench.sample(about, "CPU of Argon2id", alone, "ms")?;
        bench.sample(about, "CPU of a login to Argon2id", login / alone, "x")?;
    }
    Ok(())
}

/// Milliseconds of processor time that one computation takes here and now.
fn argon2id(times: u32) -> anyhow::Result<f64> {
    let (memory, passes, lanes) = ARGON2;
    let params = Params::new(memory, passes, lanes, None).map_err(|error| anyhow!("{error}"))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let before = Watched::own().usage()?;
    for _ in 0..times {
        let mut out = [0; 32];
        argon2
            .hash_password_into(b"a password", b"and its salt....", &mut out)
            .map_err(|error| anyhow!("{error}"))?;
    }
    Ok(Watched::own().usage()?.since(&before).cpu_us_per(times.into()) / 1e3)
}

/// Two real devices on a server of their own.
pub(in crate::bench) struct Devices {
    pub(in crate::bench) sender: Client,
    pub(in crate::bench) receiver: Client,
    pub(in crate::bench) server: Watched,
    _ours: Ours,
    _folder: TempDir,
}

/// Starts a server with two devices whose stores lie on the disk.
pub(in crate::bench) fn devices(bench: &Bench) -> anyhow::Result<Devices> {
    let mut ours = Ours::start(bench, Transport::Plain)?;
    let folder = tempfile::tempdir().context("make a folder")?;
    let destination = Destination {
        server: ours.server.url().parse().context("a server has a URL")?,
        trust: Trust::System,
    };
    let mut device = |name: &str| {
        let invitation = bench.runtime.block_on(ours.population.invite())?;
        let place = folder.path().join(name);
        let opening = sealed::device(&place, destination.clone(), invitation);
        bench.runtime.block_on(opening)
    };
    let (sender, receiver) = (device("sender")?, device("receiver")?);
    Ok(Devices {
        sender,
        receiver,
        server: ours.watched()?,
        _ours: ours,
        _folder: folder,
    })
}

pub(super) fn sealed(bench: &mut Bench) -> anyhow::Result<()> {
    let about = about("sealed-p2p");
    let messages = if bench.options.size == Size::Quick {
        200
    } else {
        SEALED
    };
    let mut devices = devices(bench)?;
    let peer = devices.receiver.account().user_id;
    for _ in 0..bench.options.runs {
        let sending = sealed::send(&mut devices.sender, peer, messages, Some(devices.server));
        let sent = bench.runtime.block_on(sending)?;
        let receiving = sealed::receive(&mut devices.receiver, sent.messages);
        let received = bench.runtime.block_on(receiving)?.cpu_us_per(messages);
        let client = sent.client;
        bench.sample(
            about,
            "client's CPU per message",
            client.cpu_us_per(messages),
            "us",
        )?;
        bench.sample(about, "rate", client.rate(messages), "/s")?;
        let server = sent.server.cpu_us_per(messages);
        bench.sample(about, "server's CPU per message", server, "us")?;
        bench.sample(about, "receiving client's CPU per message", received, "us")?;
    }
    Ok(())
}
