//! The own identity: replacing it, resetting it when everything is lost, and giving it other recovery words.
//!
//! Each is made first and shown, and uploaded only then, so that no words are in force that nobody has seen.

use tokio::time::Instant;
use unhidra_client::device::{NextKey, OwnIdentity, Rotation};
use unhidra_pair::recovery::RecoveryKey;
use unhidra_types::DeviceId;
use unhidra_wire::{
    base64::{Base64, Base64Array},
    rest::{ChainHead, Hidden, LogIn, ReplaceIdentity, ReplaceRecovery},
};

use super::{
    Client, ClientError, Settings,
    enrol::{Destination, Founding},
};
use crate::{edge, profile::Profile};

/// A successor of the own identity that has not left the device.
#[must_use = "nothing is replaced until it is uploaded"]
pub struct Rotating<'a> {
    client: &'a mut Client,
    token: Hidden,
    rotation: Rotation,
}

/// The same identity under other words, which have not left the device.
#[must_use = "nothing is replaced until it is uploaded"]
pub struct RenewingRecovery<'a> {
    client: &'a mut Client,
    recovery: RecoveryKey,
    wrapped: Vec<u8>,
}

impl Rotating<'_> {
    /// To be shown before anything else happens, and never again.
    #[must_use]
    pub const fn recovery(&self) -> &RecoveryKey {
        &self.rotation.recovery
    }

    /// The devices that stay, with this one.
    #[must_use]
    pub fn kept(&self) -> &[DeviceId] {
        &self.rotation.kept
    }

    /// Puts it in the place of the current identity.
    ///
    /// # Errors
    /// See [`ClientError`]. When the answer is lost, this device learns at its next connection whether it was taken.
    pub async fn upload(self) -> Result<(), ClientError> {
        let Self {
            client,
            token,
            rotation,
        } = self;
        let body = ReplaceIdentity {
            replaces: ChainHead {
                version: rotation.replaces.version.0,
                hash: Base64Array(rotation.replaces.hash),
            },
            records: rotation.records.into_iter().map(Base64).collect(),
            proofs: Vec::new(),
            recovery: Base64(rotation.wrapped.to_vec()),
        };
        client.rest.rotate_identity(&token, &body).await?;
        client.learn_own_chain(&token).await
    }
}

impl RenewingRecovery<'_> {
    /// To be shown before anything else happens, and never again.
    #[must_use]
    pub const fn recovery(&self) -> &RecoveryKey {
        &self.recovery
    }

    /// Makes the earlier words void.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn upload(self) -> Result<(), ClientError> {
        let Self { client, wrapped, .. } = self;
        let token = client.access_token().await?;
        let body = ReplaceRecovery {
            wrapped: Base64(wrapped),
        };
        Ok(client.rest.replace_recovery(&token, &body).await?)
    }
}

impl Client {
    /// The own identity as the server shows it and this device believes it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn own_identity(&mut self) -> Result<OwnIdentity, ClientError> {
        match self.access_token().await {
            Ok(token) => self.learn_own_chain(&token).await?,
            Err(ClientError::Rest(error)) if error.is_transient() => {}
            Err(error) => return Err(error),
        }
        let own = self.device.own_identity(edge::now(), &mut edge::rng())?;
        own.ok_or(ClientError::NotLoggedIn)
    }

    /// Makes the successor of the own identity, without the devices in `without`. What is queued is sent first, as far
    /// as it can be until `deadline`: afterwards it would fail.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rotate_identity(
        &mut self,
        key: NextKey,
        without: &[DeviceId],
        deadline: Instant,
    ) -> Result<Rotating<'_>, ClientError> {
        let token = self.access_token().await?;
        self.learn_own_chain(&token).await?;
        if self.device.unsent()? > 0 {
            self.settle(deadline).await?;
        }
        let rotation = self.device.rotate(key, without, edge::now(), &mut edge::rng())?;
        Ok(Rotating {
            client: self,
            token,
            rotation,
        })
    }

    /// Makes other recovery words for the own identity.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn renew_recovery(&mut self) -> Result<RenewingRecovery<'_>, ClientError> {
        let token = self.access_token().await?;
        self.learn_own_chain(&token).await?;
        let (recovery, wrapped) = self.device.wrap_anew(edge::now(), &mut edge::rng())?;
        Ok(RenewingRecovery {
            client: self,
            recovery,
            wrapped: wrapped.to_vec(),
        })
    }

    /// Begins an identity that nothing vouches for, on a profile whose device the current one does not know. The upload
    /// revokes every device of the account; contacts must accept the new identity.
    ///
    /// # Errors
    /// [`ClientError::StillKnown`] when this device is part of the identity; see [`ClientError`].
    pub async fn reset_identity(
        profile: Profile,
        destination: Destination,
        log_in: LogIn,
        device_name: String,
        settings: Settings,
    ) -> Result<Founding, ClientError> {
        let rest = destination.rest(settings)?;
        let enrolment = rest.log_in(&log_in).await?;
        let (folder, store) = profile.into_parts();
        let mut client = Self::enrol(folder, store, destination, log_in.username, &enrolment, settings)?;
        if client.device.has_taken_part()? {
            return Err(ClientError::StillKnown);
        }
        let token = enrolment.enrol_token;
        let replaces = match enrolment.has_chain {
            true => Some(rest.chain(&token, enrolment.user_id, 0).await?.head),
            false => None,
        };
        Founding::begin(client, token, device_name, replaces)
    }
}
