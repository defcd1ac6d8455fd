//! Those who do not behave: some read next to nothing of what is sent to them, some send as fast as they can. Each sender
//! has its share of the slow ones as its audience.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{task::JoinSet, time::sleep};

use super::{Trouble, board::Board};
use crate::{
    account::Account,
    dialect::{Dialect, Incoming, Number},
    random::random,
    seat::Seat,
    socket::Socket,
    websocket::Message,
};

/// A slow one reads once in this time, and never more than one read brings.
const READ_EVERY: Duration = Duration::from_secs(20);
/// What an abusive one queues at once.
const BURST: u64 = 100;
const BURST_EVERY: Duration = Duration::from_millis(100);
/// Until one that was thrown out comes back.
const BACK_AFTER: Duration = Duration::from_secs(1);
const BODY_BYTES: usize = 1_024;

/// An abusive one and its audience.
pub(super) struct Room {
    abusive: Option<Seat>,
    slow: Vec<Seat>,
}

/// Conversations of those of `accounts` who do not behave.
pub(super) async fn rooms(mut accounts: Vec<Account>, trouble: Trouble) -> anyhow::Result<Vec<Room>> {
    let mut slow = accounts.split_off(accounts.len().min(usize::try_from(trouble.abusive)?));
    let share = slow.len().div_ceil(accounts.len().max(1)).max(1);
    let mut rooms = Vec::new();
    for mut abusive in accounts {
        let mut audience = slow.split_off(slow.len().saturating_sub(share));
        let users = audience.iter().map(Account::user).collect();
        let conversation = abusive.open_group(users).await.context("open a group")?;
        let mut seats = Vec::new();
        for account in &mut audience {
            seats.push(account.seat(conversation).await?);
        }
        rooms.push(Room {
            abusive: Some(abusive.seat(conversation).await?),
            slow: seats,
        });
    }
    Ok(rooms)
}

impl Room {
    pub(super) fn disturb(self, tasks: &mut JoinSet<()>, board: &Arc<Board>) {
        for seat in self.slow {
            tasks.spawn(crawl(seat));
        }
        if let Some(seat) = self.abusive {
            tasks.spawn(flood(seat, Arc::clone(board)));
        }
    }
}

/// Reads a little, now and then; comes back when it is thrown out.
async fn crawl(seat: Seat) {
    loop {
        if let Ok(mut socket) = seat.connect().await {
            while read_a_little(&mut socket).await.is_ok() {
                sleep(READ_EVERY).await;
            }
        }
        sleep(BACK_AFTER).await;
    }
}

async fn read_a_little(socket: &mut Socket) -> anyhow::Result<()> {
    socket.exchange().await?;
    while let Some(message) = socket.inbox.message()? {
        if let Message::Ping(payload) = message {
            socket.outbox.pong(payload)?;
        }
    }
    Ok(())
}

/// Sends as fast as it can; comes back when it is thrown out.
async fn flood(seat: Seat, board: Arc<Board>) {
    let run = random();
    let mut counter = 0;
    loop {
        if let Ok(mut socket) = seat.connect().await {
            // It ends by being thrown out, and in no other way.
            let _thrown_out = pour(&seat, &mut socket, run, &mut counter, &board).await;
            board.close();
        }
        sleep(BACK_AFTER).await;
    }
}

async fn pour(
    seat: &Seat,
    socket: &mut Socket,
    run: u32,
    counter: &mut u64,
    board: &Board,
) -> anyhow::Result<()> {
    let body = vec![0; BODY_BYTES];
    loop {
        for _ in 0..BURST {
            let number = Number {
                run,
                sender: 0,
                counter: *counter,
            };
            *counter += 1;
            Dialect::Unhidra.send(&mut socket.outbox, seat.conversation, number, &body)?;
        }
        socket.flush().await?;
        let mut refused = 0;
        while let Some(message) = socket.inbox.message()? {
            match message {
                Message::Binary(payload) => {
                    refused += u64::from(matches!(Dialect::Unhidra.read(payload)?, Incoming::Refused(..)));
                }
                Message::Close(code) => bail!("thrown out with {code}"),
                Message::Ping(_) | Message::Other => {}
            }
        }
        board.refuse(refused);
        sleep(BURST_EVERY).await;
    }
}
