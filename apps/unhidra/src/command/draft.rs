//! Files that appear whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use unhidra_runtime::Clock;

/// A file that nobody sees under its name until it is whole. Dropped before, it is deleted.
pub(super) struct Draft {
    pub(super) file: File,
    path: Option<PathBuf>,
}

impl Draft {
    /// An empty file in the folder of `target`.
    ///
    /// # Errors
    /// What keeps it from being made.
    pub(super) fn beside(target: &Path) -> anyhow::Result<Self> {
        let name = target.file_name().context("--out has to name a file")?;
        let random: [u8; 4] = Clock::System.context().random();
        let draft = format!(".{}.{:08x}", name.to_string_lossy(), u32::from_be_bytes(random));
        let path = folder_of(target).join(draft);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("make a file in {}", folder_of(target).display()))?;
        Ok(Self {
            file,
            path: Some(path),
        })
    }

    /// Gives it the name of `target`, once it is on disk.
    ///
    /// # Errors
    /// What keeps it from that; the draft is deleted.
    pub(super) fn publish(mut self, target: &Path) -> anyhow::Result<()> {
        self.file.sync_all().context("write the file")?;
        if let Some(path) = &self.path {
            fs::rename(path, target).with_context(|| format!("replace {}", target.display()))?;
        }
        self.path = None;
        File::open(folder_of(target))
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("write {}", folder_of(target).display()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = fs::remove_file(path)
        {
            tracing::debug!(error = %error, "an unfinished export stays");
        }
    }
}

fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
