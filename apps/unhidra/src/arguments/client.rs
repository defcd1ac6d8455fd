//! Options of the commands that people use beside `send` and `read`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use unhidra_types::Username;

#[derive(Args)]
#[command(after_help = "\
Examples:
  unhidra verify bob                  show the digits, and a QR code to scan
  unhidra verify bob --confirm        record that they match
  unhidra verify bob --scanned TEXT   compare with the code that bob's device shows, and record it")]
pub(crate) struct Verify {
    /// Whose digits
    pub(crate) user: Username,
    /// Record that the digits match
    #[arg(long)]
    pub(crate) confirm: bool,
    /// What a scanner read from the other device, as base64url or hex; records a match
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "confirm",
        allow_hyphen_values = true
    )]
    pub(crate) scanned: Option<String>,
    /// Show no QR code on the terminal
    #[arg(long)]
    pub(crate) no_qr: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  unhidra completions bash > ~/.local/share/bash-completion/completions/unhidra
  unhidra completions zsh > ~/.zfunc/_unhidra
  unhidra completions fish > ~/.config/fish/completions/unhidra.fish")]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  unhidra man | man -l -
  unhidra man --out ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Write the page of every command into DIR instead of printing that of `unhidra`
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}
