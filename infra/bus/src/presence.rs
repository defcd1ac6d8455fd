//! Who is connected to this node, since when, and what went over each connection.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use unhidra_types::{ConnectionId, DeviceId, OrgId, SessionId, Timestamp, UserId};

/// All connections of a node, by id and so by age. Clones are the same.
///
/// It holds what is entered: whoever admits connections bounds their number.
#[derive(Clone, Debug, Default)]
pub struct Presence(Arc<Mutex<BTreeMap<ConnectionId, Arc<Connected>>>>);

/// A connection.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub id: ConnectionId,
    /// Whose it is.
    pub user: UserId,
    /// The user's organisation.
    pub org: OrgId,
    /// The device.
    pub device: DeviceId,
    /// The session that it connected with.
    pub session: SessionId,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// What the client says it is.
    pub agent: Option<String>,
    /// When it connected.
    pub since: Timestamp,
    /// What went over it.
    pub activity: Activity,
}

/// Counts of one connection.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    /// Microseconds after `began` at which the peer was last heard.
    heard: AtomicU64,
    frames_in: AtomicU64,
    frames_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    lagged: AtomicU64,
}

/// Counts of one connection at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames from the client.
    pub frames_in: u64,
    /// Frames to the client.
    pub frames_out: u64,
    /// Bytes of the frames from the client.
    pub bytes_in: u64,
    /// Bytes of the frames to the client.
    pub bytes_out: u64,
    /// How often it read too slowly.
    pub lagged: u64,
}

impl Presence {
    /// Enters a connection.
    pub fn enter(&self, connected: Arc<Connected>) {
        self.lock().insert(connected.id, connected);
    }

    /// Forgets one.
    pub fn leave(&self, id: ConnectionId) {
        self.lock().remove(&id);
    }

    /// The connection with this id.
    #[must_use]
    pub fn find(&self, id: ConnectionId) -> Option<Arc<Connected>> {
        self.lock().get(&id).cloned()
    }

    /// At most `limit` connections of an organisation after `after`, in order of their ids.
    #[must_use]
    pub fn page(&self, org: OrgId, after: Option<ConnectionId>, limit: usize) -> Vec<Arc<Connected>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let connections = self.lock();
        let later = connections.range((from, Bound::Unbounded)).map(|(_, one)| one);
        later.filter(|one| one.org == org).take(limit).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Arc<Connected>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected {
    /// When the peer was last heard, on the clock that `since` is of.
    #[must_use]
    pub fn last_active_at(&self) -> Timestamp {
        let after = self.activity.heard.load(Ordering::Relaxed);
        self.since.saturating_add(Duration::from_micros(after))
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            heard: AtomicU64::new(0),
            frames_in: AtomicU64::new(0),
            frames_out: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            lagged: AtomicU64::new(0),
        }
    }
}

impl Activity {
    /// The peer has given a sign of life.
    pub fn heard(&self) {
        self.heard.store(micros(self.began.elapsed()), Ordering::Relaxed);
    }

    /// Whether the peer has given a sign of life since `moment`.
    #[must_use]
    pub fn heard_since(&self, moment: Instant) -> bool {
        // Rounded up: it is counted in whole microseconds.
        let heard = self.heard.load(Ordering::Relaxed).saturating_add(1);
        self.began + Duration::from_micros(heard) > moment
    }

    /// How long the peer has been silent.
    #[must_use]
    pub fn silence(&self) -> Duration {
        let heard = Duration::from_micros(self.heard.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(heard)
    }

    /// A frame has come.
    pub fn received(&self, bytes: usize) {
        self.frames_in.fetch_add(1, Ordering::Relaxed);
        self.bytes_in.fetch_add(wide(bytes), Ordering::Relaxed);
    }

    /// A frame was handed to the socket.
    pub fn sent(&self, frames: u64, bytes: usize) {
        self.frames_out.fetch_add(frames, Ordering::Relaxed);
        self.bytes_out.fetch_add(wide(bytes), Ordering::Relaxed);
    }

    /// Notices were dropped: the connection reads its logs.
    pub fn lagged(&self) {
        self.lagged.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            frames_in: load(&self.frames_in),
            frames_out: load(&self.frames_out),
            bytes_in: load(&self.bytes_in),
            bytes_out: load(&self.bytes_out),
            lagged: load(&self.lagged),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: OrgId = OrgId::from_bytes([1; 16]);
    const AWAY: OrgId = OrgId::from_bytes([2; 16]);

    fn connected(number: u8, org: OrgId) -> Arc<Connected> {
        Arc::new(Connected {
            id: ConnectionId::from_bytes([number; 16]),
            user: UserId::from_bytes([3; 16]),
            org,
            device: DeviceId::from_bytes([4; 16]),
            session: SessionId::from_bytes([5; 16]),
            address: None,
            agent: None,
            since: Timestamp::from_millis(1_000),
            activity: Activity::default(),
        })
    }

    #[test]
    fn pages_hold_one_organisation_in_order_and_end() {
        let presence = Presence::default();
        for number in [4, 1, 3] {
            presence.enter(connected(number, HOME));
        }
        presence.enter(connected(2, AWAY));
        let ids = |after: Option<u8>, limit| {
            let after = after.map(|number| ConnectionId::from_bytes([number; 16]));
            let page = presence.page(HOME, after, limit);
            page.iter().map(|one| one.id.as_bytes()[0]).collect::<Vec<_>>()
        };
        assert_eq!(ids(None, 2), [1, 3]);
        assert_eq!(ids(Some(3), 2), [4]);
        presence.leave(ConnectionId::from_bytes([4; 16]));
        assert!(ids(Some(3), 2).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_of_life_ends_the_silence_and_is_dated() {
        let one = connected(1, HOME);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(one.activity.silence(), Duration::from_secs(9));
        one.activity.heard();
        assert_eq!(one.activity.silence(), Duration::ZERO);
        assert_eq!(one.last_active_at(), Timestamp::from_millis(10_000));
        assert!(one.activity.heard_since(Instant::now()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!one.activity.heard_since(Instant::now()));
    }
}
