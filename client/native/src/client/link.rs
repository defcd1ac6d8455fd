//! Linking a new device: the two sides of the channel, step by step, with the user in between.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use unhidra_client::device::CertifyError;
use unhidra_pair::{
    linking::{LinkCode, Sas, certifier, new_device},
    recovery::RecoveryKey,
};
use unhidra_types::{DeviceId, limits::MAX_LIVE_DEVICES};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    rest::{DeviceProof, ExtendChain, Hidden, LinkMessage, ProblemCode},
};

use super::{Client, ClientError};
use crate::{edge, rest::LinkDirection};

/// How long a code is good for, and so how long either side waits for the other.
const CODE_LIFETIME: Duration = Duration::from_secs(120);
/// How long the new device waits for the approval, which takes a person at the other device.
const APPROVAL_TIMEOUT: Duration = Duration::from_secs(300);
/// How often the channel is looked at.
const POLL: Duration = Duration::from_millis(300);
/// How long the renewal of a certificate may hold up a connection.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Rounds of certifying when other devices change the chain at the same time.
const MAX_ROUNDS: u32 = 3;

/// A device that has logged in and that no chain names yet.
pub struct NewDevice {
    client: Client,
    enrol_token: Hidden,
    device_name: String,
}

/// The new device has met a certifying one: the user compares the digits.
pub struct Comparing {
    new: NewDevice,
    state: new_device::Comparing,
}

/// The certifying device has met a new one: the user compares the digits.
pub struct Certifying<'a> {
    client: &'a mut Client,
    device: DeviceId,
    state: certifier::Comparing,
}

impl NewDevice {
    pub(super) const fn new(client: Client, enrol_token: Hidden, device_name: String) -> Self {
        Self {
            client,
            enrol_token,
            device_name,
        }
    }

    /// Shows a code through `show`, and waits until a certifying device has read it.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] when the code has expired; see [`ClientError`].
    pub async fn offer(self, show: impl FnOnce(&LinkCode)) -> Result<Comparing, ClientError> {
        let (offered, code) = new_device::Offered::new(self.client.device.applicant(), &mut edge::rng());
        show(&code);
        let deadline = Instant::now() + CODE_LIFETIME;
        let commitment = self.message(0, deadline).await?;
        let (requested, request) = offered.commitment(&commitment, &mut edge::rng())?;
        let body = LinkMessage {
            message: Base64(request),
        };
        let device = self.client.device.id();
        self.client
            .rest
            .send_link_message(&self.enrol_token, device, LinkDirection::ToCertifier, &body)
            .await?;
        let reveal = self.message(1, deadline).await?;
        let state = requested.reveal(&reveal)?;
        Ok(Comparing { new: self, state })
    }

    /// Certifies this device by the recovery key instead; it holds the user identity key from then on.
    ///
    /// # Errors
    /// [`ClientError::Recovery`] when the key does not fit; see [`ClientError`].
    pub async fn recover(mut self, recovery: &RecoveryKey) -> Result<Client, ClientError> {
        self.client
            .recover(&self.enrol_token, recovery, self.device_name)
            .await?;
        Ok(self.client)
    }

    async fn message(&self, index: usize, deadline: Instant) -> Result<Vec<u8>, ClientError> {
        let device = self.client.device.id();
        read(
            &self.client,
            &self.enrol_token,
            device,
            LinkDirection::ToNewDevice,
            index,
            deadline,
        )
        .await
    }
}

impl Comparing {
    /// The digits to show.
    #[must_use]
    pub const fn sas(&self) -> Sas {
        self.state.sas()
    }

    /// The user says that the other device shows the same digits: waits for its approval, and begins the session.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] when the approval does not come; see [`ClientError`].
    pub async fn confirm(self) -> Result<Client, ClientError> {
        let Self { new, state } = self;
        let confirmed = state.confirm();
        let approval = new.message(2, Instant::now() + APPROVAL_TIMEOUT).await?;
        let linked = confirmed.approval(&approval)?;
        let NewDevice {
            mut client,
            enrol_token,
            ..
        } = new;
        let effects = client
            .device
            .linked(linked.genesis(), edge::now(), &mut edge::rng())?;
        client.pending.merge(effects);
        client.learn_own_chain(&enrol_token).await?;
        let own = client
            .device
            .own_chain(edge::now(), &mut edge::rng())?
            .ok_or(ClientError::ChainRefused)?;
        linked.check(&own)?;
        client.begin_session(&enrol_token).await?;
        client.complete_prekeys().await?;
        Ok(client)
    }
}

impl Client {
    /// Meets the new device that shows `code`. The user of this device has been authenticated before.
    ///
    /// # Errors
    /// [`ClientError::Certify`] when this device can't certify; [`ClientError::TimedOut`] when the new device is gone.
    pub async fn link(&mut self, code: &LinkCode) -> Result<Certifying<'_>, ClientError> {
        if !self.device.can_certify() {
            return Err(CertifyError::NotACertifier.into());
        }
        let token = self.access_token().await?;
        let device = code.device();
        let (committed, commitment) =
            certifier::Committed::new(code, self.account.user_id, &mut edge::rng())?;
        self.tell_new_device(&token, device, commitment.to_vec()).await?;
        let deadline = Instant::now() + CODE_LIFETIME;
        let request = read(self, &token, device, LinkDirection::ToCertifier, 0, deadline).await?;
        let (state, reveal) = committed.request(&request)?;
        self.tell_new_device(&token, device, reveal.to_vec()).await?;
        Ok(Certifying {
            client: self,
            device,
            state,
        })
    }

    async fn tell_new_device(
        &self,
        token: &Hidden,
        device: DeviceId,
        message: Vec<u8>,
    ) -> Result<(), ClientError> {
        let body = LinkMessage {
            message: Base64(message),
        };
        Ok(self
            .rest
            .send_link_message(token, device, LinkDirection::ToNewDevice, &body)
            .await?)
    }

    /// Revokes a device of this user, for good.
    ///
    /// # Errors
    /// [`ClientError::Certify`] when this device can't; see [`ClientError`].
    pub async fn revoke_device(&mut self, device: DeviceId) -> Result<(), ClientError> {
        let token = self.access_token().await?;
        self.extend_chain(&token, None, |engine| {
            engine.revoke(device, edge::now(), &mut edge::rng())
        })
        .await
    }

    /// Renews the certificates that are due, on a device that can. What fails is tried again at the next connection.
    pub(super) async fn renew_if_due(&mut self) -> Result<(), ClientError> {
        for _ in 0..MAX_LIVE_DEVICES {
            match self.device.renew(edge::now(), &mut edge::rng()) {
                Ok(_extension) => {}
                Err(CertifyError::Store(error)) => return Err(error.into()),
                Err(_nothing_to_do) => return Ok(()),
            }
            match timeout(RENEWAL_TIMEOUT, self.renew_next()).await {
                Ok(Err(error @ ClientError::Store(_))) => return Err(error),
                Ok(Err(error)) => {
                    tracing::debug!(error = %error, "a certificate was not renewed");
                    return Ok(());
                }
                Ok(Ok(())) => {}
                Err(_elapsed) => return Ok(()),
            }
        }
        Ok(())
    }

    async fn renew_next(&mut self) -> Result<(), ClientError> {
        let token = self.access_token().await?;
        self.extend_chain(&token, None, |engine| engine.renew(edge::now(), &mut edge::rng()))
            .await
    }

    /// Appends a record to the own chain; when another device was faster, the record is made anew after its.
    async fn extend_chain(
        &mut self,
        token: &Hidden,
        proof: Option<DeviceProof>,
        make: impl Fn(
            &mut unhidra_client::Device<crate::store::SqliteStore>,
        ) -> Result<unhidra_client::device::ChainExtension, CertifyError>,
    ) -> Result<(), ClientError> {
        for round in 1.. {
            self.learn_own_chain(token).await?;
            let extension = make(&mut self.device)?;
            let body = ExtendChain {
                expected: extension.after.version.0 + 1,
                records: vec![Base64(extension.record)],
                proofs: proof.clone().into_iter().collect(),
                recovery: None,
            };
            match self.rest.extend_chain(token, &body).await {
                Ok(_head) => break,
                Err(error) if error.code() == Some(ProblemCode::ChainConflict) && round < MAX_ROUNDS => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.learn_own_chain(token).await
    }
}

impl Certifying<'_> {
    /// The digits to show.
    #[must_use]
    pub const fn sas(&self) -> Sas {
        self.state.sas()
    }

    /// The user says that the new device shows the same digits: certifies it under the name that people see.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn confirm(self, device_name: String) -> Result<DeviceId, ClientError> {
        let Self {
            client,
            device,
            state,
        } = self;
        let approved = state.confirm();
        let token = client.access_token().await?;
        let proof = DeviceProof {
            device_id: device,
            name: device_name,
            signature: Base64Array(*approved.proof()),
        };
        let subject = approved.subject().clone();
        client
            .extend_chain(&token, Some(proof), |engine| {
                engine.certify(subject.clone(), edge::now(), &mut edge::rng())
            })
            .await?;
        let own = client
            .device
            .own_chain(edge::now(), &mut edge::rng())?
            .ok_or(ClientError::ChainRefused)?;
        let approval = approved.approval(&own)?;
        client.tell_new_device(&token, device, approval).await?;
        Ok(device)
    }
}

/// Waits for one message of a linking channel.
async fn read(
    client: &Client,
    token: &Hidden,
    device: DeviceId,
    direction: LinkDirection,
    index: usize,
    deadline: Instant,
) -> Result<Vec<u8>, ClientError> {
    loop {
        let answer = client.rest.link_messages(token, device, direction, index).await;
        let found = match answer {
            Ok(messages) => messages.messages.into_iter().next(),
            // The channel exists once the other side has written to it.
            Err(error) if error.code() == Some(ProblemCode::NotFound) || error.is_transient() => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(Base64(message)) = found {
            return Ok(message);
        }
        if Instant::now() + POLL > deadline {
            return Err(ClientError::TimedOut);
        }
        sleep(POLL).await;
    }
}
