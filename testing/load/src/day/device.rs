//! A device that behaves: it sends, confirms, acknowledges, and comes back.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, sleep_until},
};
use unhidra_types::ConversationId;

use super::{Phase, Plan, board::Board};
use crate::{
    account::Account,
    dialect::{Dialect, Incoming, Number},
    socket::Socket,
    stamp::{Ledger, Run, Stamp},
    websocket::Message,
};

const MESSAGE_BYTES: usize = 200;
/// What tells a receipt from a message here; as large as a sealed receipt in a group would be.
const RECEIPT_BYTES: usize = 96;
/// Rooms of one device: a sender is told from others by its device and its room.
const MAX_ROOMS: u32 = 16_384;
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);
/// Attempts in a row that may fail: the server has to be there.
const MAX_ATTEMPTS: u32 = 8;

/// What a device is told to do.
pub(super) enum Order {
    Reconnect,
}

pub(super) struct Device {
    account: Account,
    rooms: Vec<Room>,
    plan: Plan,
    run: Run,
    board: Arc<Board>,
    orders: mpsc::Receiver<Order>,
    /// Not accepted yet, the oldest first.
    unanswered: VecDeque<Letter>,
    /// Messages so far; their numbers are those of the protocol's `msg_id`.
    written: u64,
    ledger: Ledger,
}

struct Room {
    conversation: ConversationId,
    /// Messages of this device in this room.
    next: u64,
}

#[derive(Clone, Copy)]
struct Letter {
    number: u64,
    room: usize,
    /// Within the room.
    counter: u64,
    intended: Duration,
    bytes: usize,
}

/// What is left of a device when the day is over.
pub(super) struct Lived {
    pub(super) account: Account,
    pub(super) ledger: Ledger,
}

impl Device {
    pub(super) fn new(
        account: Account,
        rooms: Vec<ConversationId>,
        plan: Plan,
        run: Run,
        board: Arc<Board>,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let rooms = rooms.into_iter().map(|conversation| Room {
            conversation,
            next: 0,
        });
        Self {
            account,
            rooms: rooms.collect(),
            plan,
            run,
            board,
            orders,
            unanswered: VecDeque::new(),
            written: 0,
            ledger: Ledger::default(),
        }
    }

    pub(super) async fn live(mut self, mut phase: watch::Receiver<Phase>) -> anyhow::Result<Lived> {
        let mut socket = self.connect().await?;
        self.board.connect();
        let interval = Duration::from_secs_f64(f64::from(self.plan.devices) / self.plan.rate);
        // Devices must not all speak at the same moment.
        let share = f64::from(self.account.number() % self.plan.devices) / f64::from(self.plan.devices);
        let mut due = self.run.began.elapsed() + interval.mul_f64(share);
        loop {
            let now = *phase.borrow_and_update();
            if now == Phase::End {
                socket.close().await;
                return Ok(Lived {
                    account: self.account,
                    ledger: self.ledger,
                });
            }
            let went = tokio::select! {
                exchanged = socket.exchange() => match exchanged {
                    Ok(()) => self.take(&mut socket, now),
                    Err(lost) => Err(lost),
                },
                () = sleep_until((self.run.began + due).into()), if now == Phase::Live => {
                    let room = usize::try_from(self.written)? % self.rooms.len().max(1);
                    let wrote = self.write(&mut socket, room, due, MESSAGE_BYTES);
                    due += interval;
                    wrote
                }
                Some(Order::Reconnect) = self.orders.recv(), if now == Phase::Live => {
                    socket.close().await;
                    socket = self.again().await?;
                    Ok(())
                }
                changed = phase.changed() => changed.context("the day is over"),
            };
            if let Err(error) = went {
                self.board.fail(&error);
                socket = self.again().await?;
            }
        }
    }

    /// A new connection, on which everything that was not answered is said again.
    async fn again(&mut self) -> anyhow::Result<Socket> {
        let mut socket = self.connect().await?;
        for letter in self.unanswered.clone() {
            self.post(&mut socket, letter)?;
        }
        Ok(socket)
    }

    async fn connect(&mut self) -> anyhow::Result<Socket> {
        let conversation = self
            .rooms
            .first()
            .context("a device is in a conversation")?
            .conversation;
        let mut attempts = 0;
        loop {
            // Asked each time: a token ends.
            let seat = self.account.seat(conversation).await.context("a token")?;
            match seat.connect().await {
                Ok(socket) => return Ok(socket),
                Err(error) if attempts >= MAX_ATTEMPTS => return Err(error).context("connect"),
                Err(error) => self.board.fail(&error.context("connect")),
            }
            attempts += 1;
            sleep(RETRY).await;
        }
    }

    fn write(
        &mut self,
        socket: &mut Socket,
        room: usize,
        intended: Duration,
        bytes: usize,
    ) -> anyhow::Result<()> {
        let place = self
            .rooms
            .get_mut(room)
            .context("a device is in a conversation")?;
        let letter = Letter {
            number: self.written,
            room,
            counter: place.next,
            intended,
            bytes,
        };
        place.next += 1;
        self.written += 1;
        self.unanswered.push_back(letter);
        self.board.ask();
        self.post(socket, letter)
    }

    fn post(&self, socket: &mut Socket, letter: Letter) -> anyhow::Result<()> {
        let conversation = self
            .rooms
            .get(letter.room)
            .context("a letter has a room")?
            .conversation;
        let stamp = Stamp {
            run: self.run.number,
            sender: self.account.number() * MAX_ROOMS + u32::try_from(letter.room)?,
            counter: letter.counter,
            sent: letter.intended,
        };
        let mut body = vec![b'.'; letter.bytes];
        if let Some(place) = body.first_chunk_mut() {
            *place = stamp.to_bytes();
        }
        let number = Number {
            run: self.run.number,
            sender: self.account.number(),
            counter: letter.number,
        };
        Dialect::Unhidra.send(&mut socket.outbox, conversation, number, &body)
    }

    /// Everything that has come: messages are counted, some confirmed, all acknowledged.
    fn take(&mut self, socket: &mut Socket, phase: Phase) -> anyhow::Result<()> {
        let now = self.run.began.elapsed();
        let (mut ages, mut furthest, mut to_confirm) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(message) = socket.inbox.message()? {
            let payload = match message {
                Message::Binary(payload) => payload,
                Message::Ping(payload) => {
                    socket.outbox.pong(payload)?;
                    continue;
                }
                Message::Close(code) => bail!("the server closed the connection with {code}"),
                Message::Other => continue,
            };
            match Dialect::Unhidra.read(payload)? {
                Incoming::Entry { log, seq, body } => {
                    reach(&mut furthest, log, seq);
                    let Some(stamp) = Stamp::read(body) else { continue };
                    let is_ours = stamp.run == self.run.number;
                    if is_ours && self.ledger.take(log, seq, &stamp) {
                        ages.push(now.saturating_sub(stamp.sent));
                        if body.len() == MESSAGE_BYTES && self.confirms(&stamp) {
                            to_confirm.push(log);
                        }
                    }
                }
                Incoming::Accepted(number) => self.accepted(number),
                Incoming::Refused(number, reason) => bail!("message {number} was refused: {reason:?}"),
                Incoming::CaughtUp | Incoming::Other => {}
            }
        }
        for (log, seq) in furthest {
            Dialect::Unhidra.acknowledge(&mut socket.outbox, log, seq)?;
        }
        if !ages.is_empty() {
            self.board.receive(&ages);
        }
        for log in to_confirm.into_iter().filter(|_| phase == Phase::Live) {
            let conversation = ConversationId::from_bytes(log);
            let room = self
                .rooms
                .iter()
                .position(|room| room.conversation == conversation);
            self.write(socket, room.context("an entry is of a room")?, now, RECEIPT_BYTES)?;
        }
        Ok(())
    }

    fn confirms(&self, stamp: &Stamp) -> bool {
        let every = self.plan.receipt_every;
        every > 0 && (stamp.counter + u64::from(self.account.number())).is_multiple_of(every)
    }

    fn accepted(&mut self, number: u64) {
        let place = self.unanswered.iter().position(|letter| letter.number == number);
        // One that was repeated is answered twice.
        if let Some(place) = place {
            self.unanswered.remove(place);
            self.board.accept(u64::from(self.plan.members.saturating_sub(1)));
        }
    }
}

/// The last entry of each log.
fn reach(furthest: &mut Vec<([u8; 16], u64)>, log: [u8; 16], seq: u64) {
    match furthest.iter_mut().find(|(known, _)| *known == log) {
        Some((_, last)) => *last = seq.max(*last),
        None => furthest.push((log, seq)),
    }
}
