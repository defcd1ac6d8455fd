//! The binary under test.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// Variables that a run inherits; everything else of the caller's environment stays outside.
const INHERITED: [&str; 3] = ["PATH", "TMPDIR", "LD_LIBRARY_PATH"];

/// The binary under test. Integration tests name it by `env!("CARGO_BIN_EXE_unhidra")`.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    runner: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

impl Program {
    /// The binary at `path`.
    #[must_use]
    pub fn at(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            runner: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// The same binary, whose runs find `name` set in their environment.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: OsString) -> Self {
        self.environment.push((name, value));
        self
    }

    /// The same binary, whose runs are those of `runner`, such as a debugger with its arguments.
    #[must_use]
    pub fn under(mut self, runner: Vec<OsString>) -> Self {
        self.runner = runner;
        self
    }

    /// Where the binary lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A run in `folder`, which is also its home: neither configuration nor environment of the caller has a part in it.
    #[must_use]
    pub fn command(&self, folder: &Path) -> Command {
        let mut words = self.runner.iter().map(OsString::as_os_str);
        let mut command = Command::new(words.next().unwrap_or(self.path.as_os_str()));
        command.args(words);
        if !self.runner.is_empty() {
            command.arg(&self.path);
        }
        command.env_clear().env("HOME", folder).current_dir(folder);
        for name in INHERITED {
            #[expect(clippy::disallowed_methods, reason = "passed on to a child, not read")]
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command
    }
}
