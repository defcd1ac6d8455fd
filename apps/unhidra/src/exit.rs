//! Exit codes, part of the program's contract (`docs/cli.md`).

use std::{fmt, io, process::ExitCode};

use crate::output::ReaderGone;

/// How a command ended, other than well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed,
    Usage,
    Configuration,
    Credentials,
    Unreachable,
    NotFound,
    Blocked,
    Input,
    Store,
    Version,
    TimedOut,
    Untrusted,
}

/// A failure with the code that it ends the program with.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
}

/// What a command returns.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    /// Whether nothing went wrong but that nobody reads the output any more.
    pub(crate) fn is_reader_gone(&self) -> bool {
        self.error.chain().any(|error| {
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            inner.is_some_and(|inner| inner.is::<ReaderGone>())
        })
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The discriminants are the contract; all fit a byte.
        Self::from(match exit {
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Configuration => 3,
            Exit::Credentials => 4,
            Exit::Unreachable => 5,
            Exit::NotFound => 6,
            Exit::Blocked => 7,
            Exit::Input => 8,
            Exit::Store => 9,
            Exit::Version => 10,
            Exit::TimedOut => 11,
            Exit::Untrusted => 12,
        })
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            exit: Exit::Failed,
            error,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

/// Names the exit code of an error.
pub(crate) trait OrExit<T> {
    /// The value, or a failure that ends with `exit`.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            exit,
            error: error.into(),
        })
    }
}
