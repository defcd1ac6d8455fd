//! One thread writes. All acts that wait when it is free become one transaction (group commit).
//!
//! There is no timer: a commit is flushed when the one before it has returned, so a lone act waits for nothing and a
//! crowd shares one `fsync`.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use rusqlite::Connection;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    Event, StoreError,
    checkpoint::Checkpoints,
    feed::Publisher,
    log_tx::{Hot, LogTx},
};

/// Acts that wait for the writer; one more is refused as [`StoreError::Overloaded`].
const QUEUE_CAPACITY: usize = 4_096;
/// Bytes that the acts hold which wait or are being committed; an act that would exceed it is refused in the same way.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Acts in one commit, so that the first of a crowd is not answered with the last.
const MAX_ACTS_PER_COMMIT: usize = 512;

/// Runs the act, or learns why it can't run; then answers once the fate of the commit is known.
type Job = Box<dyn FnOnce(Result<&mut LogTx<'_>, StoreError>) -> (Outcome, Answer) + Send>;
type Answer = Box<dyn FnOnce(Commit) + Send>;

/// A job on its way to the writer.
struct Queued {
    job: Job,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Keep,
    Undo,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Commit {
    Durable,
    Failed,
    DiskFull,
}

#[derive(Clone)]
pub(crate) struct Writer {
    /// `None` once closed.
    queue: Arc<Mutex<Option<mpsc::Sender<Queued>>>>,
    /// What acts hold that are not yet committed. Only whoever has the lock on the queue adds.
    held: Arc<AtomicUsize>,
    health: Arc<Health>,
    commits: Arc<AtomicU64>,
    /// Closed when the thread has ended; it never has a permit.
    ended: Arc<Semaphore>,
}

/// How the disk is doing, as far as the writer was told and has seen.
#[derive(Debug, Default)]
struct Health {
    /// There is room for what administrators do, and for nothing that holds bytes.
    is_short: AtomicBool,
    /// The last commit that had something to write failed.
    is_failing: AtomicBool,
}

impl Writer {
    pub(crate) fn start(
        connection: Connection,
        hot: Hot,
        mut checkpoints: Checkpoints,
        feed: Publisher,
    ) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE_CAPACITY);
        let held = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(Semaphore::new(0));
        let health = Arc::new(Health::default());
        let (release, end) = (Arc::clone(&held), Arc::clone(&ended));
        let seen = Arc::clone(&health);
        let commits = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&commits);
        thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                Checkpoints::watch(&connection);
                write_until_closed(
                    &connection,
                    hot,
                    &mut checkpoints,
                    jobs,
                    &release,
                    &Told {
                        health: &seen,
                        commits: &counted,
                        feed: &feed,
                    },
                );
                checkpoints.end();
                if let Err((_, error)) = connection.close() {
                    tracing::error!(error = %error, "database did not close cleanly");
                }
                end.close();
            })?;
        Ok(Self {
            queue: Arc::new(Mutex::new(Some(queue))),
            held,
            health,
            commits,
            ended,
        })
    }

    pub(crate) fn set_short(&self, is_short: bool) {
        self.health.is_short.store(is_short, Ordering::Relaxed);
    }

    pub(crate) fn is_short(&self) -> bool {
        self.health.is_short.load(Ordering::Relaxed)
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.health.is_failing.load(Ordering::Relaxed)
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    pub(crate) fn submit<T, E, A, U>(
        &self,
        bytes: usize,
        act: A,
        unsaved: U,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, A, U> + 'static
    where
        U: Fn() + Clone + Send + 'static,
        A: FnOnce(&mut LogTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let not_run = unsaved.clone();
        let job: Job = Box::new(|tx| settle(tx.map(act), reply, unsaved));
        let queued = self.enqueue(Queued { job, bytes }).inspect_err(|_| not_run());
        async move {
            queued?;
            answer.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
        }
    }

    fn enqueue(&self, queued: Queued) -> Result<(), StoreError> {
        let bytes = queued.bytes;
        let queue = self.lock();
        let sender = queue.as_ref().ok_or(StoreError::Closed)?;
        if bytes > 0 && self.is_short() {
            return Err(StoreError::DiskFull);
        }
        if bytes > QUEUE_BYTES.saturating_sub(self.held.load(Ordering::Relaxed)) {
            return Err(StoreError::Overloaded);
        }
        // Before the writer can subtract it.
        self.held.fetch_add(bytes, Ordering::Relaxed);
        sender.try_send(queued).map_err(|error| {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
            }
        })
    }

    pub(crate) async fn close(&self) {
        drop(self.lock().take());
        drop(self.ended.acquire().await);
    }

    fn lock(&self) -> MutexGuard<'_, Option<mpsc::Sender<Queued>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has become of an act, and how its caller is told. `unsaved` is called once if nothing of it was stored.
fn settle<T, E, U>(
    ran: Result<Result<T, E>, StoreError>,
    reply: oneshot::Sender<Result<T, E>>,
    unsaved: U,
) -> (Outcome, Answer)
where
    U: Fn() + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let result = ran.unwrap_or_else(|error| {
        unsaved();
        Err(error.into())
    });
    let outcome = if result.is_ok() {
        Outcome::Keep
    } else {
        Outcome::Undo
    };
    let answer = move |commit: Commit| {
        if result.is_ok() && commit != Commit::Durable {
            unsaved();
        }
        let result = result.and_then(|value| match commit {
            Commit::Durable => Ok(value),
            Commit::Failed => Err(StoreError::CommitFailed.into()),
            Commit::DiskFull => Err(StoreError::DiskFull.into()),
        });
        // A caller that stopped waiting has no use for the answer.
        drop(reply.send(result));
    };
    (outcome, Box::new(answer))
}

/// Where the writer says what became of a commit.
struct Told<'a> {
    health: &'a Health,
    commits: &'a AtomicU64,
    feed: &'a Publisher,
}

fn write_until_closed(
    connection: &Connection,
    mut hot: Hot,
    checkpoints: &mut Checkpoints,
    mut jobs: mpsc::Receiver<Queued>,
    held: &AtomicUsize,
    told: &Told<'_>,
) {
    let Told {
        health,
        commits,
        feed,
    } = told;
    let mut batch = Vec::with_capacity(MAX_ACTS_PER_COMMIT);
    while jobs.blocking_recv_many(&mut batch, MAX_ACTS_PER_COMMIT) > 0 {
        let bytes = batch.iter().map(|queued: &Queued| queued.bytes).sum();
        let mut transaction = Transaction {
            connection,
            hot: &mut hot,
            events: Vec::new(),
            answers: Vec::with_capacity(batch.len()),
        };
        let changes = connection.total_changes();
        let ended = transaction.run_and_commit(&mut batch);
        let Transaction { events, answers, .. } = transaction;
        let commit = match ended {
            Ok(()) => {
                hot.accepted.committed();
                checkpoints.committed();
                Commit::Durable
            }
            Err(error) => {
                hot.rolled_back();
                tracing::error!(error = %error, acts = answers.len(), "commit failed; nothing of it was stored");
                if matches!(error, StoreError::DiskFull) {
                    Commit::DiskFull
                } else {
                    Commit::Failed
                }
            }
        };
        if commit != Commit::Durable {
            health.is_failing.store(true, Ordering::Relaxed);
        } else if connection.total_changes() != changes {
            health.is_failing.store(false, Ordering::Relaxed);
            commits.fetch_add(1, Ordering::Release);
        }
        // Events first: whoever acts on an answer finds the events already on their way.
        if commit == Commit::Durable && !events.is_empty() && feed.send(events).is_err() {
            tracing::debug!("nobody reads the commit feed");
        }
        held.fetch_sub(bytes, Ordering::Relaxed);
        for answer in answers {
            answer(commit);
        }
        checkpoints.answered(connection);
    }
}

/// Acts that are committed together.
struct Transaction<'a> {
    connection: &'a Connection,
    hot: &'a mut Hot,
    events: Vec<Event>,
    answers: Vec<Answer>,
}

impl Transaction<'_> {
    /// Runs every act of the batch in one transaction; each act's own failure undoes that act alone.
    fn run_and_commit(&mut self, batch: &mut Vec<Queued>) -> Result<(), StoreError> {
        let acts = batch.len();
        self.hot.accepted.begin();
        let mut state = execute(self.connection, "BEGIN IMMEDIATE");
        for Queued { job, .. } in batch.drain(..) {
            if state.is_err() {
                self.answers.push(job(Err(StoreError::CommitFailed)).1);
                continue;
            }
            state = self.run(job);
        }
        let ended = state
            .and_then(|()| self.hot.finish(self.connection, acts))
            .and_then(|()| execute(self.connection, "COMMIT"));
        if ended.is_err() && !self.connection.is_autocommit() {
            execute(self.connection, "ROLLBACK")?;
        }
        ended
    }

    /// Whether the transaction goes on after the act.
    fn run(&mut self, job: Job) -> Result<(), StoreError> {
        let (before, mark) = (self.events.len(), self.hot.accepted.mark());
        let mut tx = LogTx::new(self.connection, self.hot, &mut self.events);
        let (outcome, answer) = job(Ok(&mut tx));
        let is_spoiled = tx.is_spoiled();
        self.answers.push(answer);
        if outcome == Outcome::Undo {
            self.events.truncate(before);
            self.hot.accepted.undo_to(mark);
        }
        // SQLite gives up on a whole transaction when the disk is full or fails: what ran before is gone as well.
        if is_spoiled || self.connection.is_autocommit() {
            return Err(StoreError::CommitFailed);
        }
        Ok(())
    }
}

pub(crate) fn execute(connection: &Connection, sql: &'static str) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
