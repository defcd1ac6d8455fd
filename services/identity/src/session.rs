//! Sessions: begun by a device's signature, renewed by refresh tokens that are good once.
//!
//! A device has one session; a new one ends the old one. The refresh token that was used last returns the same
//! successor until that one is used, so an answer that was lost logs nobody out; any token from before ends the session.
//! After a restore the server may not know the last token, or the session: `restored` says what it takes then.

use std::time::Duration;

use unhidra_audit::{Act, Record, Subject};
use unhidra_chain::{Validity, auth};
use unhidra_crypto::{ed25519::VerifyingKey, hash::sha256};
use unhidra_keys::{KeyError, token::Bearer};
use unhidra_runtime::Context;
use unhidra_store::{Event, StoreError, Tx, device::Device, session::Session};
use unhidra_types::{DeviceId, SessionId, Timestamp};
use unhidra_wire::rest::{BeginSession, Hidden, Refresh, Tokens};

use crate::{Caller, Identity, append, refresh_token::RefreshToken};

/// How long a spent enrolment token is remembered: longer than any lives.
const SPENT_FOR: Duration = Duration::from_secs(86_400);

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Token, session, device or signature is not good; which one is not told.
    #[error("session refused")]
    Refused,
    /// The device has proved itself, but an administrator refuses its sessions.
    #[error("device refused by an administrator")]
    DeviceRefused,
    /// The device was revoked. Only who holds its key and a token of its last session learns this.
    #[error("device is revoked")]
    Revoked,
    /// No token could be signed or sealed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a refresh token that this server issued turned out to be.
enum Presented {
    /// In force: it gets a successor.
    Current,
    /// The one before, whose answer may have been lost: it gets the same successor again.
    Previous,
    /// Not known, and the session came back from a backup: it may be a later one, and is taken as the current one, once.
    Later,
    /// Spent long ago: someone has a copy.
    Spent,
}

impl Identity {
    /// Begins the session of a device that proves its key over `token`, the enrolment token of the request.
    ///
    /// # Errors
    /// [`SessionError`].
    ///
    /// # Cancellation safety
    /// Dropped, the session may exist; the device begins another, which ends it.
    pub async fn begin_session(
        &self,
        caller: &Caller,
        device: DeviceId,
        token: &str,
        body: &BeginSession,
    ) -> Result<Tokens, SessionError> {
        let context = caller.context;
        let found = self.store().read(move |snapshot| snapshot.device(device)).await?;
        let found = found.filter(|found| caller.user() == Some(found.user) && is_live(found, context.now));
        let challenge = sha256(&[token.as_bytes()]);
        let proved = found.filter(|found| self.is_signed(found, &challenge, &body.signature.0));
        let Some(proved) = proved else {
            return self
                .refuse_session(caller, Act::SessionRefused, Subject::Device(device))
                .await;
        };

        let id = SessionId::new(context.now, context.random());
        let refresh = RefreshToken::issue(self.keys(), id, &context);
        let session = Session {
            id,
            device,
            user: proved.user,
            org: proved.org,
            created_at: context.now,
            refreshed_at: context.now,
            current_hash: refresh.hash(),
            previous_hash: None,
            current_token: refresh.seal(self.keys())?,
            ended_at: None,
            restored_at: None,
        };
        let records = Beginning {
            begun: self.record(caller, Act::SessionBegun, Subject::Session(id)),
            replaced: self.record(caller, Act::SessionEnded, Subject::Nothing),
        };
        let beginning = self.store().write(move |tx| {
            // A password is typed for one session: whoever gets hold of the token later begins none.
            if !tx.spend_enrolment(&challenge, context.now.saturating_add(SPENT_FOR), context.now)? {
                return Err(SessionError::Refused);
            }
            begin_in(tx, session, &records, &context)
        });
        match beginning.await {
            Err(SessionError::DeviceRefused) => {
                let mut record = self.record(caller, Act::SessionRefused, Subject::Device(device));
                record.details.reason = Some("device refused");
                self.note_refusal(&context, self.key_of_caller(caller), record)
                    .await?;
                Err(SessionError::DeviceRefused)
            }
            Err(SessionError::Refused) => {
                self.refuse_session(caller, Act::SessionRefused, Subject::Device(device))
                    .await
            }
            session => self.tokens(&session?, &refresh, caller),
        }
    }

    /// Renews a session's tokens.
    ///
    /// # Errors
    /// [`SessionError`].
    ///
    /// # Cancellation safety
    /// Dropped, the successor may be in force; the same call returns it again.
    pub async fn refresh(&self, caller: &Caller, body: &Refresh) -> Result<Tokens, SessionError> {
        let context = caller.context;
        let Some(token) = RefreshToken::parse(self.keys(), body.refresh_token.expose()) else {
            return self
                .refuse_session(caller, Act::RefreshRefused, Subject::Nothing)
                .await;
        };
        let subject = Subject::Session(token.session);
        let id = token.session;
        let found = self.store().read(move |snapshot| {
            let session = snapshot.session(id)?;
            let device = match &session {
                Some(session) => snapshot.device(session.device)?,
                None => None,
            };
            let speaks = snapshot.speaker(id)?.is_some();
            Ok::<_, StoreError>((session.zip(device), speaks))
        });
        let (found, speaks) = found.await?;
        let hash = token.hash();
        if let Some((_, device)) = &found
            && device.revoked_at.is_some()
            && self.is_signed(device, &hash, &body.signature.0)
        {
            self.note_session_refusal(caller, Act::RefreshRefused, subject)
                .await?;
            return Err(SessionError::Revoked);
        }
        let found = found.filter(|(session, _)| speaks && self.is_in_time(session, context.now));
        let Some((session, device)) = found else {
            return match self.begin_lost_session(caller, &token, body).await? {
                Some(tokens) => Ok(tokens),
                None => self.refuse_session(caller, Act::RefreshRefused, subject).await,
            };
        };
        if matches!(presented(&session, &hash), Presented::Spent) {
            return self.end_reused(caller, id).await;
        }
        if !is_live(&device, context.now) || !self.is_signed(&device, &hash, &body.signature.0) {
            return self.refuse_session(caller, Act::RefreshRefused, subject).await;
        }

        let successor = RefreshToken::issue(self.keys(), id, &context);
        let sealed = successor.seal(self.keys())?;
        let record = self.record(caller, Act::SessionRefreshed, subject);
        let keys = self.keys().clone();
        let renewal = self.store().write(move |tx| {
            // Looked up again: the same token may have been used at the same moment.
            let session = tx
                .session(id)?
                .filter(|session| session.ended_at.is_none())
                .ok_or(SessionError::Refused)?;
            tx.device_seen(session.device, context.now)?;
            match presented(&session, &hash) {
                Presented::Current | Presented::Later => {
                    tx.renew_session(id, &hash, &successor.hash(), &sealed, context.now)?;
                    append(tx, &context, &record)?;
                    Ok((session, successor))
                }
                Presented::Previous => {
                    let again = RefreshToken::open(&keys, id, &session.current_token)?;
                    Ok((session, again))
                }
                Presented::Spent => Err(SessionError::Refused),
            }
        });
        let (session, successor) = renewal.await?;
        self.tokens(&session, &successor, caller)
    }

    /// Ends a session: logging out, or revoking another one. Ending it twice is no error.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation safety
    /// It happens or not, as a whole.
    pub async fn end_session(&self, caller: &Caller, id: SessionId) -> Result<(), StoreError> {
        let record = self.record(caller, Act::SessionEnded, Subject::Session(id));
        self.end_with_record(caller, id, record).await
    }

    async fn end_reused(&self, caller: &Caller, id: SessionId) -> Result<Tokens, SessionError> {
        let record = self.record(caller, Act::RefreshTokenReused, Subject::Session(id));
        self.end_with_record(caller, id, record).await?;
        Err(SessionError::Refused)
    }

    async fn end_with_record(
        &self,
        caller: &Caller,
        id: SessionId,
        record: Record,
    ) -> Result<(), StoreError> {
        let context = caller.context;
        self.store()
            .write(move |tx| {
                if tx.end_session(id, context.now)? {
                    append(tx, &context, &record)?;
                    tx.emit(Event::SessionEnded(id));
                }
                Ok(())
            })
            .await
    }

    pub(crate) fn tokens(
        &self,
        session: &Session,
        refresh: &RefreshToken,
        caller: &Caller,
    ) -> Result<Tokens, SessionError> {
        let bearer = Bearer::Session {
            device: session.device,
            session: session.id,
        };
        let access = self
            .keys()
            .sign(session.user, session.org, bearer, &caller.context)?;
        Ok(Tokens {
            session_id: session.id,
            access_token: Hidden::new(access),
            expires_in: self.keys().token_lifetime().as_secs(),
            refresh_token: Hidden::new(refresh.expose().to_owned()),
        })
    }

    fn is_in_time(&self, session: &Session, now: Timestamp) -> bool {
        now.since(session.refreshed_at) <= self.0.config.session_idle
            && now.since(session.created_at) <= self.0.config.session_lifetime
    }

    pub(crate) fn is_signed(&self, device: &Device, challenge: &[u8; 32], signature: &[u8; 64]) -> bool {
        let Ok(dsk) = VerifyingKey::from_bytes(&device.certified.dsk) else {
            return false;
        };
        self.0
            .origins
            .iter()
            .any(|origin| auth::verify_challenge(&dsk, origin, challenge, signature).is_ok())
    }

    async fn refuse_session(
        &self,
        caller: &Caller,
        act: Act,
        subject: Subject,
    ) -> Result<Tokens, SessionError> {
        self.note_session_refusal(caller, act, subject).await?;
        Err(SessionError::Refused)
    }

    async fn note_session_refusal(
        &self,
        caller: &Caller,
        act: Act,
        subject: Subject,
    ) -> Result<(), StoreError> {
        let key = match subject {
            Subject::Session(session) => self.key_of_session(session),
            _ => self.key_of_caller(caller),
        };
        let record = self.record(caller, act, subject);
        self.note_refusal(&caller.context, key, record).await
    }
}

/// What is written down when a session begins.
pub(crate) struct Beginning {
    pub(crate) begun: Record,
    /// For each session that it ends, which becomes the subject.
    pub(crate) replaced: Record,
}

/// Begins a session in place of the others of its device.
pub(crate) fn begin_in(
    tx: &mut Tx<'_>,
    session: Session,
    records: &Beginning,
    context: &Context,
) -> Result<Session, SessionError> {
    let device = session.device;
    if tx
        .device(device)?
        .is_none_or(|device| device.revoked_at.is_some())
    {
        return Err(SessionError::Refused);
    }
    if tx.is_refused(device)? {
        return Err(SessionError::DeviceRefused);
    }
    tx.forget_ended_sessions_of(device)?;
    for ended in tx.end_sessions_of(device, context.now)? {
        let mut record = records.replaced.clone();
        record.subject = Subject::Session(ended);
        record.details.reason = Some("replaced");
        append(tx, context, &record)?;
        tx.emit(Event::SessionEnded(ended));
    }
    tx.begin_session(&session)?;
    tx.device_seen(device, context.now)?;
    append(tx, context, &records.begun)?;
    Ok(session)
}

fn presented(session: &Session, hash: &[u8; 32]) -> Presented {
    if session.current_hash == *hash {
        Presented::Current
    } else if session.previous_hash == Some(*hash) {
        Presented::Previous
    } else if session.restored_at.is_some() {
        Presented::Later
    } else {
        Presented::Spent
    }
}

pub(crate) fn is_live(device: &Device, now: Timestamp) -> bool {
    let validity = Validity {
        not_before: device.certified.not_before,
        not_after: device.certified.not_after,
    };
    device.revoked_at.is_none() && validity.at(now).is_live()
}
