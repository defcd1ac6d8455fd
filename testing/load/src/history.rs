//! A long log, and pages of it from anywhere.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use unhidra_types::ConversationId;
use unhidra_wire::rest::Entries;

use crate::{
    account::Account,
    latency::Latencies,
    measure::{Spent, Watched},
    progress::Progress,
    random::random,
    say::{Speech, say},
    seat::Seat,
    stamp::Run,
};

/// How pages are read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The log.
    pub conversation: ConversationId,
    /// Entries that are in it.
    pub entries: u64,
    /// Entries of a page.
    pub page: u32,
    /// Readers, each with one request at a time.
    pub readers: u32,
    /// For how long.
    pub duration: Duration,
}

/// What reading came to.
#[derive(Debug)]
pub struct Pages {
    /// Pages that came, each whole.
    pub requests: u64,
    /// From question to answer.
    pub latencies: Latencies,
    /// What the server has spent.
    pub server: Spent,
}

/// Appends `messages` of 200 bytes to the log of `seat`.
///
/// # Errors
/// When the server refuses.
pub async fn fill(seat: &Seat, messages: u64, progress: &Progress) -> anyhow::Result<()> {
    let speech = Speech {
        run: Run {
            number: random(),
            began: Instant::now(),
        },
        sender: 0,
        messages,
        body: 200,
    };
    say(seat, speech, progress).await
}

/// Reads pages from places drawn by chance.
///
/// # Errors
/// When a page does not come, or is not the one that was asked for.
pub async fn read(account: &mut Account, reading: Reading, server: Option<Watched>) -> anyhow::Result<Pages> {
    let token = account.token().await?;
    let before = server.map(Watched::usage).transpose()?;
    let begin = Instant::now();
    let mut readers = JoinSet::new();
    for _ in 0..reading.readers {
        let (mut http, token) = (account.http(), token.clone());
        let mut state = random::<u128>();
        readers.spawn(async move {
            let mut latencies = Latencies::new()?;
            let places = reading.entries.saturating_sub(u64::from(reading.page)).max(1);
            while begin.elapsed() < reading.duration {
                // A linear congruence (Lehmer, 64 bits of 128): places need not be secret.
                state = state.wrapping_mul(0xda94_2042_e4dd_58b5) | 1;
                let after = u64::try_from(state >> 64)? % places;
                let asked = Instant::now();
                let Reading {
                    conversation, page, ..
                } = reading;
                let path = format!("/v1/conversations/{conversation}/entries?after={after}&limit={page}");
                let got: Entries = http.get(&path, &token).await?;
                latencies.record(asked.elapsed());
                let first = got.entries.first().context("a page has entries")?.seq;
                ensure!(
                    first == after + 1 && got.entries.len() == usize::try_from(page)?,
                    "the page after {after} begins with {first} and has {} entries",
                    got.entries.len()
                );
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Latencies::new()?;
    while let Some(read) = readers.join_next().await {
        latencies.add(&read.context("read pages")??)?;
    }
    let after = server.map(Watched::usage).transpose()?;
    let server = match (after, before) {
        (Some(after), Some(before)) => after.since(&before),
        _ => Spent::default(),
    };
    Ok(Pages {
        requests: latencies.count(),
        latencies,
        server,
    })
}
