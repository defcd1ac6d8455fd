//! Once a day every set of sessions is looked at, whether anybody writes to that device or not: archived sessions and
//! skipped keys that are past their time go, and a session that has sent for longer than the organisation allows sends no more.
//! The next message to the device begins another one, with a handshake of its own; the old one still opens what is on
//! its way.
//!
//! The age of a session counts from the first such look that finds it sending.

use std::time::Duration;

use unhidra_chain::codec::{Malformed, Reader};
use unhidra_pair::SessionSet;
use unhidra_types::Timestamp;

use crate::{
    record::{Record, key},
    step::Step,
    store::{KeyRange, Order, StoreError, Table},
};

/// From one look to the next.
pub const LOOK: Duration = Duration::from_secs(86_400);
/// A server that asks for less gets this: each new session costs the other device prekeys.
pub const MIN_AGE: Duration = Duration::from_secs(86_400);

/// When the last look was taken.
const LOOKED_AT: &str = "sessions looked at";
/// The limit, in seconds; 0 for none.
const LIMIT: &str = "session age";

/// What is kept of a sending session.
struct SendingSince {
    session: [u8; 32],
    since: Timestamp,
}

impl Step<'_> {
    /// Takes over the limit that the organisation sets.
    pub(crate) fn limit_session_age(&mut self, age: Option<Duration>) {
        let seconds = age.map_or(0, |age| age.max(MIN_AGE).as_secs());
        self.set_number(LIMIT, seconds);
    }

    /// Looks at every set, if the last look was a day ago.
    pub(crate) fn look_after_sessions(&mut self) -> Result<(), StoreError> {
        let now = self.now;
        if now.as_millis().abs_diff(self.number(LOOKED_AT)?) < 1_000 * LOOK.as_secs() {
            return Ok(());
        }
        self.set_number(LOOKED_AT, now.as_millis());
        let limit = match self.number(LIMIT)? {
            0 => None,
            seconds => Some(Duration::from_secs(seconds)),
        };
        let rows = self
            .tx
            .scan(Table::Sessions, &KeyRange::all(), Order::Ascending, usize::MAX)?;
        for row in rows {
            // A damaged set is told of where it is used; the others do not wait for that.
            let Ok(stored) = SessionSet::from_bytes(&row.value) else {
                continue;
            };
            let peer = stored.peer();
            // What this step has changed already counts, not what the row says.
            let held = self.sessions(peer)?;
            let before = held.to_bytes();
            let mut kept = held.expire(now);
            if let Some(session) = kept.active() {
                let place = key(&[peer.user.as_bytes(), peer.device.as_bytes()]);
                let known = SendingSince::load(self.tx, &place)?;
                match (known.filter(|known| known.session == session.0), limit) {
                    (None, _) => {
                        let (session, since) = (session.0, now);
                        SendingSince { session, since }.save(self.tx, &place)?;
                    }
                    (Some(known), Some(limit)) if now.since(known.since) >= limit => {
                        kept = kept.archive(session, now);
                    }
                    (Some(_), _) => {}
                }
            }
            if kept.to_bytes() != before {
                self.set_sessions(kept);
            }
        }
        Ok(())
    }
}

impl Record for SendingSince {
    const TABLE: Table = Table::SendingSince;

    /// `session(32) since(8)`.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.session);
        out.extend(self.since.as_millis().to_be_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            session: reader.array()?,
            since: Timestamp::from_millis(reader.u64()?),
        })
    }
}
