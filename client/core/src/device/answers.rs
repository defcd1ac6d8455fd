//! Answers of the REST interface to what the device needs.

use unhidra_chain::direct::direct_conversation;
use unhidra_crypto::CryptoRng;
use unhidra_types::{DeviceId, Timestamp, UserId};
use unhidra_wire::rest;

use super::Device;
use crate::{
    effects::Effects,
    store::{Store, StoreError},
};

impl<S: Store> Device<S> {
    /// Answers [`Need::Chain`](crate::Need::Chain) with `GET /v1/users/{user}/chain?from=from`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn learn_chain(
        &mut self,
        user: UserId,
        from: u32,
        answer: &rest::ChainRecords,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Effects, StoreError> {
        let effects = self.effects(now, rng, |step, inboxes| {
            let is_news = step.learn(user, from, answer)?;
            inboxes.resume(step, user)?;
            if is_news {
                step.reopen(user)?;
            }
            inboxes.acknowledge(step);
            inboxes.tell_caught_up(step)?;
            if is_news { step.advance() } else { Ok(()) }
        })?;
        if user == self.me.user {
            self.keep_custody()?;
        }
        Ok(effects)
    }

    /// Answers [`Need::Bundles`](crate::Need::Bundles) with `POST /v1/users/{user}/bundles`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn bundles_taken(
        &mut self,
        user: UserId,
        devices: &[DeviceId],
        answer: &rest::Bundles,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Effects, StoreError> {
        self.effects(now, rng, |step, _| {
            step.begin_sessions(user, devices, answer)?;
            step.advance()
        })
    }

    /// Answers [`Need::Conversation`](crate::Need::Conversation) with `POST /v1/conversations`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn conversation_opened(
        &mut self,
        peer: UserId,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Effects, StoreError> {
        let conversation = direct_conversation(self.me.user, peer);
        self.effects(now, rng, |step, _| {
            step.conversation_with(conversation, peer)?.on_server = true;
            step.advance()
        })
    }

    /// Answers [`Need::Stock`](crate::Need::Stock) with `GET /v1/devices/{device}/prekeys`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn stock_listed(
        &mut self,
        stock: &rest::Stock,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Effects, StoreError> {
        self.effects(now, rng, |step, _| step.stock(stock))
    }

    /// What [`Need::UploadPrekeys`](crate::Need::UploadPrekeys) is about; `None` when it was uploaded already, or the device is not certified.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn pending_upload(
        &mut self,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<rest::UploadPrekeys>, StoreError> {
        self.step(now, rng, |step, _| {
            let Some(local) = step.local()? else {
                return Ok(None);
            };
            let upload = crate::prekeys::Upload::load_pending(step.tx)?;
            Ok(upload.map(|upload| upload.to_rest(local.cert_hash)))
        })
        .map(|(upload, _nothing)| upload)
    }

    /// The server took the pending upload: its answer to `PUT /v1/devices/{device}/prekeys`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn prekeys_uploaded(
        &mut self,
        stock: &rest::Stock,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Effects, StoreError> {
        self.effects(now, rng, |step, _| step.uploaded(stock.generation))
    }

    /// What [`Need::ReportFailures`](crate::Need::ReportFailures) is about, for `PUT /v1/devices/{device}/failures`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn opening_failures(
        &mut self,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<rest::OpeningFailures, StoreError> {
        self.step(now, rng, |step, _| step.opening_failures())
            .map(|(failures, _nothing)| failures)
    }

    /// The server has taken `report`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn failures_reported(
        &mut self,
        report: &rest::OpeningFailures,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Effects, StoreError> {
        self.effects(now, rng, |step, _| {
            step.failures_reported(report);
            Ok(())
        })
    }
}
