//! Appends of one connection that wait for their commit, answered in the order in which they came.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Appends that wait at a time.
const MAX_APPENDS: usize = 64;
/// Bytes of their frames; the last one may exceed it.
const MAX_BYTES: usize = 1024 * 1024;
/// Room for answers that is kept while none is owed.
const KEPT: usize = 4;

/// A future that is polled where it is kept.
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Answers that are owed, each with the bytes that its append holds. Only the oldest is polled: the others keep what
/// they have heard until it is their turn, and wake nobody.
pub(crate) struct InFlight<T> {
    answers: VecDeque<(Pending<T>, usize)>,
    bytes: usize,
}

impl<T: 'static> InFlight<T> {
    pub(crate) const fn new() -> Self {
        Self {
            answers: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Whether a further frame may be read. A peer that sends faster than the disk waits in its own socket.
    pub(crate) fn has_room(&self) -> bool {
        self.answers.len() < MAX_APPENDS && self.bytes < MAX_BYTES
    }

    pub(crate) fn push(&mut self, bytes: usize, answer: impl Future<Output = T> + Send + 'static) {
        self.bytes += bytes;
        self.answers.push_back((Box::pin(answer), bytes));
    }

    /// The oldest answer, once it is there; `None` at once when none is owed.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some((oldest, bytes)) = self.answers.front_mut() else {
            return Poll::Ready(None);
        };
        let answer = ready!(oldest.as_mut().poll(cx));
        self.bytes -= *bytes;
        self.answers.pop_front();
        if self.answers.is_empty() {
            self.answers.shrink_to(KEPT);
        }
        Poll::Ready(Some(answer))
    }

    /// [`InFlight::poll_next`], waited for.
    ///
    /// # Cancellation safety
    /// Nothing is lost when the call is dropped.
    pub(crate) async fn next(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn reading_stops_at_the_bound_of_bytes_and_goes_on_after_an_answer() {
        let mut in_flight = InFlight::new();
        for number in 0..4 {
            assert!(in_flight.has_room(), "{number}");
            in_flight.push(256 * 1024, ready(number));
        }
        assert!(!in_flight.has_room());
        assert_eq!(in_flight.next().await, Some(0));
        assert!(in_flight.has_room());
    }

    #[tokio::test]
    async fn reading_stops_at_the_bound_of_appends() {
        let mut in_flight = InFlight::new();
        for _ in 0..MAX_APPENDS {
            assert!(in_flight.has_room());
            in_flight.push(1, ready(()));
        }
        assert!(!in_flight.has_room());
    }
}
