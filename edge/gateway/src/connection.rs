//! One connection: frames in, answers and entries out, in one task.
//!
//! - [`catch_up`]: what is read from the log and not from the inbox   - [`pace`]: how fast the peer may append

mod catch_up;
mod pace;

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval, sleep};
use unhidra_messaging::{Messaging, access::Sender, append::AppendError, delivery::Log, order::SendOrder};
use unhidra_runtime::{Clock, Rate, Stop};
use unhidra_store::{StoreError, entry::Place};
use unhidra_types::{ConversationId, DeviceId, MsgId};
use unhidra_wire::{
    close::Close,
    frame::{Append, Appended, ClientFrame, ListVersion, Refusal, Refused, ServerFrame, Welcome},
};

use crate::{
    follow::{Following, Live},
    in_flight::{InFlight, Pending},
    inbox::{Inbox, Item, Items, Next, ended},
    registry::Registry,
    socket::Socket,
};

use self::pace::{Pace, Verdict};

/// How often the server pings.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// A peer that is silent for longer is gone.
const MAX_SILENCE: Duration = Duration::from_secs(75);
/// Notices that are passed on before anything else gets its turn.
const MAX_NOTICES_PER_TURN: usize = 32;
/// How long a write may still take once the server is to stop.
const FAREWELL: Duration = Duration::from_secs(2);
/// When a client may try again after the store could not take an envelope.
const RETRY_AFTER_MS: u32 = 1_000;

/// An authenticated connection before its first frame.
pub(crate) struct Connection {
    pub(crate) sender: Sender,
    pub(crate) socket: Socket,
    pub(crate) items: Items,
    pub(crate) registry: Registry,
    pub(crate) messaging: Messaging,
    pub(crate) clock: Clock,
    /// Appends of the connection.
    pub(crate) rate: Rate,
}

/// The answer to an append: which one, and what became of it.
struct Answer {
    conversation: ConversationId,
    msg_id: MsgId,
    attempt: u8,
    dest: Option<DeviceId>,
    outcome: Outcome,
}

enum Outcome {
    Decided(Result<Place, AppendError>),
    /// It came too fast.
    TooFast(Duration),
}

/// A connection that is being served.
struct Session {
    connection: Connection,
    following: Following,
    appends: InFlight<Answer>,
    order: Arc<SendOrder>,
    /// Cursors to move with the next act, one for each log at most.
    cursors: HashMap<ConversationId, (Log, u64)>,
    moving: Option<Pending<Result<(), StoreError>>>,
    /// The head of the user's own chain that the peer has been told.
    own_list: ListVersion,
    /// Entries are owed since the connection began or lagged, and `CaughtUp` is to follow them.
    catching_up: bool,
    pace: Pace,
    stop: Stop,
}

impl Connection {
    /// Serves until either side ends it. The registry has admitted the connection.
    ///
    /// # Cancellation safety
    /// Appends that were read are made durable in any case; their answers may be lost.
    pub(crate) async fn serve(self, welcome: Welcome, stop: Stop) {
        let mut session = Session {
            pace: Pace::new(self.rate),
            stop,
            connection: self,
            following: Following::default(),
            appends: InFlight::new(),
            order: Arc::default(),
            cursors: HashMap::new(),
            moving: None,
            own_list: welcome.own_list,
            catching_up: true,
        };
        let close = match session.begin(welcome).await {
            Ok(()) => session.run().await,
            Err(close) => close,
        };
        // They are queued; nobody is left to be told.
        drop(session.move_cursors());
        let Session {
            connection,
            following,
            ..
        } = session;
        connection
            .registry
            .leave(&connection.items.inbox, following.conversations());
        if let Some(close) = close {
            tracing::debug!(device.id = %connection.sender.device, reason = close.reason(), "connection closed");
            connection.socket.close(close).await;
        }
    }
}

impl Connection {
    /// Ends a connection that was admitted and is not served.
    pub(crate) async fn refuse(self, close: Close) {
        self.registry.leave(&self.items.inbox, std::iter::empty());
        self.socket.close(close).await;
    }
}

impl Session {
    async fn begin(&mut self, welcome: Welcome) -> Result<(), Option<Close>> {
        self.send(ServerFrame::Welcome(welcome).encode()).await?;
        self.read_positions().await
    }

    async fn run(&mut self) -> Option<Close> {
        let stop = self.stop.clone();
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.reset();
        let inbox = Arc::clone(&self.connection.items.inbox);
        loop {
            // Notices come after what the client waits for: a busy log has no end.
            let step = tokio::select! {
                biased;
                () = stop.requested() => {
                    self.finish_appends().await;
                    return Some(Close::GoingAway);
                }
                close = ended(&inbox) => Err(Some(close)),
                Some(answer) = self.appends.next() => self.answer(answer).await,
                moved = async { match &mut self.moving { Some(moving) => moving.await, None => std::future::pending().await } } => {
                    self.moving = None;
                    moved.map_err(|error| unavailable(&error))
                }
                frame = self.connection.socket.receive(), if self.appends.has_room() => match frame {
                    Ok(frame) => self.receive(frame).await,
                    Err(close) => Err(close),
                },
                next = self.connection.items.next() => self.react(next).await,
                _ = heartbeat.tick() => self.beat().await,
                () = inbox.asked() => self.ping().await,
                () = std::future::ready(()), if self.catching_up => self.send_page().await,
            };
            let step = match step {
                Ok(()) => self.settle().await,
                Err(close) => Err(close),
            };
            if let Err(close) = step {
                // Who does not read is not told either.
                if close != Some(Close::SlowReader) {
                    self.finish_appends().await;
                }
                return close;
            }
        }
    }

    /// After each step: starts the next cursor act and sends what is queued, unless more is ready anyway.
    async fn settle(&mut self) -> Result<(), Option<Close>> {
        if self.moving.is_none() {
            self.moving = self.move_cursors();
        }
        if self.catching_up {
            Ok(())
        } else {
            let Connection { socket, items, .. } = &mut self.connection;
            unless_ended(&items.inbox, &self.stop, socket.flush()).await
        }
    }

    /// Queues one act for everything that was acknowledged since the last one.
    fn move_cursors(&mut self) -> Option<Pending<Result<(), StoreError>>> {
        if self.cursors.is_empty() {
            return None;
        }
        let cursors = self.cursors.drain().map(|(_, cursor)| cursor).collect();
        let Connection {
            messaging, sender, ..
        } = &self.connection;
        Some(Box::pin(messaging.acknowledge(sender.device, cursors)))
    }

    async fn react(&mut self, next: Next) -> Result<(), Option<Close>> {
        match next {
            Next::End(close) => Err(Some(close)),
            Next::CatchUp => {
                self.read_own_list().await?;
                self.read_positions().await
            }
            Next::Item(item) => {
                self.pass_on(item).await?;
                for _ in 1..MAX_NOTICES_PER_TURN {
                    let Some(item) = self.connection.items.ready() else {
                        break;
                    };
                    self.pass_on(item).await?;
                }
                Ok(())
            }
        }
    }

    async fn pass_on(&mut self, item: Item) -> Result<(), Option<Close>> {
        match item {
            Item::Entry(entry) => {
                let shared = entry.shared();
                match self.following.live(shared.conversation, shared.seq) {
                    Live::Send => self.send(entry.frame_for(self.connection.sender.device)).await,
                    Live::Drop => {
                        self.catching_up |= self.following.next_behind().is_some();
                        Ok(())
                    }
                    Live::Unknown => self.follow(shared.conversation).await,
                }
            }
            Item::Opened(conversation) => self.follow(conversation).await,
            Item::ListChanged(head) => self.tell_own_list(head).await,
        }
    }

    async fn receive(&mut self, frame: Bytes) -> Result<(), Option<Close>> {
        let bytes = frame.len();
        match ClientFrame::decode(frame) {
            Ok(ClientFrame::Append(append)) => self.append(append, bytes),
            Ok(ClientFrame::Acknowledge { conversation, seq }) => {
                if let Some((log, seq)) = self.following.sent_part(conversation, seq) {
                    let (_, waiting) = self.cursors.entry(conversation).or_insert((log, seq));
                    *waiting = seq.max(*waiting);
                }
                Ok(())
            }
            Ok(ClientFrame::Fetch {
                conversation,
                from,
                to,
            }) => match self.pace.fetch() {
                Verdict::Take => self.fetch(conversation, from, to).await,
                Verdict::Refuse { .. } | Verdict::Close => Err(Some(Close::TooFast)),
            },
            Err(error) => {
                tracing::debug!(device.id = %self.connection.sender.device, error = %error, "frame refused");
                Err(Some(Close::Malformed))
            }
        }
    }

    /// Queues an append whose frame had `bytes`, or its refusal.
    fn append(&mut self, append: Append, bytes: usize) -> Result<(), Option<Close>> {
        let Append {
            conversation,
            msg_id,
            attempt,
            dest,
            ..
        } = append;
        let answer = move |outcome| Answer {
            conversation,
            msg_id,
            attempt,
            dest,
            outcome,
        };
        match self.pace.append() {
            Verdict::Take => {}
            Verdict::Close => return Err(Some(Close::TooFast)),
            // In its turn: answers come in the order of the appends.
            Verdict::Refuse {
                retry_after,
                is_first,
            } => {
                if is_first {
                    self.connection.messaging.put_off(&append, &self.order);
                }
                let refused = answer(Outcome::TooFast(retry_after));
                self.appends.push(bytes, std::future::ready(refused));
                return Ok(());
            }
        }
        let taken = self.connection.messaging.append(
            self.connection.sender,
            append,
            &self.order,
            self.connection.clock.context().now,
        );
        self.appends
            .push(bytes, async move { answer(Outcome::Decided(taken.await)) });
        Ok(())
    }

    async fn answer(&mut self, answer: Answer) -> Result<(), Option<Close>> {
        let Answer {
            conversation,
            msg_id,
            attempt,
            dest,
            outcome,
        } = answer;
        let refused = |reason, heads, retry_after_ms| {
            ServerFrame::Refused(Refused {
                conversation,
                msg_id,
                attempt,
                dest,
                reason,
                heads,
                retry_after_ms,
            })
        };
        let frame = match outcome {
            Outcome::Decided(Ok(Place { seq, server_time })) => ServerFrame::Appended(Appended {
                conversation,
                msg_id,
                attempt,
                dest,
                seq,
                server_time,
            }),
            Outcome::Decided(Err(AppendError::Refused { reason, heads })) => refused(reason, heads, 0),
            Outcome::Decided(Err(AppendError::OutOfTurn)) => {
                refused(Refusal::Unavailable, Vec::new(), RETRY_AFTER_MS)
            }
            Outcome::TooFast(pause) => {
                let pause = u32::try_from(pause.as_millis()).unwrap_or(u32::MAX);
                refused(Refusal::RateLimited, Vec::new(), pause)
            }
            Outcome::Decided(Err(AppendError::Store(error))) => {
                tracing::warn!(error = %error, "envelope could not be stored");
                refused(Refusal::Unavailable, Vec::new(), RETRY_AFTER_MS)
            }
        };
        self.send(frame.encode()).await
    }

    async fn beat(&mut self) -> Result<(), Option<Close>> {
        if self.connection.socket.silence() > MAX_SILENCE {
            return Err(Some(Close::HeartbeatTimeout));
        }
        self.ping().await
    }

    async fn ping(&mut self) -> Result<(), Option<Close>> {
        let Connection { socket, items, .. } = &mut self.connection;
        unless_ended(&items.inbox, &self.stop, socket.ping()).await
    }

    /// Writes to the peer.
    async fn send(&mut self, frame: Bytes) -> Result<(), Option<Close>> {
        let Connection { socket, items, .. } = &mut self.connection;
        unless_ended(&items.inbox, &self.stop, socket.feed(frame)).await
    }

    /// Tells the peer what became of appends that are already on their way, as far as it still listens.
    async fn finish_appends(&mut self) {
        while let Some(answer) = self.appends.next().await {
            if self.answer(answer).await.is_err() {
                return;
            }
        }
    }
}

/// A write, given up at once when the connection is to end, and soon when the server is: a peer that does not read must
/// not hold it up.
async fn unless_ended(
    inbox: &Inbox,
    stop: &Stop,
    write: impl Future<Output = Result<(), Option<Close>>>,
) -> Result<(), Option<Close>> {
    let stopped = async {
        stop.requested().await;
        sleep(FAREWELL).await;
    };
    tokio::select! {
        biased;
        close = ended(inbox) => Err(Some(close)),
        written = write => written,
        () = stopped => Err(Some(Close::GoingAway)),
    }
}

fn unavailable(error: &StoreError) -> Option<Close> {
    tracing::warn!(error = %error, "connection can't be served");
    Some(Close::Unavailable)
}
