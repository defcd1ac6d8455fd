//! What an attacker on the network or on the server can alter, and what then happens: nothing.

use unhidra_crypto::instrument;
use unhidra_pair::OpenError;

use crate::network::Two;

/// Invariants 12 and 14.
#[test]
fn a_forged_header_costs_no_chain_step_and_changes_nothing() {
    let mut two = Two::acquainted(1);
    let mut mail = two.send(0, b"text");
    mail.bytes[20] ^= 1;
    let before = two.stored(1);
    let (result, trace) = instrument::record(|| two.deliver(&mail));
    assert_eq!(result, Err(OpenError::NoSession));
    assert_eq!((trace.hmacs, trace.diffie_hellmans), (0, 0));
    assert_eq!(two.stored(1), before);
}
