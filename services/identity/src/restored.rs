//! Sessions that a server which was restored from a backup does not know (ADR 0012).
//!
//! A device that logged in after the backup holds a refresh token of this server for a session that the backup does not
//! have. The token's tag proves that the server issued it, its number says when, and the device signs its use: that is
//! what a login proves, but for the password. The session begins again for the device, once.

use std::time::Duration;

use unhidra_audit::{Act, Subject};
use unhidra_store::{StoreError, backup::Restoration, device::Device, session::Session};
use unhidra_types::{SessionId, Timestamp};
use unhidra_wire::rest::{Refresh, Tokens};

use crate::{
    Caller, Identity,
    refresh_token::RefreshToken,
    session::{Beginning, SessionError, begin_in, is_live},
};

/// A session of the last moments before the backup may not be in it either.
const TOLERANCE: Duration = Duration::from_secs(60);

impl Identity {
    /// Begins a session again that a restore lost; `None` when there is no such session to begin.
    ///
    /// # Errors
    /// [`SessionError`].
    ///
    /// # Cancellation safety
    /// Dropped, the session may exist; the same token gets the same successor then.
    pub(crate) async fn begin_lost_session(
        &self,
        caller: &Caller,
        token: &RefreshToken,
        body: &Refresh,
    ) -> Result<Option<Tokens>, SessionError> {
        let (context, id) = (caller.context, token.session);
        let Some(device) = body.device_id else {
            return Ok(None);
        };
        let found = self.store().read(move |snapshot| {
            let restoration = snapshot.last_restoration()?;
            let device = snapshot.device(device)?;
            let known = snapshot.session(id)?.is_some();
            Ok::<_, StoreError>(restoration.zip(device).filter(|_| !known))
        });
        let found = found
            .await?
            .filter(|(restoration, device)| self.may_be_lost(id, restoration, device, context.now))
            .filter(|(_, device)| self.is_signed(device, &token.hash(), &body.signature.0));
        let Some((restoration, device)) = found else {
            return Ok(None);
        };
        let successor = RefreshToken::issue(self.keys(), id, &context);
        let session = Session {
            id,
            device: device.id,
            user: device.user,
            org: device.org,
            created_at: context.now,
            refreshed_at: context.now,
            current_hash: successor.hash(),
            previous_hash: Some(token.hash()),
            current_token: successor.seal(self.keys())?,
            ended_at: None,
            restored_at: None,
        };
        let mut begun = self.record(caller, Act::SessionBegun, Subject::Session(id));
        begun.details.reason = Some("restored");
        let records = Beginning {
            begun,
            replaced: self.record(caller, Act::SessionEnded, Subject::Nothing),
        };
        let beginning = self.store().write(move |tx| {
            // Once: after it, and after a login, the device has a session that began after the restore.
            let began = tx.last_session_began(session.device)?;
            let enabled = tx
                .account(session.user)?
                .is_some_and(|one| one.disabled_at.is_none());
            if !enabled || began.is_some_and(|began| began >= restoration.restored_at) {
                return Err(SessionError::Refused);
            }
            begin_in(tx, session, &records, &context)
        });
        match beginning.await {
            Ok(session) => self.tokens(&session, &successor, caller).map(Some),
            Err(SessionError::Refused) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the session began between the backup and its restore, and its token would not have ended since.
    fn may_be_lost(&self, id: SessionId, restoration: &Restoration, device: &Device, now: Timestamp) -> bool {
        let began = begun_at(id);
        let since = restoration.backup_at.saturating_sub(TOLERANCE);
        (since..=restoration.restored_at).contains(&began)
            && now.since(restoration.restored_at) <= self.0.config.session_idle
            && is_live(device, now)
    }
}

/// The time in a UUIDv7 (RFC 9562, section 5.7): its first 48 bits, milliseconds.
fn begun_at(id: SessionId) -> Timestamp {
    let millis = id.as_bytes().iter().take(6);
    Timestamp::from_millis(millis.fold(0, |millis, byte| (millis << 8) | u64::from(*byte)))
}
