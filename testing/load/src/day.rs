//! A mixed day: many devices in many conversations that send and confirm, come and go, log in and read history, for as
//! long as wanted; and, if asked for, some that do not read and some that send without end.
//!
//! Each device is a member of some conversations and has one connection. It sends at a fixed rate, answers some of what
//! comes with a receipt (a small message, as the receipts of the protocol are; there are no typing notices in it), and
//! acknowledges everything. What was sent and what arrived is counted for each sender and conversation, across all
//! reconnections. What those who mean harm send is not counted, and neither is what the slow ones miss.
//!
//! - [`device`]: one that behaves   - [`errands`]: logins and history   - [`trouble`]: those who do not behave
//! - [`board`]: what all of them count   - [`lines`]: what is told while it goes on

mod board;
mod device;
mod errands;
mod lines;
mod trouble;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{interval, sleep},
};
use unhidra_types::{ConversationId, UserId};

pub use self::lines::{Line, Memory};
use self::{
    board::Board,
    device::{Device, Lived, Order},
    lines::Teller,
};
use crate::{
    account::Account, measure::Watched, population::Population, progress::Progress, random::random,
    stamp::Run,
};

/// How long the last messages may take.
const END_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Accounts that log in and read history, beside those of the devices.
const ERRANDS: u32 = 100;
/// Orders that wait for one device.
const ORDERS: usize = 4;

/// How large a day is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Devices that are connected.
    pub devices: u32,
    /// Conversations.
    pub conversations: u32,
    /// Devices in each of them.
    pub members: u32,
    /// Messages a second, of all devices together.
    pub rate: f64,
    /// One in so many arrivals is answered with a receipt; 0 for none.
    pub receipt_every: u64,
    /// Reconnections, logins, and pages of history a second.
    pub errands: Errands,
    /// Those who do not behave.
    pub trouble: Trouble,
    /// Before memory and cost are looked at.
    pub warm_up: Duration,
    /// How long.
    pub duration: Duration,
    /// Between two lines.
    pub tell_every: Duration,
}

/// What happens beside messages, each so often in a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Errands {
    /// A device closes its connection and opens another.
    pub reconnections: f64,
    /// Somebody proves a password.
    pub logins: f64,
    /// Somebody reads 50 entries from somewhere in a log.
    pub pages: f64,
}

/// Those who do not behave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// Connections that read next to nothing of what is sent to them.
    pub slow: u32,
    /// Connections that send as fast as they can.
    pub abusive: u32,
}

/// What came of a day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Day {
    /// What it was like, in the order of time.
    pub lines: Vec<Line>,
    /// Memory of the server through it.
    pub memory: Memory,
    /// Messages and receipts that were accepted.
    pub sent: u64,
    /// Of them, over all members, what has arrived.
    pub received: u64,
    /// What has not. Zero, or the server lies.
    pub lost: u64,
    /// Messages that stand twice in a log. Zero, or the server lies.
    pub duplicated: u64,
    /// Entries that came again after a reconnection.
    pub repeated: u64,
    /// Whatever went wrong for somebody who behaves.
    pub errors: u64,
    /// The first of them.
    pub first_errors: Vec<String>,
    /// Over the whole day.
    pub p50_ms: f64,
    /// Over the whole day.
    pub p99_ms: f64,
    /// Processor time of the server after the warm-up, for each entry that was delivered meanwhile.
    pub cpu_us_per_delivery: f64,
    /// Messages of those who send without end that were refused.
    pub refused: u64,
    /// Their connections that were closed.
    pub closed: u64,
}

/// What everyone is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Live,
    /// No new messages.
    Finish,
    End,
}

/// Those who take part.
struct Cast {
    devices: Vec<Device>,
    orders: Vec<mpsc::Sender<Order>>,
    errands: Vec<(Account, ConversationId)>,
    troubled: Vec<trouble::Room>,
}

impl Day {
    /// That nothing was lost, nothing came twice, nothing went wrong, and memory stayed where it was.
    ///
    /// # Errors
    /// What did not hold.
    pub fn verdict(&self) -> anyhow::Result<()> {
        ensure!(
            self.lost == 0 && self.duplicated == 0,
            "{} messages lost and {} duplicated of {}",
            self.lost,
            self.duplicated,
            self.sent
        );
        ensure!(
            self.errors == 0,
            "{} errors, such as {}",
            self.errors,
            self.first_errors.join("; ")
        );
        self.memory.verdict()
    }
}

/// Lives a day with accounts of `population`, which are opened as needed. `server` is watched.
///
/// # Errors
/// When accounts or conversations can't be opened, or the day does not end.
pub async fn live(
    population: &mut Population,
    plan: Plan,
    server: Watched,
    progress: &Progress,
) -> anyhow::Result<Day> {
    let run = Run {
        number: random(),
        began: Instant::now(),
    };
    let board = Arc::new(Board::new()?);
    let (tell, phase) = watch::channel(Phase::Live);
    let cast = assemble(population, plan, run, &board, progress).await?;
    let mut living: JoinSet<anyhow::Result<Lived>> = JoinSet::new();
    for device in cast.devices {
        living.spawn(device.live(phase.clone()));
    }
    progress.say(&format!("{} devices connect", plan.devices));
    while board.connected() < u64::from(plan.devices) {
        ensure_living(&mut living)?;
        sleep(LOOK_EVERY).await;
    }
    let mut beside = JoinSet::new();
    beside.spawn(errands::reconnect(
        cast.orders,
        plan.errands.reconnections,
        Arc::clone(&board),
    ));
    beside.spawn(errands::run(cast.errands, plan.errands, Arc::clone(&board)));
    for room in cast.troubled {
        room.disturb(&mut beside, &board);
    }
    let mut teller = Teller::new(Arc::clone(&board), server, plan.warm_up)?;
    let mut ticks = interval(plan.tell_every);
    ticks.tick().await;
    while teller.elapsed() < plan.duration {
        ticks.tick().await;
        ensure_living(&mut living)?;
        progress.say(&teller.tell()?.to_string());
    }
    beside.abort_all();
    let spent = teller.spent()?;
    // Whoever would hear it has ended, which `ensure_living` has told.
    let _nobody = tell.send(Phase::Finish);
    let begin = Instant::now();
    while (board.unanswered() > 0 || board.received() < board.owed()) && begin.elapsed() < END_TIMEOUT {
        ensure_living(&mut living)?;
        sleep(LOOK_EVERY).await;
    }
    let _nobody = tell.send(Phase::End);
    let mut repeated = 0;
    let mut duplicated = 0;
    while let Some(ended) = living.join_next().await {
        let lived = ended.context("a device")??;
        (repeated, duplicated) = (
            repeated + lived.ledger.repeated,
            duplicated + lived.ledger.duplicated,
        );
        population.accounts.push(lived.account);
    }
    population.accounts.sort_by_key(Account::number);
    let latencies = board.latencies();
    Ok(Day {
        memory: teller.memory(),
        lines: teller.into_lines(),
        sent: board.sent(),
        received: board.received(),
        lost: board.owed().saturating_sub(board.received()),
        duplicated,
        repeated,
        errors: board.errors(),
        first_errors: board.first_errors(),
        p50_ms: latencies.quantile(0.5).as_secs_f64() * 1e3,
        p99_ms: latencies.quantile(0.99).as_secs_f64() * 1e3,
        cpu_us_per_delivery: spent,
        refused: board.refused(),
        closed: board.closed(),
    })
}

/// Opens accounts and conversations. Those for errands come behind those of the devices, and behind them those who do not
/// behave; all but the devices' are used up.
async fn assemble(
    population: &mut Population,
    plan: Plan,
    run: Run,
    board: &Arc<Board>,
    progress: &Progress,
) -> anyhow::Result<Cast> {
    let errands = if plan.errands.logins + plan.errands.pages > 0.0 {
        ERRANDS
    } else {
        0
    };
    let wanted = plan.devices + errands + plan.trouble.slow + plan.trouble.abusive;
    population.grow(wanted, progress).await?;
    let mut accounts = std::mem::take(&mut population.accounts);
    let mut others = accounts.split_off(usize::try_from(plan.devices)?);
    let troubled = others.split_off(usize::try_from(errands)?);
    let mut rooms: Vec<Vec<ConversationId>> = vec![Vec::new(); accounts.len()];
    let mut first_rooms = Vec::new();
    for number in 0..plan.conversations {
        let members = members(number, plan)?;
        let mut users: Vec<UserId> = members
            .iter()
            .skip(1)
            .filter_map(|at| Some(accounts.get(*at)?.user()))
            .collect();
        users.extend(
            others
                .iter()
                .skip(usize::try_from(number)?)
                .step_by(usize::try_from(plan.conversations)?)
                .map(Account::user),
        );
        let host = members.first().and_then(|at| accounts.get_mut(*at));
        let conversation = host
            .context("a conversation has members")?
            .open_group(users)
            .await?;
        for at in members {
            rooms
                .get_mut(at)
                .context("a member has rooms")?
                .push(conversation);
        }
        first_rooms.push(conversation);
        progress.count(
            "conversations",
            u64::from(number) + 1,
            u64::from(plan.conversations),
        );
    }
    let (mut devices, mut orders) = (Vec::new(), Vec::new());
    for (account, rooms) in accounts.into_iter().zip(rooms) {
        let (give, take) = mpsc::channel(ORDERS);
        devices.push(Device::new(account, rooms, plan, run, Arc::clone(board), take));
        orders.push(give);
    }
    let errands = others.into_iter().zip(first_rooms.into_iter().cycle()).collect();
    Ok(Cast {
        devices,
        orders,
        errands,
        troubled: trouble::rooms(troubled, plan.trouble).await?,
    })
}

/// The members of conversation `number`: neighbours, with a stride that spreads conversations over all devices.
fn members(number: u32, plan: Plan) -> anyhow::Result<Vec<usize>> {
    let first = u64::from(number) * u64::from(plan.devices) / u64::from(plan.conversations.max(1));
    (0..u64::from(plan.members))
        .map(|member| Ok(usize::try_from((first + member) % u64::from(plan.devices))?))
        .collect()
}

/// Nobody ends before they are told: who has, has failed.
fn ensure_living(living: &mut JoinSet<anyhow::Result<Lived>>) -> anyhow::Result<()> {
    if let Some(ended) = living.try_join_next() {
        ended.context("a device")??;
        anyhow::bail!("a device ended early");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_is_a_member_of_as_many_conversations() {
        let plan = Plan {
            devices: 200,
            conversations: 20,
            members: 20,
            rate: 1.0,
            receipt_every: 0,
            errands: Errands::default(),
            trouble: Trouble::default(),
            warm_up: Duration::ZERO,
            duration: Duration::ZERO,
            tell_every: Duration::ZERO,
        };
        let mut counts = vec![0; 200];
        for number in 0..plan.conversations {
            members(number, plan)
                .unwrap()
                .into_iter()
                .for_each(|at| counts[at] += 1);
        }
        assert!(counts.iter().all(|count| *count == 2));
    }
}
