//! The audit log as it is watched and read: signed tree heads, proofs, records.
//!
//! A head is signed when someone asks for one, at least every hour and every 1 000 records, and when the server stops.
//! Whoever has seen one can tell when records that it covers are changed, or when the server goes back behind it.

use std::{convert::Infallible, sync::PoisonError, time::Duration};

use tokio::time::MissedTickBehavior;
use unhidra_audit::{Act, Subject};
use unhidra_policy::Principal;
use unhidra_runtime::{Clock, Context, Stop};
use unhidra_store::{
    StoreError,
    audit::{AuditFilter, AuditRecord},
};
use unhidra_tree::{Hash, Head, SignedHead};
use unhidra_types::{ConversationId, DeviceId, InvitationId, Role, SessionId, Timestamp, UserId};
use unhidra_wire::{
    audit::{
        self, AuditKey, AuditQuery, AuditRecords, ConsistencyProof, InclusionProof, TreeHead, TreeHeads,
    },
    base64::{Base64, Base64Array},
};

use crate::{Caller, Identity, append};

/// How often it is looked whether a head is due.
const PERIOD: Duration = Duration::from_secs(1);
/// Records without a head.
const MAX_UNSIGNED: u64 = 1_000;
/// Age at which a head is replaced when there are new records.
const MAX_AGE: Duration = Duration::from_secs(3_600);
/// How old a head may be that members get: they are many, and each new head is a row.
const FRESH: Duration = Duration::from_secs(10);
/// Records or heads on one page.
const MAX_PAGE: u32 = 500;

/// Why the log was not read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A name, id or size does not have its form, or the sizes are of no trees.
    #[error("the query names no act, id or tree")]
    Malformed,
    /// There is no such record or signed head, or the payload is gone.
    #[error("no such record, payload or head")]
    NotFound,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Identity {
    /// Signs heads as they become due, until asked to stop; a failure is logged and due again.
    ///
    /// # Errors
    /// None.
    ///
    /// # Cancellation safety
    /// A head is kept or not.
    pub async fn keep_signing(self, clock: Clock, stop: Stop) -> Result<(), Infallible> {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.race(ticks.tick()).await.is_some() {
            if let Err(error) = self.sign_if_due(&clock.context()).await {
                tracing::error!("a head of the audit tree could not be signed: {error}");
            }
        }
        Ok(())
    }

    /// Signs a head when the last one is too old or too many records came after it.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation safety
    /// A head is kept or not.
    pub async fn sign_if_due(&self, context: &Context) -> Result<(), StoreError> {
        let now = context.now;
        let due = self.store().read(move |db| {
            let (size, last) = (db.audit_size()?, db.latest_audit_head()?);
            let unsigned = size - last.map_or(0, |last| last.head.size).min(size);
            let age = now.since(last.map_or(Timestamp::EPOCH, |last| last.head.at));
            Ok::<_, StoreError>(unsigned >= MAX_UNSIGNED || (unsigned > 0 && age >= MAX_AGE))
        });
        if due.await? {
            self.sign_head(context).await?;
        }
        Ok(())
    }

    /// The head over every record so far: the last one, when nothing was added since.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation safety
    /// A head is kept or not.
    pub async fn sign_head(&self, context: &Context) -> Result<TreeHead, StoreError> {
        let (keys, at) = (self.keys().clone(), context.now);
        let signed = self.store().write(move |tx| {
            let (size, log) = (tx.audit_size()?, keys.audit_log());
            let last = tx.latest_audit_head()?;
            if let Some(last) = last.filter(|last| last.head.size == size && last.head.log == log) {
                return Ok::<_, StoreError>(last);
            }
            let root = tx.audit_root(size)?;
            let head = Head { log, size, at, root };
            let signature = keys.sign_tree_head(&head.signed_bytes());
            let signed = SignedHead { head, signature };
            tx.append_audit_head(&signed)?;
            Ok(signed)
        });
        let head = TreeHead::from(signed.await?);
        let mut cached = self.0.tree_head.lock().unwrap_or_else(PoisonError::into_inner);
        *cached = Some((at, head));
        Ok(head)
    }

    /// A head for `caller`: over every record for administrators, a few seconds old for everyone else.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation safety
    /// A head is kept or not.
    pub async fn tree_head(&self, caller: &Caller) -> Result<TreeHead, StoreError> {
        let administers = matches!(
            caller.principal,
            Principal::Device {
                role: Role::SuperAdmin,
                ..
            }
        );
        let now = caller.context.now;
        let cached = *self.0.tree_head.lock().unwrap_or_else(PoisonError::into_inner);
        match cached.filter(|(at, _)| !administers && *at <= now && now.since(*at) < FRESH) {
            Some((_, head)) => Ok(head),
            None => self.sign_head(&caller.context).await,
        }
    }

    /// What heads are verified with.
    #[must_use]
    pub fn audit_key(&self) -> AuditKey {
        AuditKey {
            key: Base64Array(self.keys().audit_key()),
            log_id: Base64Array(self.keys().audit_log()),
        }
    }

    /// A page of the heads that were signed, after head number `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tree_heads(&self, after: u64, limit: Option<u32>) -> Result<TreeHeads, StoreError> {
        let limit = page(limit);
        let found = self.store().read(move |db| db.audit_heads(after, limit)).await?;
        let is_full = u32::try_from(found.len()).is_ok_and(|count| count >= limit);
        Ok(TreeHeads {
            next: found.last().filter(|_| is_full).map(|(number, _)| *number),
            heads: found.into_iter().map(|(_, head)| head.into()).collect(),
        })
    }

    /// A page of records that fit the query. Reading from the beginning is recorded.
    ///
    /// # Errors
    /// [`AuditError`].
    ///
    /// # Cancellation safety
    /// That it was read may be recorded though nobody gets the page.
    pub async fn audit_records(
        &self,
        caller: &Caller,
        query: AuditQuery,
    ) -> Result<AuditRecords, AuditError> {
        let filter = filter(&query)?;
        let (after, limit) = (query.after, page(query.limit));
        if after == 0 {
            let mut record = self.record(caller, Act::AuditRead, Subject::Server);
            record.details.action = Some("read-audit");
            let context = caller.context;
            self.store()
                .write(move |tx| append(tx, &context, &record))
                .await?;
        }
        let found = self
            .store()
            .read(move |db| db.search_audit(&filter, after, limit))
            .await?;
        Ok(AuditRecords {
            records: found.records.into_iter().map(shown).collect(),
            next: found.next,
        })
    }

    /// That record `number` is in a signed tree: that of `size`, or the one over every record so far.
    ///
    /// # Errors
    /// [`AuditError`].
    ///
    /// # Cancellation safety
    /// A head is kept or not.
    pub async fn inclusion_proof(
        &self,
        caller: &Caller,
        number: u64,
        size: Option<u64>,
    ) -> Result<InclusionProof, AuditError> {
        let head = match size {
            None => self.sign_head(&caller.context).await?,
            Some(size) => {
                let found = self.store().read(move |db| db.audit_head_of(size)).await?;
                found.ok_or(AuditError::NotFound)?.into()
            }
        };
        if number > head.size {
            return Err(AuditError::NotFound);
        }
        let found = self.store().read(move |db| {
            let Some(record) = db.audit_record(number)? else {
                return Ok(None);
            };
            Ok::<_, StoreError>(Some((record, db.audit_inclusion(number, head.size)?)))
        });
        let (record, path) = found.await?.ok_or(AuditError::NotFound)?;
        Ok(InclusionProof {
            head,
            record: shown(record),
            path: hashes(path),
        })
    }

    /// That the tree over `to` records begins with the one over `from`.
    ///
    /// # Errors
    /// [`AuditError::Malformed`] unless `from <= to` and there are so many.
    pub async fn consistency_proof(&self, from: u64, to: u64) -> Result<ConsistencyProof, AuditError> {
        let path = self.store().read(move |db| {
            if from > to || to > db.audit_size()? {
                return Err(AuditError::Malformed);
            }
            Ok(db.audit_consistency(from, to)?)
        });
        Ok(ConsistencyProof {
            from,
            to,
            path: hashes(path.await?),
        })
    }

    /// Erases the details of a record; the record itself stays, and another one says who did it.
    ///
    /// # Errors
    /// [`AuditError::NotFound`] when they are gone already.
    ///
    /// # Cancellation safety
    /// Both happen or neither.
    pub async fn erase_payload(&self, caller: &Caller, number: u64) -> Result<(), AuditError> {
        let record = self.record(caller, Act::PayloadErased, Subject::AuditRecord(number));
        let context = caller.context;
        self.store()
            .write(move |tx| {
                if !tx.erase_audit_payload(number)? {
                    return Err(AuditError::NotFound);
                }
                Ok(append(tx, &context, &record)?)
            })
            .await
    }
}

fn page(limit: Option<u32>) -> u32 {
    limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE)
}

fn hashes(path: Vec<Hash>) -> Vec<Base64Array<32>> {
    path.into_iter().map(Base64Array).collect()
}

fn filter(query: &AuditQuery) -> Result<AuditFilter, AuditError> {
    let act = query.act.as_deref().map(Act::number_of);
    let actor = query.actor.as_deref().map(|text| {
        let user = text.parse::<UserId>().map(|id| *id.as_bytes());
        user.or_else(|_| text.parse::<DeviceId>().map(|id| *id.as_bytes()))
            .ok()
    });
    let subject = query.subject.as_deref().map(subject);
    let known = |found: Option<Option<[u8; 16]>>| match found {
        Some(None) => Err(AuditError::Malformed),
        found => Ok(found.flatten()),
    };
    Ok(AuditFilter {
        act: match act {
            Some(None) => return Err(AuditError::Malformed),
            act => act.flatten(),
        },
        actor: known(actor)?,
        subject: known(subject)?,
        from: query.since,
        until: query.until,
        text: query.text.clone(),
    })
}

/// The bytes that a header has for a subject.
fn subject(text: &str) -> Option<[u8; 16]> {
    if let Some(number) = text.strip_prefix("record-") {
        return Some(u128::from(number.parse::<u64>().ok()?).to_be_bytes());
    }
    let user = text.parse::<UserId>().map(|id| *id.as_bytes());
    user.or_else(|_| text.parse::<DeviceId>().map(|id| *id.as_bytes()))
        .or_else(|_| text.parse::<SessionId>().map(|id| *id.as_bytes()))
        .or_else(|_| text.parse::<InvitationId>().map(|id| *id.as_bytes()))
        .or_else(|_| text.parse::<ConversationId>().map(|id| *id.as_bytes()))
        .ok()
}

fn shown(record: AuditRecord) -> audit::AuditRecord {
    let says = record.read_header().map(|header| header.saying());
    // What was changed to something that is no text fits no commitment in any form.
    let text = |payload: Vec<u8>| String::from_utf8_lossy(&payload).into_owned();
    audit::AuditRecord {
        number: record.number,
        says,
        header: Base64(record.header),
        commitment: Base64(record.commitment),
        salt: record.salt.map(Base64),
        payload: record.payload.map(text),
        tree: Base64(record.hashes),
    }
}
