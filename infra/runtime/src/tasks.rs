//! Every task has a name, an owner and a shutdown.
//!
//! A task belongs to a [`Stage`]; shutdown asks one stage after the other to stop: listeners first, then connections,
//! then workers, so that what a connection still has to store finds its writer alive. What has not stopped when the
//! grace is over is aborted and named.
//!
//! Invariant: no future spawned here outlives [`Tasks::shutdown`].

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{AbortHandle, Abortable},
};
use tokio::time::{Instant, timeout_at};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFuture},
    task::TaskTracker,
};
use tracing::{Instrument as _, debug_span, error, info_span};

/// When a task is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Accepts new work: stops first.
    Listener,
    /// Serves one peer or request.
    Connection,
    /// Serves the process: stops last.
    Worker,
}

/// What it means when a task ends before it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The process can't go on: everything stops.
    Critical,
    /// Only its own work ends; a failure is logged.
    Ordinary,
}

/// All tasks of a process. Clones are the same set.
#[derive(Clone, Debug)]
pub struct Tasks(Arc<Inner>);

/// Asks a task to stop; clones are one request.
#[derive(Clone, Debug)]
pub struct Stop(CancellationToken);

/// How a shutdown went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ended {
    /// The critical task that ended the process, if one did.
    pub culprit: Option<&'static str>,
    /// Tasks that did not stop within the grace, by name.
    pub aborted: Vec<&'static str>,
}

#[derive(Debug, Default)]
struct Inner {
    stages: [Group; 3],
    /// Set when the process should end, by a signal or by a critical task.
    root: CancellationToken,
    /// The grace is over. Tasks have handles of their own: thousands that look at one token at each wake-up share its lock.
    abort: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct Group {
    tracker: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    live: BTreeMap<&'static str, usize>,
    /// What drops each future that is left, by the number of its task.
    handles: HashMap<u64, AbortHandle>,
    last: u64,
    culprit: Option<&'static str>,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner::default()))
    }

    /// Starts `task`. It has to end soon after its [`Stop`] is set. Its failure or panic is logged under `name`.
    pub fn spawn<F, Fut, E>(&self, stage: Stage, name: &'static str, weight: Weight, task: F)
    where
        F: FnOnce(Stop) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let group = self.group(stage);
        let stop = Stop(group.stop.clone());
        // Boxed: a future that is captured and then polled elsewhere would lie in its task twice.
        let work = Box::pin(AssertUnwindSafe(task(stop.clone())).catch_unwind());
        let inner = Arc::clone(&self.0);
        let (handle, registration) = AbortHandle::new_pair();
        let work = Abortable::new(work, registration);
        let number = inner.enter(name, handle);
        let guarded = async move {
            let leave = Leave { inner, name, number };
            let inner = &leave.inner;
            let Ok(outcome) = work.await else {
                return;
            };
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => error!(task = name, "task failed: {failure}"),
                Err(_) => error!(task = name, "task panicked"),
            }
            if weight == Weight::Critical && !stop.is_set() {
                inner.fail(name);
            }
        };
        // One for each of thousands of connections would be entered at each wake-up.
        let span = match stage {
            Stage::Connection => debug_span!("task", name),
            Stage::Listener | Stage::Worker => info_span!("task", name),
        };
        // The tracker owns the task, which reports for itself.
        drop(group.tracker.spawn(guarded.instrument(span)));
    }

    /// Asks everything to end, stage by stage. For whoever decides that the process is over.
    pub fn stop(&self) {
        self.0.root.cancel();
    }

    /// Completes when the process should end: [`Tasks::stop`] was called or a critical task ended.
    ///
    /// # Cancellation safety
    /// Safe: it only waits.
    pub async fn stopping(&self) {
        self.0.root.cancelled().await;
    }

    /// Names of the tasks that run, with how many of each.
    #[must_use]
    pub fn live(&self) -> BTreeMap<&'static str, usize> {
        self.0.lock().live.clone()
    }

    /// Ends every task: asks stage by stage, waits until `grace` is over, then aborts and names what is left.
    ///
    /// # Cancellation safety
    /// Dropping it leaves the stages that were asked to stop stopping, and the others running.
    pub async fn shutdown(&self, grace: Duration) -> Ended {
        self.0.root.cancel();
        let deadline = Instant::now() + grace;
        let mut late = Vec::new();
        for stage in [Stage::Listener, Stage::Connection, Stage::Worker] {
            let group = self.group(stage);
            group.stop.cancel();
            group.tracker.close();
            let drained = tokio::select! {
                drained = timeout_at(deadline, group.tracker.wait()) => drained.is_ok(),
                () = self.0.abort.cancelled() => false,
            };
            if !drained {
                late = self.live().into_keys().collect();
                break;
            }
        }
        self.abort();
        for group in &self.0.stages {
            group.stop.cancel();
            group.tracker.close();
            group.tracker.wait().await;
        }
        Ended {
            culprit: self.0.lock().culprit,
            aborted: late,
        }
    }

    /// Ends the grace of a running [`Tasks::shutdown`] at once.
    pub fn abort(&self) {
        // Before the handles: a task that is entered later finds it set.
        self.0.abort.cancel();
        let handles: Vec<_> = self.0.lock().handles.values().cloned().collect();
        handles.iter().for_each(AbortHandle::abort);
    }

    fn group(&self, stage: Stage) -> &Group {
        let [listeners, connections, workers] = &self.0.stages;
        match stage {
            Stage::Listener => listeners,
            Stage::Connection => connections,
            Stage::Worker => workers,
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// Whether the task should end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Completes when the task should end.
    pub fn requested(&self) -> WaitForCancellationFuture<'_> {
        self.0.cancelled()
    }

    /// The outcome of `future`, or `None` when the task should end first. `future` is dropped then.
    pub async fn race<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.run_until_cancelled(future).await
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the task.
    fn enter(&self, name: &'static str, handle: AbortHandle) -> u64 {
        let mut state = self.lock();
        if self.abort.is_cancelled() {
            handle.abort();
        }
        *state.live.entry(name).or_default() += 1;
        state.last += 1;
        let number = state.last;
        state.handles.insert(number, handle);
        number
    }

    fn fail(&self, name: &'static str) {
        error!(task = name, "a critical task ended: stopping");
        self.lock().culprit.get_or_insert(name);
        self.root.cancel();
    }
}

/// Takes a task off the list however it ends.
struct Leave {
    inner: Arc<Inner>,
    name: &'static str,
    number: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.handles.remove(&self.number);
        if let Some(count) = state.live.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                state.live.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use tokio::sync::mpsc;

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_critical_task_that_ends_stops_the_process() {
        let tasks = Tasks::new();
        tasks.spawn(Stage::Worker, "writer", Weight::Critical, async |_| {
            Ok::<_, Infallible>(())
        });
        tasks.stopping().await;
        assert_eq!(
            tasks.shutdown(GRACE).await,
            Ended {
                culprit: Some("writer"),
                aborted: vec![]
            }
        );
    }

    #[tokio::test]
    async fn a_panic_of_a_critical_task_stops_the_process() {
        let tasks = Tasks::new();
        tasks.spawn(
            Stage::Worker,
            "writer",
            Weight::Critical,
            async |_| -> Result<(), Infallible> { panic!("boom") },
        );
        tasks.stopping().await;
        assert_eq!(tasks.shutdown(GRACE).await.culprit, Some("writer"));
    }

    #[tokio::test]
    async fn an_ordinary_task_that_fails_stops_nothing_else() {
        let tasks = Tasks::new();
        tasks.spawn(Stage::Worker, "steady", Weight::Ordinary, async |stop| {
            stop.requested().await;
            Ok::<_, Infallible>(())
        });
        tasks.spawn(Stage::Connection, "peer", Weight::Ordinary, async |_| Err("gone"));
        tasks.group(Stage::Connection).tracker.close();
        tasks.group(Stage::Connection).tracker.wait().await;
        assert_eq!(tasks.live(), BTreeMap::from([("steady", 1)]));
        assert_eq!(
            tasks.shutdown(GRACE).await,
            Ended {
                culprit: None,
                aborted: vec![]
            }
        );
    }

    #[tokio::test]
    async fn stages_stop_one_after_the_other() {
        let tasks = Tasks::new();
        let (told, mut order) = mpsc::channel(3);
        for (stage, name) in [
            (Stage::Worker, "c"),
            (Stage::Listener, "a"),
            (Stage::Connection, "b"),
        ] {
            let told = told.clone();
            tasks.spawn(stage, name, Weight::Critical, async move |stop| {
                stop.requested().await;
                told.send(name).await
            });
        }
        assert_eq!(
            tasks.shutdown(GRACE).await,
            Ended {
                culprit: None,
                aborted: vec![]
            }
        );
        drop(told);
        let mut seen = vec![];
        while let Some(name) = order.recv().await {
            seen.push(name);
        }
        assert_eq!(seen, ["a", "b", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_aborted_and_named() {
        let tasks = Tasks::new();
        tasks.spawn(Stage::Connection, "stuck", Weight::Ordinary, async |_| {
            pending::<()>().await;
            Ok::<_, Infallible>(())
        });
        assert_eq!(
            tasks.shutdown(GRACE).await,
            Ended {
                culprit: None,
                aborted: vec!["stuck"]
            }
        );
        assert!(tasks.live().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn abort_ends_the_grace() {
        let tasks = Tasks::new();
        tasks.spawn(Stage::Connection, "stuck", Weight::Ordinary, async |_| {
            pending::<()>().await;
            Ok::<_, Infallible>(())
        });
        tasks.abort();
        let began = Instant::now();
        assert_eq!(tasks.shutdown(GRACE).await.aborted, ["stuck"]);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
