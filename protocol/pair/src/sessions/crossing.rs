//! Which session sends when there are several, so that two devices that begin at the same time end up in one.
//!
//! A replaced session is on standby as long as this device has not begun a newer one itself: it may send again. Both ends
//! apply one order, so they meet whatever overtakes what (`docs/protocol/ratchet.md`, Sessions):
//!
//! - against an own session that nobody has answered, the smaller `H(EK)` sends; every other session gives way to one
//!   that the peer begins;
//! - a message that arrives in a session on standby shows that the peer sends there. Between two that the peer began,
//!   the peer's choice counts. Between one of each, this device follows to the smaller `H(EK)` at once, and to the
//!   larger after [`PATIENCE`] messages in a row: then the peer can't use the smaller one.
//!
//! Sessions of before a rollback, a skip too far or an own new beginning are retired: they receive, and never send. A peer
//! that goes on sending in one is shown the session that this device began last.

use unhidra_types::Timestamp;

use super::{Archived, SessionSet, Slot};
use crate::{prekey_message::EkHash, session::Session};

/// Messages in a row outside the sending session before this device follows the peer against the order. Fewer may be late
/// ones, which say nothing of where the peer sends now.
pub(super) const PATIENCE: u8 = 32;

/// Whether a session that does not send may do so again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its keys are as good as ever.
    Standby,
    /// It receives only, for good.
    Retired,
}

impl SessionSet {
    /// The set in which `session` sends, if it is on standby: the peer said there that it can't read what comes in
    /// another.
    #[must_use]
    pub fn prefer(&self, session: EkHash, now: Timestamp) -> Self {
        let mut next = self.clone();
        let at = next
            .archived
            .iter()
            .position(|old| old.session.id() == session && old.standing == Standing::Standby);
        if let Some(at) = at {
            next.send_on(at, now);
            next.prune(now);
        }
        next
    }

    /// Takes in a session that the peer began.
    pub(super) fn admit(&mut self, session: Session, now: Timestamp) {
        let own_wins = self
            .active
            .as_ref()
            .is_some_and(|own| own.is_unanswered() && own.id() < session.id());
        let loser = if own_wins {
            Some(session)
        } else {
            self.against = 0;
            self.active.replace(session)
        };
        if let Some(session) = loser {
            self.put_by(session, Standing::Standby, now);
        }
        self.prune(now);
    }

    /// A message was opened in the session at `slot`.
    pub(super) fn follow(&mut self, slot: Slot, now: Timestamp) {
        let Slot::Archived(at) = slot else {
            self.against = 0;
            return;
        };
        let Some(heard) = self.archived.get(at) else {
            return;
        };
        if heard.standing == Standing::Retired {
            return self.introduce_own(now);
        }
        let follows = self.active.as_ref().is_none_or(|active| {
            let both_of_peer = heard.session.is_of_peer() && active.is_of_peer();
            both_of_peer || heard.session.id() < active.id() || self.against.saturating_add(1) >= PATIENCE
        });
        if follows {
            self.send_on(at, now);
        } else {
            self.against = self.against.saturating_add(1);
        }
    }

    /// The peer sends where this device never will. When it goes on doing so, it may not know the session that this device
    /// began last, and what this device sends in may be of as little use to it: that session is shown to it.
    fn introduce_own(&mut self, now: Timestamp) {
        self.against = self.against.saturating_add(1);
        if self.against < PATIENCE {
            return;
        }
        self.against = 0;
        let is_own = |old: &Archived| old.standing == Standing::Standby && !old.session.is_of_peer();
        if let Some(at) = self.archived.iter().position(is_own) {
            self.send_on(at, now);
        }
    }

    /// Begins anew: nothing that was before sends again.
    pub(super) fn retire_all(&mut self, now: Timestamp) {
        self.against = 0;
        for old in &mut self.archived {
            old.standing = Standing::Retired;
        }
        if let Some(session) = self.active.take() {
            self.put_by(session, Standing::Retired, now);
        }
    }

    /// Ends sending on one session for good.
    pub(super) fn retire(&mut self, session: EkHash, now: Timestamp) {
        for old in &mut self.archived {
            if old.session.id() == session {
                old.standing = Standing::Retired;
            }
        }
        if let Some(active) = self.active.take_if(|active| active.id() == session) {
            self.put_by(active, Standing::Retired, now);
        }
    }

    fn send_on(&mut self, at: usize, now: Timestamp) {
        self.against = 0;
        if let Some(chosen) = self.archived.remove(at)
            && let Some(before) = self.active.replace(chosen.session)
        {
            self.put_by(before, Standing::Standby, now);
        }
    }

    fn put_by(&mut self, session: Session, standing: Standing, now: Timestamp) {
        self.archived.push_front(Archived {
            session,
            since: now,
            standing,
        });
    }
}
