//! One client during the storm: fed again after each kill, and everything that it printed.

use std::time::Duration;

use anyhow::Context as _;

use crate::{
    person::{Device, Message},
    process::Process,
};

/// How long a sender may wait for a server that is away before it gives up, and is fed again.
const PATIENCE: Duration = Duration::from_secs(60);
/// Runs of a client beside those that were killed: each is one that gave up.
const MAX_RETRIES: u32 = 10;
/// Exit codes of a client that time may help: unreachable, timed out.
const TRY_AGAIN: [i32; 2] = [5, 11];

/// What a client does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work<'a> {
    /// Sends these lines in a batch, from its beginning each time.
    Send {
        to: &'a str,
        batch: &'a str,
        lines: &'a [String],
    },
    /// Prints what comes.
    Listen,
}

/// A client that may be killed.
#[derive(Debug)]
pub(super) struct Running<'a> {
    device: &'a Device,
    work: Work<'a>,
    process: Process,
    is_done: bool,
    heard: Vec<Message>,
    runs: u32,
    retries: u32,
}

impl<'a> Running<'a> {
    pub(super) fn start(device: &'a Device, work: Work<'a>) -> anyhow::Result<Self> {
        Ok(Self {
            device,
            work,
            process: launch(device, work)?,
            is_done: false,
            heard: Vec::new(),
            runs: 1,
            retries: 0,
        })
    }

    /// Kills it, keeps what it printed, and starts it again. One that was done has to do it all again.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.is_done = false;
        self.again()
    }

    /// Kills it; [`Running::kill`] brings it back.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        if !self.is_done {
            self.process.kill_nine()?;
        }
        self.is_done = true;
        Ok(())
    }

    /// Whether a sender has sent everything; starts it again when it gave up for a reason that time heals.
    pub(super) fn look(&mut self) -> anyhow::Result<bool> {
        if self.is_done {
            return Ok(true);
        }
        let Some(status) = self.process.ended()? else {
            return Ok(false);
        };
        if status.success() && matches!(self.work, Work::Send { .. }) {
            self.is_done = true;
            return Ok(true);
        }
        self.retries += 1;
        let may_heal = status.code().is_some_and(|code| TRY_AGAIN.contains(&code));
        if !may_heal || self.retries > MAX_RETRIES {
            let ended = std::mem::replace(&mut self.process, launch(self.device, self.work)?);
            let ended = ended.wait(Duration::ZERO)?;
            anyhow::bail!("{} ended for good: {ended:?}", self.device.name());
        }
        self.again()?;
        Ok(false)
    }

    /// How often it was started.
    pub(super) const fn runs(&self) -> u32 {
        self.runs
    }

    /// Kills it for the last time; what all its runs printed, in their order.
    pub(super) fn finish(mut self) -> anyhow::Result<Vec<Message>> {
        self.stop()?;
        self.collect()?;
        Ok(self.heard)
    }

    fn again(&mut self) -> anyhow::Result<()> {
        self.collect()?;
        self.process = launch(self.device, self.work)?;
        self.runs += 1;
        Ok(())
    }

    fn collect(&mut self) -> anyhow::Result<()> {
        if matches!(self.work, Work::Send { .. }) {
            return Ok(());
        }
        let printed = String::from_utf8(self.process.stdout()?).context("a client prints text")?;
        // A line that a kill cut short is printed again by the next run.
        let whole = printed.rsplit_once('\n').map_or("", |(whole, _cut)| whole);
        for line in whole.lines() {
            let message = serde_json::from_str(line);
            self.heard
                .push(message.with_context(|| format!("`{line}` is not a message"))?);
        }
        Ok(())
    }
}

fn launch(device: &Device, work: Work<'_>) -> anyhow::Result<Process> {
    match work {
        Work::Send { to, batch, lines } => device.start_lines(to, batch, lines, PATIENCE),
        Work::Listen => device.start(["--json", "listen"], b""),
    }
}
