//! What is going on, line by line, for whoever waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines about the same work.
const EVERY: Duration = Duration::from_secs(2);

/// Where lines go. Clones are the same.
#[derive(Clone)]
pub struct Progress(Arc<Inner>);

struct Inner {
    tell: Box<dyn Fn(&str) + Send + Sync>,
    began: Instant,
    last: Mutex<Option<Instant>>,
}

impl Progress {
    /// Lines go to `tell`, each with the seconds since now.
    #[must_use]
    pub fn new(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            tell: Box::new(tell),
            began: Instant::now(),
            last: Mutex::new(None),
        }))
    }

    /// One line.
    pub fn say(&self, line: &str) {
        let seconds = self.0.began.elapsed().as_secs_f64();
        (self.0.tell)(&format!("{seconds:>7.1} s  {line}"));
    }

    /// `done` of `all`, now and then.
    pub fn count(&self, what: &str, done: u64, all: u64) {
        if done == all || self.is_due() {
            self.say(&format!("{done} of {all} {what}"));
        }
    }

    /// One line, unless there was one a moment ago.
    pub fn say_rarely(&self, line: &str) {
        if self.is_due() {
            self.say(line);
        }
    }

    fn is_due(&self) -> bool {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < EVERY) {
            return false;
        }
        *last = Some(Instant::now());
        true
    }
}
