//! What the client of this profile has not opened, by reason. Only the device knows: what it asks its peers to repeat is
//! encrypted, and the server learns the counts only, once a day (docs/adr/0017).

use std::collections::BTreeMap;

use unhidra_client::security::Suspicion;

use crate::{command::opening::Opening, health::Finding};

/// Nothing where there is no profile. The counts are those since the profile was made.
pub(super) fn examine(opening: &Opening) -> Vec<Finding> {
    const CHECK: &str = "messages";
    if !matches!(opening.kept_by(), Ok(Some(_))) {
        return Vec::new();
    }
    let counted = match opening.client() {
        Ok(mut client) => client.device().suspicions().map_err(anyhow::Error::from),
        Err(failure) => Err(failure.error),
    };
    match counted {
        Ok(counts) => findings(&counts),
        Err(error) => vec![Finding::warn(
            CHECK,
            format!("this machine's profile was not looked at: {error:#}"),
            "name what opens it, as for other commands",
        )],
    }
}

fn findings(counts: &[(Suspicion, u64)]) -> Vec<Finding> {
    let of = |is_unopened: bool| -> BTreeMap<&'static str, u64> {
        let wanted = counts
            .iter()
            .filter(|(reason, _)| reason.opening_failure().is_some() == is_unopened);
        wanted.map(|(reason, count)| (reason.text(), *count)).collect()
    };
    vec![
        finding(
            "messages",
            of(true),
            "every message was opened",
            "were not opened",
            "what its sender can give again was asked for; numbers that grow mean a damaged profile or a server that alters",
        ),
        finding(
            "peers",
            of(false),
            "no device or server has broken the protocol",
            "against the protocol",
            "compare the safety numbers by `unhidra verify`, and ask who runs the server",
        ),
    ]
}

fn finding(
    check: &'static str,
    counts: BTreeMap<&'static str, u64>,
    fine: &str,
    not: &str,
    remedy: &str,
) -> Finding {
    if counts.is_empty() {
        return Finding::ok(check, fine);
    }
    let total: u64 = counts.values().sum();
    let reasons: Vec<_> = counts
        .iter()
        .map(|(reason, count)| format!("{count} x {reason}"))
        .collect();
    Finding {
        counts,
        ..Finding::warn(check, format!("{total} {not}: {}", reasons.join(", ")), remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::State;

    #[test]
    fn failures_are_counted_by_reason_and_told_apart_from_what_peers_did() {
        let found = findings(&[
            (Suspicion::KeyGone, 2),
            (Suspicion::BadTag, 3),
            (Suspicion::EpochOverdue, 1),
        ]);
        let [messages, peers] = found.as_slice() else {
            panic!("two findings");
        };
        assert_eq!(messages.state, State::Warn);
        assert_eq!(
            messages.found,
            "5 were not opened: 2 x key of the message is gone, 3 x message was altered in transit"
        );
        assert_eq!(messages.counts.len(), 2);
        assert_eq!(
            peers.found,
            "1 against the protocol: 1 x post-quantum steps do not arrive"
        );
        assert!(findings(&[]).iter().all(|finding| finding.state == State::Ok));
    }
}
