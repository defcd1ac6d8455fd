//! What became of each mutant, kept below the target folder so that no run is for nothing.
//!
//! An outcome holds as long as the file of its mutant does not change. That tests change since is not asked: who makes a
//! test weaker runs all anew.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::list::Mutant;

#[derive(Clone, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It does not compile.
    Unviable,
    /// This test fails.
    Caught(String),
    /// This test does not end.
    Endless(String),
    /// No test fails.
    Missed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unviable => f.write_str("does not compile"),
            Self::Caught(test) => write!(f, "caught by {test}"),
            Self::Endless(test) => write!(f, "{test} does not end"),
            Self::Missed => f.write_str("MISSED"),
        }
    }
}

/// All that is known, of this shard and others.
pub(super) struct Outcomes {
    own: PathBuf,
    /// By [`Mutant::key`].
    known: BTreeMap<String, Outcome>,
    mine: BTreeMap<String, Outcome>,
}

impl Outcomes {
    /// Reads what earlier runs found, of all shards; `shard` is where the new goes.
    ///
    /// # Errors
    /// When the files can't be read.
    pub(super) fn open(folder: &Path, shard: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).context("make the folder of the outcomes")?;
        let own = folder.join(format!("{shard}.json"));
        let (mut known, mut mine) = (BTreeMap::new(), BTreeMap::new());
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let read: BTreeMap<String, Outcome> =
                serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))?;
            if path == own {
                mine.clone_from(&read);
            }
            known.extend(read);
        }
        Ok(Self { own, known, mine })
    }

    pub(super) fn of(&self, mutant: &Mutant) -> Option<&Outcome> {
        self.known.get(&mutant.key)
    }

    /// Whether it is to be tried: what was missed is, as there may be a new test.
    pub(super) fn is_open(&self, mutant: &Mutant) -> bool {
        matches!(self.of(mutant), None | Some(Outcome::Missed))
    }

    /// Keeps it for the next run.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn note(&mut self, mutant: &Mutant, outcome: Outcome) -> anyhow::Result<()> {
        self.known.insert(mutant.key.clone(), outcome.clone());
        self.mine.insert(mutant.key.clone(), outcome);
        let new = self.own.with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(&self.mine)?).context("write the outcomes")?;
        fs::rename(&new, &self.own).context("write the outcomes")
    }
}
