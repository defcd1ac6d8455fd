//! Codes that one device shows and another scans.

use unhidra_chain::safety_number::VerificationCode;
use unhidra_types::UserId;

use super::{Client, ClientError};

/// What a scanned code says about the keys that this device holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scan {
    /// Both devices hold the same two keys.
    Matches,
    /// It is about two other people.
    OtherPeople,
    /// It is about the same two people, with other keys.
    OtherKeys,
    /// It is no code, or one of a later version.
    NoCode,
}

impl Client {
    /// The code to show to `peer`.
    ///
    /// # Errors
    /// [`ClientError::NoDevice`] when the user has no identity yet.
    pub fn verification_code(&mut self, peer: UserId) -> Result<VerificationCode, ClientError> {
        self.device
            .verification_code(peer)?
            .ok_or(ClientError::NoDevice(peer))
    }

    /// Compares a code that was scanned on a device of `peer` with what this device would show.
    ///
    /// # Errors
    /// [`ClientError::NoDevice`] when the user has no identity yet.
    pub fn compare_scan(&mut self, peer: UserId, scanned: &[u8]) -> Result<Scan, ClientError> {
        let shown = self.verification_code(peer)?;
        let Ok(scanned) = VerificationCode::parse(scanned) else {
            return Ok(Scan::NoCode);
        };
        Ok(if scanned.confirms(&shown) {
            Scan::Matches
        } else if scanned.own.user == shown.other.user && scanned.other.user == shown.own.user {
            Scan::OtherKeys
        } else {
            Scan::OtherPeople
        })
    }
}
