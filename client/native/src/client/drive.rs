//! The loop: connect, hand frames to the engine, do what it asks, send what it has queued.

use std::time::Duration;

use getrandom::rand_core::Rng as _;
use tokio::time::{Instant, sleep_until, timeout_at};
use unhidra_client::{Effects, Need, Notice, OutboxChange};
use unhidra_wire::{
    frame::{ClientFrame, ServerFrame},
    rest::{OpenConversation, TakeBundles},
};

use super::{Client, ClientError, Event};
use crate::{
    connection::{ConnectError, Connection},
    edge,
};

/// Appends that may be unanswered on one connection. The server takes 64 and reads no further until one is answered
/// (`docs/protocol/frames.md`); the others lie in the connection's buffers, so that the next commit is as full as the
/// last without waiting for answers and new frames to travel.
pub(super) const WINDOW: usize = 256;
/// Frames handed to the engine as one step, which costs one `fsync`.
const BATCH_FRAMES: usize = 256;
/// How long answers are left to gather when at least this many are due. A step of few changes as many pages for each as one
/// of many, and waits for the disk as long; whoever sends so many at once waits for the last answer, not for the first.
const GATHER_TIME: Duration = Duration::from_millis(4);
const GATHER_FROM: usize = WINDOW / 2;
/// How soon messages that another process may have sent are looked up, and how many of them.
const RECHECK_INTERVAL: Duration = Duration::from_millis(50);
const RECHECKED: usize = 128;
/// Messages read from the journal at once.
const JOURNAL_PAGE: usize = 256;

impl Client {
    /// Whether a connection is up.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Connects once, without waiting or trying again.
    ///
    /// # Errors
    /// [`ClientError::Connect`]; [`ClientError::Rest`] when the token can't be refreshed.
    pub async fn connect(&mut self) -> Result<(), ClientError> {
        if self.connection.is_some() {
            return Ok(());
        }
        let route = self.rest.route().clone();
        let heartbeat = self.settings.heartbeat;
        let token = self.access_token().await?;
        let connection = match Connection::open(&route, &token, heartbeat).await {
            Err(ConnectError::Unauthenticated) => {
                self.distrust_token()?;
                let token = self.access_token().await?;
                Connection::open(&route, &token, heartbeat).await?
            }
            result => result?,
        };
        self.connection = Some(connection);
        self.backoff.reset();
        self.connect_at = None;
        self.asked.clear();
        self.in_flight.clear();
        self.sent_through = None;
        self.events.push_back(Event::Connected);
        self.renew_if_due().await?;
        self.watch_audit_if_due().await
    }

    /// Says goodbye to the server.
    pub async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    /// Drives the client until something happened, one of its messages was answered or `deadline` has passed, and says
    /// what happened. Connects as needed, with back-off.
    ///
    /// # Errors
    /// Only what ends the client: the store failed, or the session is gone. Everything else is an event.
    ///
    /// # Cancellation safety
    /// What was received is persisted, and what is still to be done for it is kept for the next call.
    pub async fn step(&mut self, deadline: Instant) -> Result<Vec<Event>, ClientError> {
        while self.events.is_empty() && Instant::now() < deadline {
            if self.connection.is_none() {
                self.reconnect(deadline).await?;
                continue;
            }
            let unanswered = self.outstanding.len();
            let result = self.turn(deadline).await;
            self.absorb(result)?;
            if self.outstanding.len() < unanswered {
                break;
            }
        }
        Ok(self.events.drain(..).collect())
    }

    /// One turn on an open connection: does what is pending, then waits for frames.
    async fn turn(&mut self, deadline: Instant) -> Result<(), ClientError> {
        self.act().await?;
        if !self.events.is_empty() {
            return Ok(());
        }
        let idle_at = self.idle_at;
        // Nothing of this client's is on its way, yet something is unanswered: another process may have sent it.
        let recheck_at = (self.in_flight.is_empty() && !self.outstanding.is_empty())
            .then(|| Instant::now() + RECHECK_INTERVAL);
        let wake_at = [Some(deadline), Some(idle_at), self.send_at, recheck_at]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(deadline);
        if self.in_flight.len() >= GATHER_FROM {
            sleep_until(wake_at.min(Instant::now() + GATHER_TIME)).await;
        }
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if let Ok(first) = timeout_at(wake_at, connection.receive()).await {
            self.received(first?)?;
        }
        if recheck_at.is_some() {
            self.recheck_outstanding(RECHECKED)?;
        }
        if Instant::now() >= idle_at {
            self.look_around()?;
        }
        self.act().await
    }

    /// Turns the end of a connection into an event.
    fn absorb(&mut self, result: Result<(), ClientError>) -> Result<(), ClientError> {
        match result {
            Err(reason @ (ClientError::Disconnected(_) | ClientError::Connect(_)))
                if !reason.ends_session() =>
            {
                self.disconnected(reason);
                Ok(())
            }
            result => result,
        }
    }

    fn disconnected(&mut self, reason: ClientError) {
        self.connection = None;
        self.in_flight.clear();
        self.sent_through = None;
        self.device.disconnected();
        let retry_in = self.backoff.next(edge::rng().next_u32());
        self.connect_at = Some(Instant::now() + retry_in);
        self.events.push_back(Event::Disconnected { reason, retry_in });
    }

    async fn reconnect(&mut self, deadline: Instant) -> Result<(), ClientError> {
        if let Some(connect_at) = self.connect_at {
            sleep_until(connect_at.min(deadline)).await;
            if connect_at > deadline {
                return Ok(());
            }
        }
        match self.connect().await {
            Ok(()) => Ok(()),
            Err(error) if error.ends_session() => Err(error),
            Err(reason @ (ClientError::Connect(_) | ClientError::Rest(_))) => {
                self.disconnected(reason);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Hands a frame, and all that have arrived behind it, to the engine.
    fn received(&mut self, first: ServerFrame) -> Result<(), ClientError> {
        let mut frames = vec![first];
        let mut ended = Ok(());
        if let Some(connection) = &mut self.connection {
            while frames.len() < BATCH_FRAMES {
                match connection.receive_now() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(disconnect) => {
                        ended = Err(disconnect);
                        break;
                    }
                }
            }
        }
        let effects = self.device.receive(frames, edge::now(), &mut edge::rng())?;
        self.pending.merge(effects);
        Ok(ended?)
    }

    /// Looks after gaps, what the server could not give before, and what other processes have done.
    fn look_around(&mut self) -> Result<(), ClientError> {
        self.idle_at = Instant::now() + self.settings.look_around;
        let effects = self.device.idle(edge::now(), &mut edge::rng())?;
        self.pending.merge(effects);
        self.pending.needs.append(&mut self.unmet);
        self.asked.forget_old(self.idle_at);
        self.recheck_outstanding(usize::MAX)?;
        self.tell_journal()
    }

    /// Does what steps have asked for, until nothing is left or the connection is gone.
    async fn act(&mut self) -> Result<(), ClientError> {
        loop {
            self.take_in_pending();
            self.send_frames().await?;
            if let Some(need) = self.pending.needs.first().cloned() {
                self.meet_or_defer(&need).await?;
                self.pending.needs.remove(&need);
                continue;
            }
            if std::mem::take(&mut self.pending.more) {
                let effects = self.device.advance(edge::now(), &mut edge::rng())?;
                self.pending.merge(effects);
                continue;
            }
            self.send_outbox().await?;
            return self.tell_journal();
        }
    }

    /// Takes over everything that needs no waiting.
    fn take_in_pending(&mut self) {
        for answer in std::mem::take(&mut self.pending.answered) {
            self.in_flight.remove(&answer.entry);
            if let Some(pause) = answer.retry_after {
                self.send_at = Some(Instant::now() + pause);
                self.sent_through = None;
            }
        }
        if std::mem::take(&mut self.pending.outbox) == OutboxChange::Requeued {
            self.sent_through = None;
        }
        for notice in std::mem::take(&mut self.pending.notices) {
            match &notice {
                Notice::Accepted {
                    conversation, msg_id, ..
                }
                | Notice::Failed {
                    conversation, msg_id, ..
                } => drop(self.outstanding.remove(&(*conversation, *msg_id))),
                _ => {}
            }
            self.events.push_back(Event::Notice(notice));
        }
    }

    async fn send_frames(&mut self) -> Result<(), ClientError> {
        let Some(connection) = &mut self.connection else {
            // Acknowledgements and fetches belong to the connection that they are about.
            self.pending.frames.clear();
            return Ok(());
        };
        if self.pending.frames.is_empty() {
            return Ok(());
        }
        for frame in std::mem::take(&mut self.pending.frames) {
            connection.feed(&frame)?;
        }
        Ok(connection.flush().await?)
    }

    /// Sends entries of the outbox up to the window, in order.
    async fn send_outbox(&mut self) -> Result<(), ClientError> {
        if self.send_at.is_some_and(|send_at| Instant::now() < send_at) {
            return Ok(());
        }
        self.send_at = None;
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let room = WINDOW.saturating_sub(self.in_flight.len());
        // A few at a time would cost a look into the store each.
        if room == 0 || (room < WINDOW / 4 && !self.in_flight.is_empty()) {
            return Ok(());
        }
        let mut has_sent = false;
        for (number, append) in self.device.outgoing(self.sent_through, room)? {
            self.sent_through = Some(number);
            if self.in_flight.insert(number) {
                connection.feed(&ClientFrame::Append(append))?;
                has_sent = true;
            }
        }
        if has_sent {
            connection.flush().await?;
        }
        Ok(())
    }

    async fn meet_or_defer(&mut self, need: &Need) -> Result<(), ClientError> {
        if !self.asked.may_ask(need, Instant::now()) {
            self.unmet.insert(need.clone());
            return Ok(());
        }
        match self.meet(need).await {
            Ok(effects) => {
                self.pending.merge(effects);
                Ok(())
            }
            Err(error @ ClientError::Rest(_)) if !error.ends_session() => {
                self.unmet.insert(need.clone());
                self.events.push_back(Event::Trouble(error));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn meet(&mut self, need: &Need) -> Result<Effects, ClientError> {
        let token = self.access_token().await?;
        let (rest, device) = (&self.rest, &mut self.device);
        let rng = &mut edge::rng();
        let effects = match need {
            Need::Conversation(peer) => {
                let open = OpenConversation::Direct { peer: *peer };
                rest.open_conversation(&token, &open).await?;
                device.conversation_opened(*peer, edge::now(), rng)?
            }
            Need::Chain { user, from } => {
                let records = rest.chain(&token, *user, *from).await?;
                device.learn_chain(*user, *from, &records, edge::now(), rng)?
            }
            Need::Bundles { user, devices } => {
                let take = TakeBundles {
                    devices: devices.clone(),
                };
                let bundles = rest.take_bundles(&token, *user, &take).await?;
                device.bundles_taken(*user, devices, &bundles, edge::now(), rng)?
            }
            Need::Stock => {
                let stock = rest.stock(&token, device.id()).await?;
                device.stock_listed(&stock, edge::now(), rng)?
            }
            Need::UploadPrekeys => match device.pending_upload(edge::now(), rng)? {
                Some(upload) => {
                    let stock = rest.upload_prekeys(&token, device.id(), &upload).await?;
                    device.prekeys_uploaded(&stock, edge::now(), rng)?
                }
                None => Effects::default(),
            },
            Need::ReportFailures => {
                let report = device.opening_failures(edge::now(), rng)?;
                match rest.report_failures(&token, device.id(), &report).await {
                    Ok(()) => device.failures_reported(&report, edge::now(), rng)?,
                    // An older server knows no reports. Nothing waits for one, so it is no trouble either.
                    Err(_) => Effects::default(),
                }
            }
        };
        Ok(effects)
    }

    /// Tells what is new in the journal, whichever process has put it there.
    fn tell_journal(&mut self) -> Result<(), ClientError> {
        let Some(mut told) = self.listening else {
            return Ok(());
        };
        for (number, message) in self.device.journal(told, JOURNAL_PAGE)? {
            told = number;
            let message = Box::new(message);
            self.events.push_back(Event::Message { number, message });
        }
        self.listening = Some(told);
        Ok(())
    }

    /// Tells messages as events from now on: those after number `after` of the journal.
    pub const fn listen_from(&mut self, after: u64) {
        self.listening = Some(after);
    }

    /// Drives the client until everything that waited on the server is processed.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] at `deadline`; what ended the connection, without trying again.
    pub async fn sync_until_caught_up(&mut self, deadline: Instant) -> Result<(), ClientError> {
        self.sync_and_tell(deadline, |_new| {}).await
    }

    /// [`Client::connect`], which waits while the server asks for a pause.
    async fn connect_before(&mut self, deadline: Instant) -> Result<(), ClientError> {
        loop {
            let error = match self.connect().await {
                Err(error @ ClientError::Connect(ConnectError::Refused(429))) => error,
                connected => return connected,
            };
            let again_at = Instant::now() + self.backoff.next(edge::rng().next_u32());
            if again_at > deadline {
                return Err(error);
            }
            sleep_until(again_at).await;
        }
    }

    /// [`Client::sync_until_caught_up`], which tells `tell` how many messages are new so far.
    ///
    /// # Errors
    /// Those of [`Client::sync_until_caught_up`].
    pub async fn sync_and_tell(
        &mut self,
        deadline: Instant,
        mut tell: impl FnMut(u64),
    ) -> Result<(), ClientError> {
        let begin = self.device.journal_end()?;
        self.connect_before(deadline).await?;
        let mut caught_up: Option<Instant> = None;
        loop {
            tell(self.device.journal_end()?.saturating_sub(begin));
            // A device that was set back has to ask for what lies before the entries that it was sent.
            if caught_up.is_some_and(|until| !self.device.is_behind() || Instant::now() >= until) {
                return Ok(());
            }
            let turn = caught_up.map_or(deadline, |_| deadline.min(Instant::now() + GAP_TURN));
            for event in self.step(turn).await? {
                match event {
                    Event::Notice(Notice::CaughtUp) => {
                        caught_up.get_or_insert(deadline.min(Instant::now() + GAP_TIME));
                    }
                    Event::Disconnected { reason, .. } => return Err(reason),
                    _ => {}
                }
            }
            if Instant::now() >= deadline {
                return Err(ClientError::TimedOut);
            }
        }
    }

    /// Drives the client and hands every event to `events` until its receiver is gone. A receiver that does not keep
    /// up slows the reading from the server down, never the memory up.
    ///
    /// # Errors
    /// What ends the client.
    ///
    /// # Cancellation safety
    /// Events that were not handed over are lost; messages are told again by [`Client::listen_from`].
    pub async fn listen(&mut self, events: &tokio::sync::mpsc::Sender<Event>) -> Result<(), ClientError> {
        loop {
            for event in self.step(Instant::now() + LISTEN_TURN).await? {
                if events.send(event).await.is_err() {
                    return Ok(());
                }
            }
            if events.is_closed() {
                return Ok(());
            }
        }
    }
}

/// How long entries may take that were asked for, after everything else has come, and how often that is looked at.
const GAP_TIME: Duration = Duration::from_secs(5);
const GAP_TURN: Duration = Duration::from_millis(50);

/// How long one turn of listening lasts without events.
const LISTEN_TURN: Duration = Duration::from_secs(5);
