//! Other users: changed identities, requests, blocking.

use unhidra_chain::safety_number::SafetyNumber;
use unhidra_client::{Blocking, device::Known};
use unhidra_types::UserId;

use super::{Client, ClientError};
use crate::edge;

impl Client {
    /// The safety numbers before and after, when the server shows another identity of `peer` than the pinned one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn changed_identity(
        &mut self,
        peer: UserId,
    ) -> Result<Option<(SafetyNumber, SafetyNumber)>, ClientError> {
        match self.look_up(peer).await {
            Err(ClientError::Rest(error)) if error.is_transient() => {}
            looked_up => looked_up?,
        }
        Ok(self.device.changed_identity(peer)?)
    }

    /// Accepts the identity of `peer` whose number the people have compared, and looks up its devices.
    ///
    /// # Errors
    /// [`ClientError::IdentityChanged`] when it is not the number any more; see [`ClientError`].
    pub async fn accept_identity(&mut self, peer: UserId, number: &SafetyNumber) -> Result<(), ClientError> {
        let (accepted, effects) = self
            .device
            .accept_identity(peer, number, edge::now(), &mut edge::rng())?;
        self.pending.merge(effects);
        if !accepted {
            return Err(ClientError::IdentityChanged(peer));
        }
        match self.look_up(peer).await {
            // It was accepted; its devices are looked up when they are needed.
            Err(ClientError::Rest(_)) => Ok(()),
            looked_up => looked_up,
        }
    }

    /// Accepts the request of `peer`; false when there is none.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn accept_request(&mut self, peer: UserId) -> Result<bool, ClientError> {
        let (accepted, effects) = self.device.accept_request(peer, edge::now(), &mut edge::rng())?;
        self.pending.merge(effects);
        Ok(accepted)
    }

    /// Takes `peer` as someone to talk to, as writing to them does.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn accept_contact(&mut self, peer: UserId) -> Result<(), ClientError> {
        let effects = self.device.accept_contact(peer, edge::now(), &mut edge::rng())?;
        self.pending.merge(effects);
        Ok(())
    }

    /// Blocks `peer` or lets them in again; false when it was so already.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn set_blocked(&mut self, peer: UserId, blocking: Blocking) -> Result<bool, ClientError> {
        Ok(self
            .device
            .set_blocked(peer, blocking, edge::now(), &mut edge::rng())?)
    }

    /// What this device knows of `peer`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn known(&mut self, peer: UserId) -> Result<Known, ClientError> {
        Ok(self.device.known(peer)?)
    }
}
