//! What happens beside messages: devices come back, people log in and read history.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use unhidra_types::ConversationId;
use unhidra_wire::rest::Entries;

use super::{Errands, board::Board, device::Order};
use crate::account::Account;

/// Entries of a page.
const PAGE: u64 = 50;

/// Has one device after the other come back, so often in a second.
pub(super) async fn reconnect(devices: Vec<mpsc::Sender<Order>>, per_second: f64, board: Arc<Board>) {
    let Some(period) = period(per_second) else { return };
    let mut ticks = interval(period);
    // Neighbours share a conversation: a stride has members of different ones come back.
    let stride = devices.len() / 7 * 3 + 1;
    for number in (0..).step_by(stride) {
        ticks.tick().await;
        if let Some(device) = devices.get(number % devices.len().max(1)) {
            // One that has orders waiting gets no more.
            if device.try_send(Order::Reconnect).is_ok() {
                board.reconnect();
            }
        }
    }
}

/// Logs in and reads history, each on its own account in turn.
pub(super) async fn run(people: Vec<(Account, ConversationId)>, plan: Errands, board: Arc<Board>) {
    let middle = people.len() / 2;
    let (mut logging_in, mut reading) = (people, Vec::new());
    if plan.logins > 0.0 && plan.pages > 0.0 {
        reading = logging_in.split_off(middle);
    } else if plan.pages > 0.0 {
        std::mem::swap(&mut logging_in, &mut reading);
    }
    let mut both = JoinSet::new();
    both.spawn(log_in(logging_in, plan.logins, Arc::clone(&board)));
    both.spawn(read(reading, plan.pages, board));
    while both.join_next().await.is_some() {}
}

async fn log_in(people: Vec<(Account, ConversationId)>, per_second: f64, board: Arc<Board>) {
    let Some(mut ticks) = ticks(per_second) else {
        return;
    };
    for (account, _) in people.iter().cycle() {
        ticks.tick().await;
        match account.prove_password(&mut account.http()).await {
            Ok(()) => board.log_in(),
            Err(error) => board.fail(&error.context("log in")),
        }
    }
}

async fn read(mut people: Vec<(Account, ConversationId)>, per_second: f64, board: Arc<Board>) {
    let Some(mut ticks) = ticks(per_second) else {
        return;
    };
    // Somewhere in the log: the golden ratio visits every part of it.
    let mut place = 0.5_f64;
    let mut head = 0;
    for number in (0..people.len()).cycle() {
        let Some((account, conversation)) = people.get_mut(number) else {
            return;
        };
        ticks.tick().await;
        place = (place + 0.618_034).fract();
        let after = (head as f64 * place) as u64;
        match page(account, *conversation, after).await {
            Ok(entries) => {
                head = entries.head;
                board.read_page();
            }
            Err(error) => board.fail(&error.context("read history")),
        }
    }
}

/// 50 entries behind `after`.
///
/// # Errors
/// When the server refuses.
pub(crate) async fn page(
    account: &mut Account,
    conversation: ConversationId,
    after: u64,
) -> anyhow::Result<Entries> {
    let token = account.token().await?;
    let path = format!("/v1/conversations/{conversation}/entries?after={after}&limit={PAGE}");
    account.http().get(&path, &token).await
}

fn ticks(per_second: f64) -> Option<tokio::time::Interval> {
    let mut ticks = interval(period(per_second)?);
    // Who was late does not hurry.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(ticks)
}

fn period(per_second: f64) -> Option<Duration> {
    (per_second > 0.0).then(|| Duration::from_secs_f64(1.0 / per_second))
}
