//! A set of sessions as bytes.

use alloc::{collections::VecDeque, vec::Vec};

use unhidra_chain::codec::Reader;
use unhidra_types::{DeviceId, Timestamp, UserId, limits::MAX_ARCHIVED_SESSIONS};

use super::{Archived, SessionSet, crossing::Standing};
use crate::{envelope::Address, error::StoredError, session::Session};

/// The stored form.
impl SessionSet {
    const VERSION: u8 = 2;
    /// Without `against` and `standing`: no archived session sends again.
    const BEFORE_STANDBY: u8 = 1;

    /// `ver(1)=2 | peer user(16) device(16) | active(1) | session if active | against(1) | archived(1) | per archived session
    /// since(8) standing(1: 0 retired, 1 on standby) session`. Holds secrets: for a sealed store.
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
        out.push(self.against);
        out.push(u8::try_from(self.archived.len()).unwrap_or(u8::MAX));
        for old in &self.archived {
            out.extend_from_slice(&old.since.as_millis().to_be_bytes());
            out.push(u8::from(old.standing == Standing::Standby));
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
        let version = reader.u8()?;
        if !matches!(version, Self::VERSION | Self::BEFORE_STANDBY) {
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
        let against = match version {
            Self::BEFORE_STANDBY => 0,
            _ => reader.u8()?,
        };
        let mut archived = VecDeque::new();
        for _ in 0..reader.u8()? {
            let since = Timestamp::from_millis(reader.u64()?);
            let standing = match version {
                Self::BEFORE_STANDBY => Standing::Retired,
                _ => match reader.u8()? {
                    0 => Standing::Retired,
                    1 => Standing::Standby,
                    _ => return Err(StoredError::Malformed),
                },
            };
            archived.push_back(Archived {
                since,
                standing,
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
            against,
            archived,
        })
    }
}
