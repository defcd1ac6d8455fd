//! A program on a terminal of its own: what a person would see, and keys that they press.

use std::{
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use crate::wait::until;

/// A run on a pseudo-terminal. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts `command` with the terminal as its input, output and error output.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("open a terminal")?;
        grantpt(&master).context("own the terminal")?;
        unlockpt(&master).context("unlock the terminal")?;
        let name = ptsname(&master, Vec::new()).context("name the terminal")?;
        let side = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).context("open its other side")?;
        let share = || Ok::<_, anyhow::Error>(Stdio::from(side.try_clone().context("share the terminal")?));
        command.stdin(share()?).stdout(share()?).stderr(share()?);
        let child = command.spawn().context("start on a terminal")?;
        // Only the child holds the other side from here on: reading ends when it ends.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        drop(side);
        let keys = File::from(master);
        let mut output = keys.try_clone().context("read the terminal")?;
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            loop {
                match output.read(&mut bytes) {
                    Ok(read) if read > 0 => {
                        let mut screen = shown.lock().unwrap_or_else(PoisonError::into_inner);
                        screen.extend_from_slice(bytes.get(..read).unwrap_or_default());
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // EIO: nobody has the other side any more.
                    _ => break,
                }
            }
        });
        Ok(Self { child, keys, screen })
    }

    /// Presses keys: `\r` is Enter, `\u{4}` Ctrl-D, `\u{3}` Ctrl-C.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn press(&mut self, keys: &str) -> anyhow::Result<()> {
        self.keys.write_all(keys.as_bytes()).context("press keys")
    }

    /// Everything that was shown so far, control sequences as well.
    #[must_use]
    pub fn shown(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&screen).into_owned()
    }

    /// Waits until `accept` gives something for what was shown.
    ///
    /// # Errors
    /// When it has not by then.
    pub fn wait_for<T>(
        &mut self,
        timeout: Duration,
        mut accept: impl FnMut(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let found = until("such screen", timeout, || Ok(accept(&self.shown())));
        match found {
            Ok(found) => Ok(found),
            Err(error) => bail!("{error:#}\n{:?}", self.shown()),
        }
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it has not by then.
    pub fn wait(&mut self, timeout: Duration) -> anyhow::Result<ExitStatus> {
        let child = &mut self.child;
        let ended = until("end", timeout, || child.try_wait().context("ask for the end"));
        match ended {
            Ok(status) => Ok(status),
            Err(error) => bail!("{error:#}\n{:?}", self.shown()),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only when the process has been reaped, which is what they are for.
        let _already_ended = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}
