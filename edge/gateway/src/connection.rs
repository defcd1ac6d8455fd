//! One connection: frames in, answers and entries out, in one task.
//!
//! - [`catch_up`]: what is read from the log and not from the inbox   - [`pace`]: how fast the peer may append

mod catch_up;
mod pace;

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior, interval};
use unhidra_bus::Entry;
use unhidra_messaging::{Messaging, access::Sender, append::AppendError, order::SendOrder};
use unhidra_runtime::{Clock, Rate};
use unhidra_store::{StoreError, cursor::Position, entry::Place};
use unhidra_types::{ConversationId, DeviceId, MsgId};
use unhidra_wire::{
    close::Close,
    frame::{Append, Appended, ClientFrame, ListVersion, Refusal, Refused, ServerFrame, Welcome},
};

use crate::{
    burst::Burst,
    follow::{Following, Live},
    in_flight::InFlight,
    inbox::{Inbox, Item, Next},
    registry::Registry,
    socket::Socket,
};

use self::pace::{Pace, Verdict};

/// How often the server pings.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// A peer that is silent for longer is gone.
const MAX_SILENCE: Duration = Duration::from_secs(75);
/// Notices, or bursts of them, that are passed on before anything else gets its turn.
const MAX_NOTICES_PER_TURN: usize = 32;
/// Steps after which what is queued goes out, although more is ready.
const MAX_STEPS: u32 = 64;
/// When a client may try again after the store could not take an envelope.
const RETRY_AFTER_MS: u32 = 1_000;

/// An authenticated connection before its first frame.
pub(crate) struct Connection {
    pub(crate) sender: Sender,
    pub(crate) socket: Socket,
    pub(crate) inbox: Arc<Inbox>,
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

/// A connection that is being served. It is boxed: its task then holds it once, and nothing else.
pub(crate) struct Session {
    connection: Connection,
    /// What was taken from the inbox and not passed on.
    hand: VecDeque<Item>,
    /// Where its logs stood when it came, until it follows them.
    positions: Vec<Position>,
    following: Following,
    appends: InFlight<Answer>,
    order: Arc<SendOrder>,
    /// The head of the user's own chain that the peer has been told.
    own_list: ListVersion,
    /// Entries are owed since the connection began or lagged, and `CaughtUp` is to follow them.
    catching_up: bool,
    pace: Pace,
    heartbeat: Interval,
    /// Steps since what was queued went out.
    steps: u32,
}

/// What there is to do.
enum Step {
    Next(Next),
    Answer(Answer),
    Frame(Bytes),
    Beat,
    /// One page of what is owed.
    Page,
}

impl Session {
    /// A connection that the registry has admitted, before its first frame.
    pub(crate) fn new(connection: Connection) -> Box<Self> {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.reset();
        Box::new(Self {
            pace: Pace::new(connection.rate),
            own_list: ListVersion {
                user: connection.sender.user,
                version: 0,
                head_hash: [0; 32],
            },
            connection,
            hand: VecDeque::new(),
            positions: Vec::new(),
            following: Following::default(),
            appends: InFlight::new(),
            order: Arc::default(),
            catching_up: true,
            heartbeat,
            steps: 0,
        })
    }

    /// With the welcome on its way, and where its logs stand now.
    pub(crate) fn welcomed(mut self: Box<Self>, welcome: Welcome, positions: Vec<Position>) -> Box<Self> {
        self.own_list = welcome.own_list;
        self.positions = positions;
        self.send(&ServerFrame::Welcome(welcome));
        self
    }

    /// Serves until either side ends it.
    ///
    /// # Cancellation safety
    /// Appends that were read are made durable in any case; their answers may be lost.
    pub(crate) async fn serve(mut self: Box<Self>) {
        let positions = std::mem::take(&mut self.positions);
        let close = match Box::pin(self.take_positions(positions)).await {
            Ok(()) => self.run().await,
            Err(close) => close,
        };
        Box::pin(self.end(close)).await;
    }

    /// Forgets the connection, and says why it ends.
    pub(crate) async fn end(self: Box<Self>, close: Option<Close>) {
        let Self {
            connection,
            following,
            ..
        } = *self;
        let Connection {
            registry,
            inbox,
            socket,
            sender,
            ..
        } = connection;
        registry.leave(&inbox, following.conversations());
        if let Some(close) = close {
            tracing::debug!(device.id = %sender.device, reason = close.reason(), "connection closed");
            socket.close(close).await;
        }
    }

    async fn run(&mut self) -> Option<Close> {
        loop {
            let taken = match poll_fn(|cx| self.poll_step(cx)).await {
                Ok(step) => self.take(step).await,
                Err(close) => Err(close),
            };
            if let Err(close) = taken {
                // Who does not read is not told either.
                if close != Some(Close::SlowReader) {
                    self.finish_appends().await;
                }
                return close;
            }
            self.steps += 1;
        }
    }

    /// The next step. What is queued goes out when nothing else is to be done, or there is much of it: one write for all.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, Option<Close>>> {
        let Connection { socket, inbox, .. } = &mut self.connection;
        if socket.is_blocked() || socket.is_full() || self.steps >= MAX_STEPS {
            // A peer that does not read holds everything up but its end.
            if let Poll::Ready(close) = inbox.poll_end(cx) {
                return Poll::Ready(Err(Some(close)));
            }
            ready!(socket.poll_flush(cx))?;
            self.steps = 0;
        }
        let next = match inbox.poll_next(cx, &mut self.hand) {
            Poll::Ready(Next::Items) => true,
            Poll::Ready(next) => return Poll::Ready(Ok(Step::Next(next))),
            Poll::Pending => false,
        };
        // Notices come after what the client waits for: a busy log has no end.
        if let Poll::Ready(Some(answer)) = self.appends.poll_next(cx) {
            return Poll::Ready(Ok(Step::Answer(answer)));
        }
        if self.appends.has_room()
            && let Poll::Ready(frame) = socket.poll_receive(cx)
        {
            return Poll::Ready(frame.map(Step::Frame));
        }
        if next {
            return Poll::Ready(Ok(Step::Next(Next::Items)));
        }
        if self.heartbeat.poll_tick(cx).is_ready() {
            return Poll::Ready(Ok(Step::Beat));
        }
        if self.catching_up && !socket.is_blocked() {
            return Poll::Ready(Ok(Step::Page));
        }
        ready!(socket.poll_flush(cx))?;
        self.steps = 0;
        Poll::Pending
    }

    async fn take(&mut self, step: Step) -> Result<(), Option<Close>> {
        match step {
            Step::Next(Next::Items) => self.pass_on_hand().await,
            Step::Next(Next::End(close)) => Err(Some(close)),
            Step::Next(Next::Ask) => {
                self.connection.socket.ping();
                Ok(())
            }
            Step::Next(Next::CatchUp) => Box::pin(self.catch_up()).await,
            Step::Answer(answer) => {
                self.answer(answer);
                Ok(())
            }
            Step::Frame(frame) => self.receive(frame).await,
            Step::Beat => self.beat(),
            Step::Page => Box::pin(self.send_page()).await,
        }
    }

    /// Passes on what was taken from the inbox, until it is the turn of something else.
    async fn pass_on_hand(&mut self) -> Result<(), Option<Close>> {
        for _ in 0..MAX_NOTICES_PER_TURN {
            if self.connection.socket.is_full() {
                break;
            }
            match self.hand.pop_front() {
                Some(Item::Entry(entry)) => self.pass_on(&entry).await?,
                Some(Item::Burst(burst)) => self.pass_on_burst(&burst).await?,
                Some(Item::Opened(conversation)) => Box::pin(self.follow(conversation)).await?,
                Some(Item::ListChanged(head)) => self.tell_own_list(head),
                None => break,
            }
        }
        Ok(())
    }

    async fn pass_on_burst(&mut self, burst: &Burst) -> Result<(), Option<Close>> {
        let is_own = burst.is_from(self.connection.sender.device);
        if !is_own
            && self
                .following
                .all_live(burst.conversation(), burst.first(), burst.last())
        {
            let frames = u64::try_from(burst.entries().len()).unwrap_or(u64::MAX);
            self.connection.socket.queue(burst.messages().clone(), frames);
            return Ok(());
        }
        for entry in burst.entries() {
            self.pass_on(entry).await?;
        }
        Ok(())
    }

    async fn pass_on(&mut self, entry: &Entry) -> Result<(), Option<Close>> {
        let shared = entry.shared();
        match self.following.live(shared.conversation, shared.seq) {
            Live::Send => {
                let message = entry.message_for(self.connection.sender.device);
                self.connection.socket.queue(message, 1);
            }
            Live::Drop => self.catching_up |= self.following.next_behind().is_some(),
            Live::Unknown => Box::pin(self.follow(shared.conversation)).await?,
        }
        Ok(())
    }

    async fn receive(&mut self, frame: Bytes) -> Result<(), Option<Close>> {
        let bytes = frame.len();
        match ClientFrame::decode(frame) {
            Ok(ClientFrame::Append(append)) => self.append(append, bytes),
            Ok(ClientFrame::Acknowledge { conversation, seq }) => {
                if let Some((log, seq)) = self.following.sent_part(conversation, seq) {
                    let Connection {
                        messaging, sender, ..
                    } = &self.connection;
                    messaging.acknowledge(sender.device, log, seq);
                }
                Ok(())
            }
            Ok(ClientFrame::Fetch {
                conversation,
                from,
                to,
            }) => match self.pace.fetch() {
                Verdict::Take => Box::pin(self.fetch(conversation, from, to)).await,
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

    fn answer(&mut self, answer: Answer) {
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
        self.send(&frame);
    }

    fn beat(&mut self) -> Result<(), Option<Close>> {
        let socket = &mut self.connection.socket;
        if socket.silence() > MAX_SILENCE {
            return Err(Some(Close::HeartbeatTimeout));
        }
        socket.ping();
        Ok(())
    }

    /// Queues a frame for the peer.
    fn send(&mut self, frame: &ServerFrame) {
        self.connection.socket.queue(frame.encode_message(), 1);
    }

    /// Tells the peer what became of appends that are already on their way.
    async fn finish_appends(&mut self) {
        while let Some(answer) = self.appends.next().await {
            self.answer(answer);
        }
    }
}

fn unavailable(error: &StoreError) -> Option<Close> {
    tracing::warn!(error = %error, "connection can't be served");
    Some(Close::Unavailable)
}
