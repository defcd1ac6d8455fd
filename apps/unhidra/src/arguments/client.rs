//! Options of the commands that people use beside `send` and `read`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use unhidra_types::Username;

use super::moment::Moment;

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
  unhidra chat bob
  printf 'one\\ntwo\\n' | unhidra chat bob

Without a terminal, each line of standard input is a message, and messages are printed as `read` does; with --json one
object a line, also for the state of what was sent. Times are UTC. Works without a server: lines wait in the outbox.")]
pub(crate) struct Chat {
    /// With whom
    pub(crate) user: Username,
    /// Begin with so many earlier messages
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) history: u16,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  unhidra search 'meet at' --user bob --since 30d
  unhidra search invoice --since 2026-01-01 --until 2026-02-01 --context 2
  unhidra --json search invoice --limit 100")]
pub(crate) struct Search {
    /// What to look for; upper and lower case are the same
    #[arg(allow_hyphen_values = true)]
    pub(crate) text: String,
    /// Only the conversation with this user
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<Username>,
    /// Not before a date, a time, or so long ago: 2026-11-21, 2026-11-21T10:30:00Z, 30d
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Moment>,
    /// Only before
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<Moment>,
    /// At most so many messages, the newest
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Show so many messages before and after each as well
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=20))]
    pub(crate) context: u8,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  unhidra export --out messages.jsonl
  unhidra export --user bob --format text | less")]
pub(crate) struct Export {
    /// Only the conversation with this user
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<Username>,
    /// Write to FILE, readable by you only, once everything is there [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// One JSON object a line, or text
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub(crate) format: ExportFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    Jsonl,
    Text,
}

/// Where the key of a new profile goes; unless it is said, into the keyring if there is one and it is open.
#[derive(Args, Clone, Copy)]
pub(crate) struct Keep {
    /// Keep the key of a new profile in the keyring of the desktop session, or fail [default: if there is one]
    #[arg(long, conflicts_with_all = ["no_keyring", "key_file", "passphrase_file"])]
    pub(crate) keyring: bool,
    /// Keep the key of a new profile in a file, also where there is a keyring
    #[arg(long)]
    pub(crate) no_keyring: bool,
}

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Show where the key lies
    #[command(after_help = "Example:\n  unhidra key show")]
    Show,
    /// Make a new key at another place, and delete the former one
    Move(MoveKey),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  unhidra key move --to keyring
  unhidra key move --to passphrase
  unhidra --passphrase-file FILE key move --to file

Nothing of the store is written anew. Cut off at any moment, the former or the new key opens it.")]
pub(crate) struct MoveKey {
    /// Where it is to lie
    #[arg(long, value_enum)]
    pub(crate) to: KeyPlace,
    /// The new passphrase is the first line of FILE [default: ask]
    #[arg(long, value_name = "FILE")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyPlace {
    /// The keyring of the desktop session
    Keyring,
    /// The file beside the store
    File,
    /// Nowhere: a passphrase opens the store
    Passphrase,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  unhidra prune --before 365d
  unhidra prune --before 2026-01-01 --user bob --yes

Only this device forgets. The store does not shrink: the room is used again. What a batch sent stays known.")]
pub(crate) struct Prune {
    /// Messages that the server took before a date, a time, or so long ago
    #[arg(long, value_name = "WHEN")]
    pub(crate) before: Moment,
    /// Only the conversation with this user
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<Username>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
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
