//! When to stop: the first signal asks, the second one insists. And when to read certificates again.

use std::{io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::tasks::{Ended, Tasks};

/// Interrupt and terminate, as one stream.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Installed so that a write beyond the limit on file sizes fails, as on a full disk, instead of ending the process.
    _file_size: Signal,
}

/// SIGHUP, by which an operator asks for what changed to be read again.
#[derive(Debug)]
pub struct Hangup(Signal);

impl Hangup {
    /// Takes the signal over from the default handler, which ends the process.
    ///
    /// # Errors
    /// The operating system's, when the handler can't be installed.
    pub fn install() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Completes at the next signal.
    ///
    /// # Cancellation safety
    /// Safe: no signal is lost.
    pub async fn next(&mut self) {
        // The stream ends with the process only.
        let _never_ends = self.0.recv().await;
    }
}
/// SIGXFSZ, on every architecture of Linux that this runs on.
const FILE_SIZE: SignalKind = SignalKind::from_raw(25);

impl Signals {
    /// Takes the signals over from the default handlers, which end the process at once.
    ///
    /// # Errors
    /// The operating system's, when a handler can't be installed.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            _file_size: signal(FILE_SIZE)?,
        })
    }

    /// Completes at the next signal.
    ///
    /// # Cancellation safety
    /// Safe: no signal is lost.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Lets `tasks` run until a signal or a critical task ends them, then shuts them down within `grace`.
    /// A second signal ends the grace.
    ///
    /// # Cancellation safety
    /// As [`Tasks::shutdown`].
    pub async fn run(&mut self, tasks: &Tasks, grace: Duration) -> Ended {
        tokio::select! {
            () = self.next() => tracing::info!("signal received: shutting down"),
            () = tasks.stopping() => {}
        }
        let ending = tasks.shutdown(grace);
        tokio::pin!(ending);
        tokio::select! {
            ended = &mut ending => return ended,
            () = self.next() => tracing::warn!("second signal received: aborting"),
        }
        tasks.abort();
        ending.await
    }
}
