//! The linking channel: a few small messages between a new device and one that certifies it, opaque to the server.

use std::time::Duration;

use unhidra_audit::{Act, Subject};
use unhidra_store::{StoreError, link::LinkChannel};
use unhidra_types::DeviceId;
use unhidra_wire::{
    base64::Base64,
    rest::{LinkMessage, LinkMessages},
};

pub use unhidra_store::link::Direction;

use crate::{Caller, Identity, append};

/// How long a channel carries messages, from the first one on.
pub const LIFETIME: Duration = Duration::from_secs(120);
/// Bytes of one message.
pub const MAX_MESSAGE_BYTES: usize = 1_024;
/// Messages of a channel in each direction.
pub const MAX_MESSAGES: u32 = 8;
/// Channels that a user may open in an hour.
const MAX_CHANNELS_PER_HOUR: u32 = 16;
const HOUR: Duration = Duration::from_secs(3_600);
/// How long a channel is remembered, so that it is used once: longer than any token that could open it again.
const MEMORY: Duration = Duration::from_secs(86_400);

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The channel is over, another user's, or for a device that is certified already.
    #[error("no such linking channel")]
    NotFound,
    /// The message is empty or too long.
    #[error("message does not have the documented size")]
    Malformed,
    /// The channel is full, or the user has opened too many.
    #[error("too many messages or channels")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Identity {
    /// Adds a message; the first one opens the channel of a device that is not certified yet.
    ///
    /// # Errors
    /// [`LinkError`].
    ///
    /// # Cancellation safety
    /// The message is added or not.
    pub async fn send_link_message(
        &self,
        caller: &Caller,
        device: DeviceId,
        direction: Direction,
        body: LinkMessage,
    ) -> Result<(), LinkError> {
        let Base64(message) = body.message;
        if !(1..=MAX_MESSAGE_BYTES).contains(&message.len()) {
            return Err(LinkError::Malformed);
        }
        let (user, org) = caller
            .user()
            .zip(caller.principal.org())
            .ok_or(LinkError::NotFound)?;
        let (context, now) = (caller.context, caller.context.now);
        let opened = self.record(caller, Act::LinkOpened, Subject::Device(device));
        self.store()
            .write(move |tx| {
                match tx.link_channel(device)? {
                    Some(channel) if channel.user != user || now.since(channel.opened_at) > LIFETIME => {
                        return Err(LinkError::NotFound);
                    }
                    Some(_) => {}
                    None if tx.device(device)?.is_some() => return Err(LinkError::NotFound),
                    None => {
                        if tx.link_channels_since(user, now.saturating_sub(HOUR))? >= MAX_CHANNELS_PER_HOUR {
                            return Err(LinkError::TooMany);
                        }
                        let channel = LinkChannel {
                            device,
                            user,
                            org,
                            opened_at: now,
                        };
                        tx.open_link_channel(&channel, now.saturating_sub(MEMORY))?;
                        append(tx, &context, &opened)?;
                    }
                }
                if tx.add_link_message(device, direction, &message, MAX_MESSAGES)? {
                    Ok(())
                } else {
                    Err(LinkError::TooMany)
                }
            })
            .await
    }

    /// The messages after the first `after`; none when there is no channel of the caller's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn link_messages(
        &self,
        caller: &Caller,
        device: DeviceId,
        direction: Direction,
        after: u32,
    ) -> Result<LinkMessages, StoreError> {
        let (user, now) = (caller.user(), caller.context.now);
        let messages = self.store().read(move |snapshot| {
            let channel = snapshot.link_channel(device)?;
            let open = channel
                .filter(|channel| Some(channel.user) == user && now.since(channel.opened_at) <= LIFETIME);
            match open {
                Some(_) => snapshot.link_messages(device, direction, after),
                None => Ok(Vec::new()),
            }
        });
        Ok(LinkMessages {
            messages: messages.await?.into_iter().map(Base64).collect(),
        })
    }
}
