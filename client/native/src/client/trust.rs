//! Whether messages may go to someone, and the number that two people compare.

use tokio::time::Instant;
use unhidra_chain::safety_number::SafetyNumber;
use unhidra_client::{OutboxChange, device::Standing};
use unhidra_types::{ConversationId, UserId};
use unhidra_wire::rest::ProblemCode;

use super::{Client, ClientError, enrol::Learnt};
use crate::edge;

/// How often it is looked whether everything has left.
const SETTLE_TURN: std::time::Duration = std::time::Duration::from_millis(50);

impl Client {
    /// The other user of a conversation that this device knows; its own user for one that it does not know.
    ///
    /// # Errors
    /// [`ClientError::Store`].
    pub fn peer_of(&mut self, conversation: ConversationId) -> Result<UserId, ClientError> {
        let found = self.device.conversation(conversation)?;
        Ok(found.map_or(self.account.user_id, |found| found.peer))
    }

    /// The conversation with a user, whether or not it has begun.
    #[must_use]
    pub fn conversation_with(&self, peer: UserId) -> ConversationId {
        unhidra_client::direct_conversation(self.account.user_id, peer)
    }

    /// Looks up whether messages can go to `peer`, as far as the server can be asked. Without a server what is known
    /// decides, and unknown users wait in the outbox.
    ///
    /// # Errors
    /// [`ClientError::NoDevice`], [`ClientError::IdentityChanged`], [`ClientError::ListWithheld`],
    /// [`ClientError::Blocked`].
    pub async fn ready_to_send(&mut self, peer: UserId) -> Result<(), ClientError> {
        if self.device.known(peer)?.contact.blocked {
            return Err(ClientError::Blocked(peer));
        }
        match self.look_up(peer).await {
            Err(ClientError::Rest(error)) if error.is_transient() => {}
            looked_up => looked_up?,
        }
        match self.device.standing(peer, edge::now(), &mut edge::rng())? {
            Standing::Unknown | Standing::Reachable => Ok(()),
            Standing::NoDevice => Err(ClientError::NoDevice(peer)),
            Standing::IdentityChanged => Err(ClientError::IdentityChanged(peer)),
            Standing::ListWithheld => Err(ClientError::ListWithheld(peer)),
            Standing::Blocked => Err(ClientError::Blocked(peer)),
        }
    }

    /// The number to compare with `peer`, and whether that was confirmed.
    ///
    /// # Errors
    /// [`ClientError::NoDevice`] when the user has no identity yet; see [`ClientError`].
    pub async fn safety_number(&mut self, peer: UserId) -> Result<(SafetyNumber, bool), ClientError> {
        match self.look_up(peer).await {
            Err(ClientError::Rest(error)) if error.is_transient() => {}
            looked_up => looked_up?,
        }
        if self.device.standing(peer, edge::now(), &mut edge::rng())? == Standing::IdentityChanged {
            return Err(ClientError::IdentityChanged(peer));
        }
        let trust = self.device.trust(peer)?.ok_or(ClientError::NoDevice(peer))?;
        Ok((trust.number, trust.verified))
    }

    /// Records that `number` was compared with `peer`.
    ///
    /// # Errors
    /// [`ClientError::IdentityChanged`] when it is not the number any more.
    pub fn confirm_safety_number(&mut self, peer: UserId, number: &SafetyNumber) -> Result<(), ClientError> {
        if self.device.confirm(peer, number)? {
            Ok(())
        } else {
            Err(ClientError::IdentityChanged(peer))
        }
    }

    /// Drives the client until everything that the engine has queued is answered, or `deadline` has passed.
    ///
    /// # Errors
    /// What ends the client.
    pub async fn settle(&mut self, deadline: Instant) -> Result<(), ClientError> {
        while Instant::now() < deadline {
            let is_settled = self.in_flight.is_empty()
                && self.pending.needs.is_empty()
                && self.pending.frames.is_empty()
                && self.pending.outbox == OutboxChange::None
                && !self.pending.more
                && self.device.outgoing(None, 1)?.is_empty();
            if is_settled {
                return Ok(());
            }
            // What devices say to each other leaves without an event.
            self.step(deadline.min(Instant::now() + SETTLE_TURN)).await?;
        }
        Ok(())
    }

    /// Asks the server for what is missing of a user's device list.
    pub(super) async fn look_up(&mut self, user: UserId) -> Result<(), ClientError> {
        let token = self.access_token().await?;
        match self.learn_chain_of(&token, user).await {
            Ok(Learnt::Whole) => Ok(()),
            Ok(Learnt::Refused) => Err(ClientError::ChainOfPeer(user)),
            // A user without a chain and an unknown user look alike; the name was looked up before.
            Err(ClientError::Rest(error)) if error.code() == Some(ProblemCode::NotFound) => {
                Err(ClientError::NoDevice(user))
            }
            Err(error) => Err(error),
        }
    }
}
