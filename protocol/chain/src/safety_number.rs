//! What two people compare to be sure of each other's identity keys: 60 digits to read out, or 97 bytes to scan.

use core::fmt;

use unhidra_crypto::{ed25519::VerifyingKey, hash::sha512};
use unhidra_types::UserId;

use crate::{
    codec::{Reader, concat},
    label,
    record::RecordError,
};

/// Further SHA-512 rounds per half: what a search for colliding keys pays for each try.
const ROUNDS: usize = 5_200;
/// Groups of five digits in each half.
const GROUPS: usize = 6;
const QR_VERSION: u8 = 1;

/// A user and the identity key that one believes is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    /// The user.
    pub user: UserId,
    /// The user identity key (UIK).
    pub uik: VerifyingKey,
}

/// Sixty digits that are equal on both sides exactly when both believe in the same two keys.
///
/// `Display` writes twelve groups of five, separated by spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SafetyNumber([[u32; GROUPS]; 2]);

/// What a device shows for another to scan: whom it belongs to, and whom it takes the other for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationCode {
    /// The user who shows the code.
    pub own: Person,
    /// The user who scans it.
    pub other: Person,
}

impl SafetyNumber {
    /// The number of two users, whichever is named first.
    #[must_use]
    pub fn of(one: &Person, other: &Person) -> Self {
        let (smaller, larger) = if one.user <= other.user {
            (one, other)
        } else {
            (other, one)
        };
        Self([half(smaller), half(larger)])
    }
}

impl fmt::Display for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.0.iter().flatten().enumerate() {
            let separator = if i == 0 { "" } else { " " };
            write!(f, "{separator}{group:05}")?;
        }
        Ok(())
    }
}

impl VerificationCode {
    /// Bytes of the code.
    pub const BYTES: usize = 97;

    /// `ver(1)=1 | user_id_self | UIK_self | user_id_other | UIK_other`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        concat(&[
            &[QR_VERSION],
            self.own.user.as_bytes(),
            self.own.uik.as_bytes(),
            self.other.user.as_bytes(),
            self.other.uik.as_bytes(),
        ])
    }

    /// Reads a scanned code.
    ///
    /// # Errors
    /// [`RecordError::Unsupported`] for another version, [`RecordError::Malformed`] for another length,
    /// [`RecordError::BadKey`] for an unusable key.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != QR_VERSION {
            return Err(RecordError::Unsupported);
        }
        let code = Self {
            own: Person::read(&mut reader)?,
            other: Person::read(&mut reader)?,
        };
        reader.finish()?;
        Ok(code)
    }

    /// Whether a scanned code confirms what the scanning device itself would show.
    #[must_use]
    pub fn confirms(&self, shown: &Self) -> bool {
        self.own == shown.other && self.other == shown.own
    }
}

impl Person {
    fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            user: UserId::from_bytes(reader.array()?),
            uik: VerifyingKey::from_bytes(&reader.array()?)?,
        })
    }
}

/// `h = SHA-512(L | user_id | UIK)`, then 5 200 times `h = SHA-512(h | user_id | UIK)`; 5-byte integers mod 100 000.
fn half(person: &Person) -> [u32; GROUPS] {
    let (user, uik) = (person.user.as_bytes(), person.uik.as_bytes());
    let mut hash = sha512(&[label!("UNH1/safety"), user, uik]);
    for _ in 0..ROUNDS {
        hash = sha512(&[&hash, user, uik]);
    }
    let mut groups = [0; GROUPS];
    for (group, bytes) in groups.iter_mut().zip(hash.chunks(5)) {
        *group = bytes
            .iter()
            .fold(0, |sum, byte| (sum * 256 + u32::from(*byte)) % 100_000);
    }
    groups
}
