//! A set of sessions as bytes.

use alloc::{collections::VecDeque, vec::Vec};

use unhidra_chain::codec::Reader;
use unhidra_types::{DeviceId, Timestamp, UserId, limits::MAX_ARCHIVED_SESSIONS};

use super::{Archived, SessionSet};
use crate::{envelope::Address, error::StoredError, session::Session};

/// The stored form.
impl SessionSet {
    const VERSION: u8 = 1;

    /// `ver(1)=1 | peer user(16) device(16) | active(1) | session if active | archived(1) | per archived session
    /// since(8) session`. Holds secrets: for a sealed store.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2_048);
        out.push(Self::VERSION);
        out.extend_from_slice(self.peer.user.as_bytes());
        out.extend_from_slice(self.peer.device.as_bytes());
        out.push(u8::from(self.active.is_some()));
        if let Some(session) = &self.active {
            session.write(&mut out);
        }
        out.push(u8::try_from(self.archived.len()).unwrap_or(u8::MAX));
        for old in &self.archived {
            out.extend_from_slice(&old.since.as_millis().to_be_bytes());
            old.session.write(&mut out);
        }
        out
    }

    /// Reads [`SessionSet::to_bytes`].
    ///
    /// # Errors
    /// [`StoredError`] for another version, a bound exceeded, truncated or extended bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoredError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != Self::VERSION {
            return Err(StoredError::UnknownVersion);
        }
        let peer = Address {
            user: UserId::from_bytes(reader.array()?),
            device: DeviceId::from_bytes(reader.array()?),
        };
        let active = match reader.u8()? {
            0 => None,
            1 => Some(Session::read(&mut reader)?),
            _ => return Err(StoredError::Malformed),
        };
        let mut archived = VecDeque::new();
        for _ in 0..reader.u8()? {
            let since = Timestamp::from_millis(reader.u64()?);
            archived.push_back(Archived {
                since,
                session: Session::read(&mut reader)?,
            });
        }
        reader.finish()?;
        if archived.len() > MAX_ARCHIVED_SESSIONS {
            return Err(StoredError::Malformed);
        }
        Ok(Self {
            peer,
            active,
            archived,
        })
    }
}
