//! What the primitives did on this thread: for tests that count chain steps or look for a nonce used twice.
//!
//! Compiled only under the feature `instrument`, and silent outside [`record`], so that a program which happens to be
//! built with the feature keeps nothing.

use core::cell::RefCell;
use std::{thread_local, vec::Vec};

/// What happened inside one [`record`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Calls of [`crate::kdf::hmac`].
    pub hmacs: usize,
    /// Diffie-Hellman computations.
    pub diffie_hellmans: usize,
    /// AEAD openings, whether they succeeded or not.
    pub openings: usize,
    /// Every AEAD sealing: key and nonce.
    pub sealings: Vec<([u8; 32], [u8; 12])>,
}

thread_local! {
    static TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// Runs `work` and returns its result with what the primitives did meanwhile. Does not nest.
pub fn record<T>(work: impl FnOnce() -> T) -> (T, Trace) {
    TRACE.with_borrow_mut(|trace| *trace = Some(Trace::default()));
    let result = work();
    let trace = TRACE.with_borrow_mut(Option::take).unwrap_or_default();
    (result, trace)
}

pub(crate) fn hmac() {
    note(|trace| trace.hmacs += 1);
}

pub(crate) fn diffie_hellman() {
    note(|trace| trace.diffie_hellmans += 1);
}

pub(crate) fn seal(key: &[u8; 32], nonce: &[u8; 12]) {
    note(|trace| trace.sealings.push((*key, *nonce)));
}

pub(crate) fn open() {
    note(|trace| trace.openings += 1);
}

fn note(event: impl FnOnce(&mut Trace)) {
    TRACE.with_borrow_mut(|trace| trace.as_mut().map(event));
}
