//! When the storm is over: the server is lost, and comes back from the backup that was made during it.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};

use super::{Aftermath, check::compare};
use crate::{
    Server,
    person::{Device, texts},
    process::{Process, RUN_TIMEOUT},
    program::Program,
};

/// Makes a backup of a server that serves.
pub(super) fn back_up(server: &Server, program: &Program, out: &Path) -> anyhow::Result<()> {
    let (data, out) = (server.data(), out.to_owned());
    run(
        program,
        server,
        &[
            "backup".as_ref(),
            "--data".as_ref(),
            &data,
            "--out".as_ref(),
            &out,
        ],
    )
}

/// Loses the server and restores it from the backup. Then each device writes to the other person, every device reads
/// all of it, and all of them still have what was sent before, though the server lost a part of it.
///
/// # Errors
/// The first thing that is not so.
pub fn go_on_from_the_backup(
    aftermath: &mut Aftermath,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    let server = &mut aftermath.world.server;
    server.kill_nine()?;
    let data = server.data();
    fs::rename(&data, data.with_extension("lost")).context("lose the server's data")?;
    let file = aftermath.backup.as_path();
    run(
        &aftermath.world.program,
        server,
        &["restore".as_ref(), file, "--data".as_ref(), &data],
    )?;
    server.restart()?;
    progress("the server came back from the backup");

    let [left, right] = &aftermath.people;
    let mut lines = aftermath.lines.clone();
    for device in left.devices.iter().chain(&right.devices) {
        // What the server lost of this device is sent once more.
        device.read_json()?;
    }
    for round in 0..2 {
        for (index, (from, to)) in [(left, right), (right, left)].into_iter().enumerate() {
            for device in &from.devices {
                let line = format!("{round}: {} goes on", device.name());
                device.send(&to.name, &line)?;
                lines.get_mut(index).context("two people")?.push(line);
            }
        }
    }
    for (person, lines) in aftermath.people.iter().zip(&lines) {
        for device in left.devices.iter().chain(&right.devices) {
            compare(lines, &kept(device, &person.name)?)
                .with_context(|| format!("what {} keeps from {}", device.name(), person.name))?;
        }
    }
    progress("every device goes on, and nothing that it had is gone");
    aftermath.lines = lines;
    Ok(())
}

/// What a device has of one sender, once it has caught up.
fn kept(device: &Device, from: &str) -> anyhow::Result<Vec<String>> {
    device.read_json()?;
    let all = device
        .start(["--json", "read", "--all"], b"")?
        .wait(RUN_TIMEOUT * 5)?
        .success()?;
    let all = crate::person::messages(&all)?;
    let of: Vec<_> = all.into_iter().filter(|one| one.from == from).collect();
    ensure!(
        of.iter().all(|message| message.text.is_some()),
        "{} could not open a message",
        device.name()
    );
    Ok(texts(&of))
}

fn run(program: &Program, server: &Server, arguments: &[&Path]) -> anyhow::Result<()> {
    let mut command = program.command(&server.logs());
    command.args(arguments);
    Process::start(&mut command, b"")?
        .wait(RUN_TIMEOUT * 2)?
        .success()?;
    Ok(())
}
