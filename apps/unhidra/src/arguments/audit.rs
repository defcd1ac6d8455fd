//! What can be typed after `unhidra audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ServerOptions, moment::Moment};

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Write every record with its tree and the signed heads to a file
    Export {
        /// Where to [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check an export, or a server's database, without a network
    #[command(
        after_help = "Examples:\n  unhidra audit verify export.jsonl --key audit.pub\n  unhidra audit verify --data ./data --earlier head.json"
    )]
    Verify(Verify),
    /// Save the proof that a signed head covers a record
    Prove {
        /// The record's number
        number: u64,
        /// Where to [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check a saved proof without a network
    VerifyProof {
        /// What `audit prove` wrote
        file: PathBuf,
        /// The log's public key, as text or in a file
        #[arg(long, value_name = "KEY")]
        key: String,
    },
    /// Find records
    Search(Search),
    /// Look at the log now, and show what this device has seen of it
    Heads {
        /// Save the head for `audit verify --earlier`
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Go on with the log as it is, after its administrators announced a restore
    AcceptRestore,
    /// Print the log's public key
    Key,
    /// Erase the details of a record for good; the record stays
    Erase {
        /// The record's number
        number: u64,
    },
}

#[derive(Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["file", "data"])))]
pub(crate) struct Verify {
    /// What `audit export` wrote
    #[arg(requires = "key")]
    pub(crate) file: Option<PathBuf>,
    /// A server's data folder, served or not
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// With `--data`: the server's configuration file
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub(crate) config: Option<PathBuf>,
    /// The log's public key, as text or in a file [default with `--data`: the folder's own]
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// A head that was seen before: the log has to continue it
    #[arg(long, value_name = "FILE")]
    pub(crate) earlier: Option<PathBuf>,
}

impl Verify {
    /// What says where the server's database and keys are.
    pub(crate) fn server(&self) -> ServerOptions {
        ServerOptions {
            config: self.config.clone(),
            data: self.data.clone(),
            ..ServerOptions::default()
        }
    }
}

#[derive(Args)]
pub(crate) struct Search {
    /// What was done, such as `device-revoked`
    #[arg(long, value_name = "ACT")]
    pub(crate) act: Option<String>,
    /// Who did it: a user's name or id, or a device's id
    #[arg(long, value_name = "WHO")]
    pub(crate) actor: Option<String>,
    /// To whom or what: a user's name, an id, or `record-N`
    #[arg(long, value_name = "WHAT")]
    pub(crate) subject: Option<String>,
    /// From this date, time, or so long ago
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
    /// Before this date, time, or so long ago
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
    /// Letters of the details
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// Only records after this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) after: u64,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}
