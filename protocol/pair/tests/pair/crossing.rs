//! Two devices that begin sessions at the same time end up in one, whatever overtakes what. Invariant 17.

use proptest::prelude::*;
use unhidra_pair::{EkHash, SessionSet};

use crate::network::{Mail, Two, cases};

fn sessions(two: &Two, at: usize) -> SessionSet {
    two.devices[at].sessions(two.devices[1 - at].address())
}

fn active(two: &Two) -> [Option<EkHash>; 2] {
    [0, 1].map(|at| sessions(two, at).active())
}

/// Each sends one message before either has read the other's.
fn cross(two: &mut Two) {
    let crossing = [two.send(0, b"crossing"), two.send(1, b"crossing")];
    for mail in &crossing {
        two.deliver(mail).unwrap();
    }
}

/// What is on its way between two devices: anything overtakes anything.
#[derive(Clone, Debug)]
enum Action {
    Begin(usize),
    Send(usize),
    Deliver(prop::sample::Index),
}

fn actions(begins: u32) -> impl Strategy<Value = Vec<Action>> {
    let from = 0..2_usize;
    let action = prop_oneof![
        begins => from.clone().prop_map(Action::Begin),
        5 => from.prop_map(Action::Send),
        5 => any::<prop::sample::Index>().prop_map(Action::Deliver),
    ];
    proptest::collection::vec(action, 0..24)
}

/// Plays a script, then lets everything arrive: how much was sent and shown.
fn play(two: &mut Two, script: &[Action], sent: &mut Vec<Mail>) {
    let mut shown = 0;
    let total = |sent: &[Mail], shown: usize| sent.len() + shown;
    for action in script {
        match action {
            Action::Begin(from) => two.initiate(*from),
            Action::Send(from) => sent.push(two.send(*from, b"text")),
            Action::Deliver(_) if sent.is_empty() => {}
            Action::Deliver(at) => {
                let mail = sent.swap_remove(at.index(sent.len()));
                assert!(two.deliver(&mail).unwrap().is_some(), "shown once");
                shown += 1;
            }
        }
    }
    let all = total(sent, shown);
    while let Some(mail) = sent.pop() {
        assert!(two.deliver(&mail).unwrap().is_some(), "shown once");
        shown += 1;
    }
    assert_eq!(all, shown, "nothing is lost");
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn one_beginning_on_each_side_meets_within_one_message_each(seed in any::<u64>(), script in actions(0)) {
        let mut two = Two::new(seed);
        two.initiate(0);
        two.initiate(1);
        // Both have sent before either reads.
        let mut sent = vec![two.send(0, b"first"), two.send(1, b"first")];
        play(&mut two, &script, &mut sent);
        cross(&mut two);
        let [one, other] = active(&two);
        prop_assert_eq!(one, other);
        // And there they stay.
        for _ in 0..3 {
            cross(&mut two);
            prop_assert_eq!(active(&two), [one, one]);
        }
    }

    #[test]
    fn any_number_of_beginnings_meets_in_the_end(seed in any::<u64>(), script in actions(1)) {
        let mut two = Two::new(seed);
        play(&mut two, &script, &mut Vec::new());
        for _ in 0..40 {
            cross(&mut two);
        }
        let [one, other] = active(&two);
        prop_assert_eq!(one, other);
        cross(&mut two);
        prop_assert_eq!(active(&two), [one, one]);
    }
}

/// The answer in the one session comes before the first message of the other.
#[test]
fn an_answer_that_overtakes_the_first_message_splits_nothing() {
    let mut orders = [0, 0];
    for seed in 0..12 {
        let mut two = Two::new(seed);
        two.initiate(0);
        two.initiate(1);
        let [one, other] = active(&two);
        let late = two.send(0, b"late");
        let first = two.send(1, b"first");
        two.deliver(&first).unwrap();
        let answer = two.send(0, b"answer");
        two.deliver(&answer).unwrap();
        two.deliver(&late).unwrap();
        cross(&mut two);
        let [one_now, other_now] = active(&two);
        assert_eq!(one_now, other_now, "seed {seed}");
        orders[usize::from(one < other)] += 1;
    }
    assert!(
        orders.iter().all(|count| *count > 0),
        "both orders occur: {orders:?}"
    );
}

/// What came of a beginning that the peer can't use is left for what it can.
#[test]
fn a_session_in_which_the_peer_asks_for_repair_sends_from_then_on() {
    for seed in 0..8 {
        let mut two = Two::new(seed);
        two.initiate(0);
        two.initiate(1);
        // Never arrives, as if the prekeys that it names were gone.
        two.send(0, b"can't be opened");
        let asked = two.send(1, b"please repeat");
        let opened = two.open(&asked).unwrap();
        let preferred = opened.sessions.prefer(opened.session, two.now);
        assert_eq!(preferred.active(), Some(opened.session));
        two.devices[0].store(&preferred);
        let answer = two.send(0, b"again");
        assert!(two.deliver(&answer).unwrap().is_some());
        assert_eq!(active(&two), [Some(opened.session); 2]);
    }
}

/// Invariant 20: a set that was set back sends in nothing that it had, whatever arrives there.
#[test]
fn what_was_retired_never_sends_again() {
    for seed in 0..4 {
        let mut two = Two::acquainted(seed);
        let old = active(&two)[0];
        let retired = sessions(&two, 0).archive_all(two.now);
        two.devices[0].store(&retired);
        for _ in 0..4 {
            two.exchange(1, b"in the old session");
            assert_eq!(active(&two)[0], None);
        }
        let kept = sessions(&two, 0);
        assert_eq!(kept.prefer(old.unwrap(), two.now).active(), None);
    }
}

/// A peer that was set back goes on in a session that this device sends nothing in: it gets to see the newest own one.
#[test]
fn a_peer_that_goes_on_in_a_retired_session_is_shown_the_last_own_beginning() {
    const PATIENCE: usize = 32;
    let mut tried = 0;
    for seed in 0..8 {
        let mut two = Two::acquainted(seed);
        let retired = sessions(&two, 1).archive_all(two.now);
        two.devices[1].store(&retired);
        two.initiate(1);
        let before = sessions(&two, 0);
        two.initiate(0);
        two.exchange(0, b"in a newer session");
        let [of_peer, sending] = active(&two);
        if sending != of_peer {
            continue;
        }
        tried += 1;
        two.devices[0].store(&before);
        for _ in 1..PATIENCE {
            two.exchange(0, b"in the retired session");
            assert_eq!(active(&two)[1], of_peer);
        }
        two.exchange(0, b"in the retired session");
        let shown = active(&two)[1];
        assert!(shown.is_some() && shown != of_peer && shown != before.active());
    }
    assert!(
        tried > 0,
        "the newer session of the peer takes over for some seed"
    );
}
