//! Keeping entries that can't be opened yet, within bounds.

use unhidra_wire::frame::Deliver;

use crate::{
    effects::Notice,
    record::Record as _,
    repair::place_of,
    security::Suspicion,
    step::Step,
    store::{KeyRange, Order, StoreError, Table},
    waiting::{MAX_WAITING, MAX_WAITING_BYTES, Request, Waiting},
};

/// Counts the bytes that wait.
const WAITING_BYTES: &str = "waiting bytes";

impl Step<'_> {
    pub(super) fn keep_waiting(&mut self, deliver: &Deliver, reason: Suspicion) -> Result<(), StoreError> {
        let number = self.next_number("waiting")?;
        let waiting = Waiting::new(deliver, reason, self.now);
        self.make_room_for(&waiting, number)?;
        waiting.save(self.tx, &number.to_be_bytes())?;
        let request = Request::new(number, &waiting);
        request.keep(self.tx, &waiting.place())?;
        if request.unopened().is_some() {
            self.note_unopened(waiting.place().sender, reason)?;
        }
        self.effects.notices.push(Notice::Waiting {
            conversation: deliver.conversation,
            seq: deliver.seq,
        });
        Ok(())
    }

    /// The entry of the same message that waits, if there is one.
    pub(super) fn waiting_for(&mut self, deliver: &Deliver) -> Result<Option<Waiting>, StoreError> {
        match Request::find(self.tx, &place_of(deliver))? {
            Some(request) => Waiting::load(self.tx, &request.number.to_be_bytes()),
            None => Ok(None),
        }
    }

    fn make_room_for(&mut self, waiting: &Waiting, number: u64) -> Result<(), StoreError> {
        let held = self.number(WAITING_BYTES)?.saturating_add(waiting.bytes());
        self.set_number(WAITING_BYTES, held);
        if let Some(oldest) = number.checked_sub(MAX_WAITING)
            && let Some(oldest) = Waiting::load(self.tx, &oldest.to_be_bytes())?
        {
            self.forget_waiting(&oldest)?;
        }
        while self.number(WAITING_BYTES)? > MAX_WAITING_BYTES {
            let range = KeyRange::all();
            let Some(oldest) = self.tx.scan(Table::Waiting, &range, Order::Ascending, 1)?.pop() else {
                return Ok(());
            };
            self.tx.delete(Table::Waiting, &oldest.key)?;
            self.forget_waiting(&Waiting::decode(&oldest.value)?)?;
        }
        Ok(())
    }

    /// An entry waits no longer: it was opened, or there is no room.
    pub(crate) fn forget_waiting(&mut self, waiting: &Waiting) -> Result<(), StoreError> {
        let held = self.number(WAITING_BYTES)?.saturating_sub(waiting.bytes());
        self.set_number(WAITING_BYTES, held);
        if let Some(request) = Request::find(self.tx, &waiting.place())? {
            self.tx.delete(Table::Waiting, &request.number.to_be_bytes())?;
        }
        Request::forget(self.tx, &waiting.place())
    }
}
