//! Which refusals get audit records: the first few of one principal and minute, the rest as one counted record.
//!
//! So that nobody can fill the disk with refusals, and nobody can guess unseen.

use std::{collections::HashMap, sync::PoisonError};

use unhidra_audit::{Act, Details, Record, Subject};
use unhidra_runtime::Context;
use unhidra_store::StoreError;
use unhidra_types::{SessionId, Timestamp, Username};

use crate::{Caller, Identity, append, server_record};

/// Refusals of one principal in one minute that get records of their own.
const RECORDS_PER_MINUTE: u64 = 10;
/// Principals told apart in one minute; all beyond share one count.
const MAX_PRINCIPALS: usize = 4_096;
const MILLIS_PER_MINUTE: u64 = 60_000;

/// Who was refused, as a keyed hash: unknown names must not be written down, one may be a mistyped password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RefusalKey([u8; 16]);

/// Refusals of the current minute.
#[derive(Default)]
pub(crate) struct Refusals {
    minute: u64,
    counts: HashMap<RefusalKey, u64>,
}

/// What to write down about one more refusal.
struct Note {
    /// Whether it gets a record of its own.
    recorded: bool,
    /// Refusals of an earlier minute that had no records of their own.
    counted: Vec<(RefusalKey, u64)>,
}

impl RefusalKey {
    /// What everyone beyond [`MAX_PRINCIPALS`] shares.
    const OTHERS: Self = Self([0; 16]);

    #[cfg(test)]
    pub(crate) const fn of(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    fn text(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Refusals {
    fn note(&mut self, key: RefusalKey, now: Timestamp) -> Note {
        let counted = self.roll(now);
        let known = self.counts.contains_key(&key) || self.counts.len() < MAX_PRINCIPALS;
        let count = self
            .counts
            .entry(if known { key } else { RefusalKey::OTHERS })
            .or_default();
        *count += 1;
        Note {
            recorded: *count <= RECORDS_PER_MINUTE,
            counted,
        }
    }

    /// Ends the minute if it is over, and says what was only counted in it.
    fn roll(&mut self, now: Timestamp) -> Vec<(RefusalKey, u64)> {
        let minute = now.as_millis() / MILLIS_PER_MINUTE;
        if minute == self.minute {
            return Vec::new();
        }
        self.minute = minute;
        self.drain()
    }

    fn drain(&mut self) -> Vec<(RefusalKey, u64)> {
        let counts = self.counts.drain();
        counts
            .filter(|(_, count)| *count > RECORDS_PER_MINUTE)
            .map(|(key, count)| (key, count - RECORDS_PER_MINUTE))
            .collect()
    }
}

impl Identity {
    /// Writes down that the policy refused `action`.
    ///
    /// # Errors
    /// [`StoreError`]: the caller is told of a failure then, not of the refusal.
    ///
    /// # Cancellation safety
    /// The record is written or not; nothing else changes.
    pub async fn note_denial(&self, caller: &Caller, action: &'static str) -> Result<(), StoreError> {
        let key = self.key_of_caller(caller);
        let mut record = self.record(caller, Act::AccessRefused, Subject::Nothing);
        record.details.action = Some(action);
        self.note_refusal(&caller.context, key, record).await
    }

    /// The user, or the network that someone unknown asks from.
    pub(crate) fn key_of_caller(&self, caller: &Caller) -> RefusalKey {
        match (caller.user(), caller.network) {
            (Some(user), _) => self.key(b"\x11UNH1/refusal/user", user.as_bytes()),
            (None, Some(network)) => self.key(b"\x10UNH1/refusal/net", network.to_string().as_bytes()),
            (None, None) => self.key(b"\x10UNH1/refusal/net", b""),
        }
    }

    pub(crate) fn key_of_session(&self, session: SessionId) -> RefusalKey {
        self.key(b"\x14UNH1/refusal/session", session.as_bytes())
    }

    pub(crate) fn key_of_name(&self, username: &Username) -> RefusalKey {
        self.key(b"\x11UNH1/refusal/name", username.as_str().as_bytes())
    }

    fn key(&self, label: &[u8], value: &[u8]) -> RefusalKey {
        let tag = self.keys().authenticate(&[label, value].concat());
        RefusalKey(tag.first_chunk().copied().unwrap_or_default())
    }

    /// Writes a refusal down, or counts it.
    pub(crate) async fn note_refusal(
        &self,
        context: &Context,
        key: RefusalKey,
        mut record: Record,
    ) -> Result<(), StoreError> {
        let note = self.lock_refusals().note(key, context.now);
        if !note.recorded && note.counted.is_empty() {
            return Ok(());
        }
        record.details.key = Some(key.text());
        let context = *context;
        self.store()
            .write(move |tx| {
                for (key, count) in note.counted {
                    append(tx, &context, &counted(&context, key, count))?;
                }
                if note.recorded {
                    append(tx, &context, &record)
                } else {
                    Ok(())
                }
            })
            .await
    }

    /// Writes down what was only counted so far, when its minute is over or `everything` is wanted.
    pub(crate) async fn write_counted_refusals(
        &self,
        context: &Context,
        extent: Extent,
    ) -> Result<(), StoreError> {
        let due = match extent {
            Extent::PastMinutes => self.lock_refusals().roll(context.now),
            Extent::Everything => self.lock_refusals().drain(),
        };
        if due.is_empty() {
            return Ok(());
        }
        let context = *context;
        self.store()
            .write(move |tx| {
                due.into_iter()
                    .try_for_each(|(key, count)| append(tx, &context, &counted(&context, key, count)))
            })
            .await
    }

    fn lock_refusals(&self) -> std::sync::MutexGuard<'_, Refusals> {
        self.0.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much to write down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    PastMinutes,
    Everything,
}

fn counted(context: &Context, key: RefusalKey, count: u64) -> Record {
    let details = Details {
        key: Some(key.text()),
        count: Some(count),
        ..Details::default()
    };
    server_record(context, Act::RefusalsCounted, Subject::Nothing, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Timestamp = Timestamp::from_millis(MILLIS_PER_MINUTE);
    const ALICE: RefusalKey = RefusalKey([1; 16]);

    #[test]
    fn the_first_ten_of_a_minute_get_records_and_the_rest_are_counted() {
        let mut refusals = Refusals::default();
        let recorded = (0..25).filter(|_| refusals.note(ALICE, MINUTE).recorded).count();
        assert_eq!(recorded, 10);
        let next = refusals.note(ALICE, Timestamp::from_millis(2 * MILLIS_PER_MINUTE));
        assert!(next.recorded);
        assert_eq!(next.counted, [(ALICE, 15)]);
    }

    #[test]
    fn memory_is_bounded_whatever_is_tried() {
        let mut refusals = Refusals::default();
        let key = |n: u64| RefusalKey([n.to_be_bytes(), [7; 8]].concat().try_into().unwrap());
        for n in 0..3 * 4_096 {
            refusals.note(key(n), MINUTE);
        }
        assert!(refusals.counts.len() <= MAX_PRINCIPALS + 1);
        assert_eq!(refusals.drain(), [(RefusalKey::OTHERS, 2 * 4_096 - 10)]);
    }
}
