//! The server's audit log: watched by every device, read by administrators.

use std::time::Duration;

use tokio::time::timeout;
use unhidra_wire::audit::{AuditKey, AuditQuery, AuditRecords, InclusionProof, TreeHead, TreeHeads};

use super::{Client, ClientError, Event};
use crate::{
    edge,
    rest::RestError,
    witness::{self, Contradiction, Evidence, Judgement, Seen},
};

/// How long a look at the log may hold up a connection.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

impl Client {
    /// Asks for the head of the audit tree and compares it with the one seen before. What contradicts it is kept as
    /// evidence, and the head that was seen stays what later ones are compared with.
    ///
    /// # Errors
    /// See [`ClientError`]; a contradiction is none.
    pub async fn watch_audit(&mut self) -> Result<Seen, ClientError> {
        let token = self.access_token().await?;
        let head = self.rest.audit_head(&token).await?;
        let now = edge::now();
        let Some(mut seen) = Seen::load(self.device.store_mut())? else {
            let key = self.rest.audit_key(&token).await?;
            let seen = Seen {
                key,
                head,
                checked_at: now,
            };
            seen.save(self.device.store_mut())?;
            return Ok(seen);
        };
        let contradiction = match seen.judge(&head) {
            Judgement::Fits => None,
            Judgement::Contradicts(contradiction) => Some(contradiction),
            Judgement::NeedsProof => {
                let proof = self
                    .rest
                    .audit_consistency(&token, seen.head.size, head.size)
                    .await?;
                (!seen.continues(&head, &proof)).then_some(Contradiction::Forked)
            }
        };
        match contradiction {
            None => seen.head = head,
            Some(contradiction) => {
                let later_key = self.rest.audit_key(&token).await?;
                let evidence = Evidence {
                    contradiction,
                    noticed_at: now,
                    earlier: seen.head,
                    earlier_key: seen.key,
                    later: head,
                    later_key: (later_key != seen.key).then_some(later_key),
                    accepted_at: None,
                };
                if witness::keep(self.device.store_mut(), &evidence)? {
                    self.events
                        .push_back(Event::AuditContradicted(Box::new(evidence)));
                }
            }
        }
        seen.checked_at = now;
        seen.save(self.device.store_mut())?;
        Ok(seen)
    }

    /// Watches when the last look is long enough ago. A server that gives no answer is looked at another time.
    pub(super) async fn watch_audit_if_due(&mut self) -> Result<(), ClientError> {
        let due = Seen::load(self.device.store_mut())?
            .is_none_or(|seen| edge::now().since(seen.checked_at) >= self.settings.watch_audit);
        if !due {
            return Ok(());
        }
        match timeout(LOOK_TIMEOUT, self.watch_audit()).await {
            Ok(Err(error @ ClientError::Store(_))) => Err(error),
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "the audit log was not looked at");
                Ok(())
            }
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    /// Every contradiction that was noticed, accepted or not.
    ///
    /// # Errors
    /// [`ClientError::Store`].
    pub fn audit_evidence(&mut self) -> Result<Vec<Evidence>, ClientError> {
        Ok(witness::evidence(self.device.store_mut())?)
    }

    /// Takes the log as the server has it now, after a restore that was announced. The evidence stays.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn accept_audit(&mut self) -> Result<Seen, ClientError> {
        let token = self.access_token().await?;
        let (key, head) = (
            self.rest.audit_key(&token).await?,
            self.rest.audit_head(&token).await?,
        );
        let checked_at = edge::now();
        let seen = Seen {
            key,
            head,
            checked_at,
        };
        witness::accept(self.device.store_mut(), checked_at)?;
        seen.save(self.device.store_mut())?;
        Ok(seen)
    }

    /// The key of the log.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn audit_key(&mut self) -> Result<AuditKey, ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.audit_key(&token).await?)
    }

    /// A head over every record so far.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn audit_head(&mut self) -> Result<TreeHead, ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.audit_head(&token).await?)
    }

    /// A page of heads after number `after`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn audit_heads(&mut self, after: u64) -> Result<TreeHeads, ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.audit_heads(&token, after).await?)
    }

    /// A page of records.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn audit_records(&mut self, query: &AuditQuery) -> Result<AuditRecords, ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.audit_records(&token, query).await?)
    }

    /// The proof of a record.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn audit_proof(&mut self, number: u64) -> Result<InclusionProof, ClientError> {
        let token = self.access_token().await?;
        Ok(self.rest.audit_proof(&token, number).await?)
    }

    /// Erases the details of a record.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn erase_audit_payload(&mut self, number: u64) -> Result<(), ClientError> {
        let token = self.access_token().await?;
        let erased: Result<(), RestError> = self.rest.erase_audit_payload(&token, number).await;
        Ok(erased?)
    }
}
