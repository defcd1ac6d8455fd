//! What a device has must be what was sent: byte for byte, in order, once.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, bail, ensure};

use crate::person::{Device, Message, Person, messages, texts};

/// How long a device may take to catch up on so many lines.
const CATCH_UP_LINES: usize = 1_000;
const CATCH_UP_TIME: Duration = Duration::from_secs(60);

/// What one person sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Who.
    pub by: &'a Person,
    /// What, in order.
    pub lines: &'a [String],
}

/// Checks the archive of `device`, and what it printed: `heard` by `listen`, which may repeat itself, the rest by `read`.
///
/// # Errors
/// The first line that differs, or how many are missing or come twice.
pub fn check(device: &Device, sent: [Sent<'_>; 2], heard: Vec<Message>) -> anyhow::Result<()> {
    let steps = sent.iter().map(|sent| sent.lines.len()).sum::<usize>() / CATCH_UP_LINES + 1;
    let patience = CATCH_UP_TIME * u32::try_from(steps)?;
    // A listener that was killed between printing a message and noting it leaves it to the next run.
    let read = device.read_json_within(patience)?;
    let news = once(heard.into_iter().chain(read).collect())?;
    let again = device.read_json()?;
    ensure!(
        again.is_empty(),
        "{} printed {} messages a second time",
        device.name(),
        again.len()
    );
    let all = device
        .start(["--json", "read", "--all"], b"")?
        .wait(patience)?
        .success()?;
    let all = messages(&all)?;
    for Sent { by, lines } in sent {
        let from = |all: &[Message]| {
            let of: Vec<_> = all.iter().filter(|one| one.from == by.name).cloned().collect();
            texts(&of)
        };
        compare(lines, &from(&all))
            .with_context(|| format!("what {} keeps from {}", device.name(), by.name))?;
        if !by.first()?.is(device) {
            compare(lines, &from(&news))
                .with_context(|| format!("what {} printed from {}", device.name(), by.name))?;
        }
    }
    Ok(())
}

/// The first of each message; those that come again must be the same.
fn once(messages: Vec<Message>) -> anyhow::Result<Vec<Message>> {
    let mut seen = HashMap::new();
    let mut first = Vec::with_capacity(messages.len());
    for message in messages {
        let earlier = seen.insert(
            (message.from_device.clone(), message.msg_id.clone()),
            message.text.clone(),
        );
        match earlier {
            None => first.push(message),
            Some(text) => ensure!(
                text == message.text,
                "message {} was printed as {text:?} and then as {:?}",
                message.msg_id,
                message.text
            ),
        }
    }
    Ok(first)
}

/// Says where two texts part.
///
/// # Errors
/// The first line that differs.
pub fn compare(sent: &[String], received: &[String]) -> anyhow::Result<()> {
    let differs = sent
        .iter()
        .zip(received)
        .position(|(sent, received)| sent != received);
    if let Some(line) = differs {
        bail!(
            "line {} of {} was sent as {:?} and arrived as {:?} ({} arrived in all)",
            line + 1,
            sent.len(),
            sent.get(line),
            received.get(line),
            received.len()
        );
    }
    ensure!(
        sent.len() == received.len(),
        "{} lines were sent and {} arrived; all agree up to the shorter one's end",
        sent.len(),
        received.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(compare(&lines("a b c"), &lines("a b c")).is_ok());
        for received in ["a b", "a b b c", "a c b", "a b c c", ""] {
            assert!(compare(&lines("a b c"), &lines(received)).is_err(), "{received}");
        }
    }

    #[test]
    fn what_is_printed_again_must_be_the_same() {
        let message = |msg_id: &str, text: &str| Message {
            msg_id: msg_id.into(),
            conversation: String::new(),
            seq: Some(1),
            from: "alice".into(),
            to: "bob".into(),
            from_device: "laptop".into(),
            state: "received".into(),
            text: Some(text.into()),
        };
        let repeated = vec![message("1", "a"), message("2", "b"), message("1", "a")];
        assert_eq!(texts(&once(repeated).unwrap()), ["a", "b"]);
        assert!(once(vec![message("1", "a"), message("1", "b")]).is_err());
    }
}
