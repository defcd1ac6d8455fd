//! Messages of a real device: encrypted, persisted, and only then sent, by the engine that every client has.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::time::Instant;
use unhidra_client::MessageKey;
use unhidra_client_native::{
    client::{Client, Destination, Settings},
    profile::{Profile, Protection},
};
use unhidra_types::UserId;
use unhidra_wire::rest::{Hidden, OpenAccount};

use crate::{
    measure::{Spent, Watched},
    random::random,
};

/// Messages that are taken over in one transaction.
const BATCH: usize = 256;
/// Messages that may wait for their answer before the next batch.
const OUTSTANDING: usize = 512;
/// How long sending, or receiving, may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Letters of a message: with its frame 200 bytes and more.
const LETTERS: usize = 160;

/// What sending came to.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Messages that the server has accepted, with the one that began the session.
    pub messages: u64,
    /// What this process has spent, which did nothing else: the client.
    pub client: Spent,
    /// What the server has spent.
    pub server: Spent,
}

/// Opens an account with a device whose store is in `folder`.
///
/// # Errors
/// When the server refuses or the store fails.
pub async fn device(folder: &Path, destination: Destination, invitation: String) -> anyhow::Result<Client> {
    let name = format!("load-{:08x}", random::<u32>());
    let profile = Profile::create(folder, &name.parse()?, Protection::KeyFile).context("make a profile")?;
    let account = OpenAccount {
        invitation: Hidden::new(invitation),
        username: name.parse().context("a generated name is valid")?,
        password: Hidden::new(format!("load-{:032x}", random::<u128>())),
    };
    let founding = Client::register(
        profile,
        destination,
        account,
        "load".to_owned(),
        Settings::default(),
    );
    Ok(founding.await?.upload().await?)
}

/// `sender` sends `messages` to `peer`.
///
/// # Errors
/// When it fails or takes too long.
pub async fn send(
    sender: &mut Client,
    peer: UserId,
    messages: u64,
    server: Option<Watched>,
) -> anyhow::Result<Sent> {
    // The session begins with the first message, which is not what is measured.
    send_batch(sender, peer, 1, 0).await?;
    let usage = || server.map(Watched::usage).transpose();
    let (own, before) = (Watched::own().usage()?, usage()?);
    let mut left = usize::try_from(messages)?;
    while left > 0 {
        let batch = left.min(BATCH);
        left -= batch;
        send_batch(sender, peer, batch, if left == 0 { 0 } else { OUTSTANDING }).await?;
    }
    let (own, after) = (Watched::own().usage()?.since(&own), usage()?);
    let server = match (after, before) {
        (Some(after), Some(before)) => after.since(&before),
        _ => Spent::default(),
    };
    Ok(Sent {
        messages: messages + 1,
        client: own,
        server,
    })
}

/// `receiver`, which was away, reads the `messages` that wait for it; what that cost this process.
///
/// # Errors
/// When it fails, takes too long, or has not got exactly these.
pub async fn receive(receiver: &mut Client, messages: u64) -> anyhow::Result<Spent> {
    let begin = Watched::own().usage()?;
    let known = receiver.device().journal_end()?;
    receiver.sync_until_caught_up(Instant::now() + PATIENCE).await?;
    let got = receiver.device().journal_end()?.saturating_sub(known);
    ensure!(got == messages, "the receiver has {got} messages of {messages}");
    Ok(Watched::own().usage()?.since(&begin))
}

async fn send_batch(
    sender: &mut Client,
    peer: UserId,
    batch: usize,
    outstanding: usize,
) -> anyhow::Result<()> {
    let text = "x".repeat(LETTERS);
    let texts = std::iter::repeat_with(|| (MessageKey::Random, text.clone()));
    sender.send(peer, texts.take(batch).collect())?;
    sender.drain(outstanding, Instant::now() + PATIENCE).await?;
    Ok(())
}
