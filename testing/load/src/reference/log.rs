//! One file, appended to and synchronised for everything that waits at once (group commit).

use std::{fs::File, io::Write as _, path::Path, thread};

use anyhow::{Context as _, bail};
use tokio::sync::mpsc;

use super::Said;

/// What waits for the disk.
const MAX_WAITING: usize = 4_096;

/// The way to the thread that writes. Clones lead to the same one.
#[derive(Clone)]
pub(super) struct Log(mpsc::Sender<Said>);

impl Log {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                // Without it nobody is answered any more, which shows.
                if let Err(error) = write(file, receiver) {
                    eprintln!("log: {error:#}");
                }
            })
            .context("start the log's thread")?;
        Ok(Self(sender))
    }

    pub(super) async fn append(&self, said: Said) -> anyhow::Result<()> {
        if self.0.send(said).await.is_err() {
            bail!("the log has failed");
        }
        Ok(())
    }
}

fn write(mut file: File, mut receiver: mpsc::Receiver<Said>) -> anyhow::Result<()> {
    let mut batch = Vec::new();
    let mut bytes = Vec::new();
    while receiver.blocking_recv_many(&mut batch, MAX_WAITING) > 0 {
        for entry in batch.iter().flat_map(|said| &said.entries) {
            bytes.extend_from_slice(entry);
        }
        file.write_all(&bytes).context("append")?;
        file.sync_data().context("synchronise")?;
        batch.drain(..).for_each(Said::pass_on);
        bytes.clear();
    }
    Ok(())
}
