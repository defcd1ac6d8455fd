//! A given number of messages into one log, as fast as they are accepted.

use anyhow::{Context as _, bail};

use crate::{
    dialect::{Incoming, Number},
    progress::Progress,
    seat::Seat,
    stamp::{Run, STAMP_BYTES, Stamp},
    websocket::Message,
};

/// Messages that wait for their answer. The server takes fewer at once; the rest lies in its socket.
const WINDOW: u64 = 256;

/// What is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speech {
    pub(crate) run: Run,
    pub(crate) sender: u32,
    pub(crate) messages: u64,
    /// Bytes of each.
    pub(crate) body: usize,
}

/// Says all of it, and returns when it is accepted.
pub(crate) async fn say(seat: &Seat, speech: Speech, progress: &Progress) -> anyhow::Result<()> {
    let mut socket = seat.connect_level().await?;
    let mut body = vec![0x2e; speech.body.max(STAMP_BYTES)];
    let (mut said, mut accepted) = (0, 0);
    while accepted < speech.messages {
        // By halves, so that writes coalesce.
        if said - accepted <= WINDOW / 2 {
            let through = speech.messages.min(accepted + WINDOW);
            for counter in said..through {
                let stamp = Stamp {
                    run: speech.run.number,
                    sender: speech.sender,
                    counter,
                    sent: speech.run.began.elapsed(),
                };
                *body.first_chunk_mut().context("a body holds a stamp")? = stamp.to_bytes();
                let number = Number {
                    run: speech.run.number,
                    sender: speech.sender,
                    counter,
                };
                seat.dialect
                    .send(&mut socket.outbox, seat.conversation, number, &body)?;
            }
            said = through;
        }
        socket.exchange().await?;
        let mut furthest = None;
        while let Some(message) = socket.inbox.message()? {
            match message {
                Message::Binary(payload) => match seat.dialect.read(payload)? {
                    Incoming::Accepted(_) => accepted += 1,
                    Incoming::Entry { log, seq, .. } => furthest = Some((log, seq)),
                    Incoming::Refused(counter, reason) => {
                        bail!("the server refused message {counter}: {reason:?}")
                    }
                    Incoming::CaughtUp | Incoming::Other => {}
                },
                Message::Ping(payload) => socket.outbox.pong(payload)?,
                Message::Close(code) => bail!("the server closed the connection with {code}"),
                Message::Other => {}
            }
        }
        if let Some((log, seq)) = furthest {
            seat.dialect.acknowledge(&mut socket.outbox, log, seq)?;
        }
        progress.say_rarely(&format!("{accepted} of {} messages said", speech.messages));
    }
    socket.flush().await?;
    socket.close().await;
    Ok(())
}
