//! Appends of one connection that wait for their commit, answered in the order in which they came.

use std::pin::Pin;

use futures_util::{StreamExt as _, stream::FuturesOrdered};

/// Appends that wait at a time.
const MAX_APPENDS: usize = 64;
/// Bytes of their frames; the last one may exceed it.
const MAX_BYTES: usize = 1024 * 1024;

/// A future that is polled where it is kept.
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Answers that are owed, each with the bytes that its append holds.
pub(crate) struct InFlight<T> {
    answers: FuturesOrdered<Pending<(T, usize)>>,
    bytes: usize,
}

impl<T: 'static> InFlight<T> {
    pub(crate) fn new() -> Self {
        Self {
            answers: FuturesOrdered::new(),
            bytes: 0,
        }
    }

    /// Whether a further frame may be read. A peer that sends faster than the disk waits in its own socket.
    pub(crate) fn has_room(&self) -> bool {
        self.answers.len() < MAX_APPENDS && self.bytes < MAX_BYTES
    }

    pub(crate) fn push(&mut self, bytes: usize, answer: impl Future<Output = T> + Send + 'static) {
        self.bytes += bytes;
        self.answers
            .push_back(Box::pin(async move { (answer.await, bytes) }));
    }

    /// The oldest answer, once it is there; `None` at once when none is owed.
    ///
    /// # Cancellation safety
    /// Nothing is lost when the call is dropped.
    pub(crate) async fn next(&mut self) -> Option<T> {
        let (answer, bytes) = self.answers.next().await?;
        self.bytes -= bytes;
        Some(answer)
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
