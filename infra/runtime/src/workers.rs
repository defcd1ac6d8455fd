//! A bounded pool of low-priority threads for computations that would stall the executor.

use std::{
    fmt, io,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use tokio::sync::oneshot;

/// Niceness of the threads: behind everything that answers at once, ahead of nothing.
const NICENESS: i32 = 10;

/// Threads that run one computation after the other. Clones are the same pool; the threads end with the last clone.
#[derive(Clone)]
pub struct Workers {
    queue: mpsc::SyncSender<Job>,
}

/// The queue is full, or the computation panicked: try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many computations are waiting")]
pub struct Overloaded;

type Job = Box<dyn FnOnce() + Send>;

impl Workers {
    /// Starts `threads` threads named `name`, and a queue of at most `queue` computations beside the running ones.
    ///
    /// # Errors
    /// The operating system's, when a thread can't be started.
    pub fn start(name: &str, threads: NonZeroUsize, queue: usize) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel::<Job>(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..threads.get() {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || work(&receiver))?;
        }
        Ok(Self { queue: sender })
    }

    /// Half of the machine's processors, at least one: the other half keeps serving.
    #[must_use]
    pub fn half_of_the_machine() -> NonZeroUsize {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN)
    }

    /// Runs `compute` on a thread of the pool. A full queue refuses at once.
    ///
    /// # Errors
    /// [`Overloaded`].
    ///
    /// # Cancellation safety
    /// Dropping it does not stop a computation that has begun; one that still waits is passed over.
    pub async fn run<T, F>(&self, compute: F) -> Result<T, Overloaded>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            // A caller that went away does not want the result.
            if !done.is_closed() {
                drop(done.send(compute()));
            }
        });
        self.queue.try_send(job).map_err(|_full_or_ended| Overloaded)?;
        result.await.map_err(|_panicked| Overloaded)
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Workers(..)")
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>) {
    // On Linux this is the niceness of the thread.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!("worker threads run at normal priority: {error}");
    }
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // A panic drops the sender of the result, which the caller sees; the thread goes on.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("a computation panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroUsize = NonZeroUsize::MIN;

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let workers = Workers::start("test", ONE, 1).unwrap();
        let (release, gate) = mpsc::sync_channel::<()>(0);
        let (started, running) = oneshot::channel();
        let first = workers.run(move || {
            started.send(()).unwrap();
            gate.recv()
        });
        let rest = async {
            running.await.unwrap();
            // `join!` polls in order, so `second` holds the one place in the queue when the third comes.
            let second = workers.run(|| 2);
            let third = async {
                let refused = workers.run(|| 3).await;
                release.send(()).unwrap();
                refused
            };
            tokio::join!(second, third)
        };
        let (first, (second, third)) = tokio::join!(first, rest);
        assert_eq!(third, Err(Overloaded));
        assert_eq!(first, Ok(Ok(())));
        assert_eq!(second, Ok(2));
    }

    #[tokio::test]
    async fn a_computation_that_nobody_waits_for_any_more_is_passed_over() {
        let workers = Workers::start("test", ONE, 2).unwrap();
        let (release, gate) = mpsc::sync_channel::<()>(0);
        let (started, running) = oneshot::channel();
        let first = workers.run(move || {
            started.send(()).unwrap();
            gate.recv()
        });
        let (ran, was_run) = mpsc::sync_channel(1);
        let rest = async {
            running.await.unwrap();
            let mut abandoned = Box::pin(workers.run(move || ran.send(())));
            assert!(poll_once(&mut abandoned).await.is_none());
            drop(abandoned);
            release.send(()).unwrap();
        };
        let (first, ()) = tokio::join!(first, rest);
        assert_eq!(first, Ok(Ok(())));
        assert_eq!(workers.run(|| 3).await, Ok(3));
        assert!(was_run.recv().is_err(), "it was computed for nobody");
    }

    /// Polls once: what is ready, if it is.
    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test]
    async fn a_panic_is_refused_and_the_pool_goes_on() {
        let workers = Workers::start("test", ONE, 1).unwrap();
        assert_eq!(workers.run(|| -> u8 { panic!("boom") }).await, Err(Overloaded));
        assert_eq!(workers.run(|| 7).await, Ok(7));
    }
}
