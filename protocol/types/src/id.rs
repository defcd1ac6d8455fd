//! Identifiers: sixteen bytes each, a distinct type each, printed with a prefix.
//!
//! Users, devices, organisations, sessions, invitations and connections are UUIDs (version 7, made at the edge with an
//! injected clock and randomness). Conversations and messages are sixteen opaque bytes.
//! The text form is `<prefix>_<32 lower-case hex digits>`; parsing accepts nothing else.

use alloc::string::String;
use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes of a text form.
const TEXT_BYTES: usize = 36;

/// Why a text is not an identifier of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `{prefix}_` and 32 lower-case hexadecimal digits")]
pub struct ParseIdError {
    /// The prefix that the wanted kind starts with, without the underscore.
    pub prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        // All the room that `write` has for it.
        const _: () = assert!($prefix.len() + 1 + 32 == TEXT_BYTES);

        impl $name {
            /// What the text form starts with, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Takes sixteen bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The sixteen bytes, as they stand on the wire.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = ParseIdError;

            fn try_from(bytes: &[u8]) -> Result<Self, ParseIdError> {
                bytes.try_into().map(Self).map_err(|_| ParseIdError { prefix: $prefix })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(write($prefix, self.0, &mut [0; TEXT_BYTES]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse($prefix, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(write($prefix, self.0, &mut [0; TEXT_BYTES]))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

id!(
    /// A person's or service's account.
    UserId, "usr"
);
id!(
    /// One device of a user: the unit that holds keys, sends and receives.
    DeviceId, "dev"
);
id!(
    /// An organisation (tenant).
    OrgId, "org"
);
id!(
    /// One authenticated session of a device.
    SessionId, "ses"
);
id!(
    /// One invitation to open an account.
    InvitationId, "inv"
);
id!(
    /// One ordered log of envelopes.
    ConversationId, "cnv"
);
id!(
    /// One WebSocket connection of a device.
    ConnectionId, "con"
);
id!(
    /// One message, chosen at random by the sending device.
    MsgId, "msg"
);

impl MsgId {
    /// Sixteen zero bytes: "no message" where the protocol allows none.
    pub const NONE: Self = Self([0; 16]);
}

impl ConversationId {
    /// Sixteen zero bytes: the control log of the receiving device.
    pub const CONTROL: Self = Self([0; 16]);
}

macro_rules! uuid_v7 {
    ($($name:ident),*) => {$(
        impl $name {
            /// Makes an id (UUID version 7) from the time and ten random bytes.
            #[must_use]
            pub fn new(now: crate::Timestamp, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &random).into_uuid().into_bytes())
            }
        }
    )*};
}
uuid_v7!(UserId, DeviceId, OrgId, SessionId, InvitationId, ConnectionId);

/// The text form, in `buffer`: a page of a log has 150 of them, and what formats anything costs more than the digits.
fn write<'b>(prefix: &str, bytes: [u8; 16], buffer: &'b mut [u8; TEXT_BYTES]) -> &'b str {
    let mut digits = [b'_'; 33];
    if let Some(digits) = digits.last_chunk_mut::<32>() {
        uuid::Uuid::from_bytes(bytes).simple().encode_lower(digits);
    }
    let text = prefix.bytes().chain(digits);
    buffer
        .iter_mut()
        .zip(text)
        .for_each(|(place, byte)| *place = byte);
    str::from_utf8(buffer).unwrap_or_default()
}

fn parse(prefix: &'static str, text: &str) -> Result<[u8; 16], ParseIdError> {
    let error = ParseIdError { prefix };
    let digits = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .ok_or(error)?;
    if digits.len() != 32 || digits.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(error);
    }
    uuid::Uuid::try_parse(digits)
        .map(uuid::Uuid::into_bytes)
        .map_err(|_| error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_form_round_trips() {
        let id = UserId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string(), "usr_abababababababababababababababab");
        assert_eq!(id.to_string().parse(), Ok(id));
        let digits = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef].repeat(2);
        let id = MsgId::try_from(digits.as_slice()).unwrap();
        assert_eq!(id.to_string(), "msg_0123456789abcdef0123456789abcdef");
    }

    #[test]
    fn text_of_another_kind_or_spelling_is_refused() {
        for text in [
            "dev_abababababababababababababababab",
            "usr_AB",
            "usr_ABABABABABABABABABABABABABABABAB",
            "",
        ] {
            assert_eq!(
                text.parse::<UserId>(),
                Err(ParseIdError { prefix: "usr" }),
                "{text}"
            );
        }
    }

    #[test]
    fn new_ids_sort_by_time() {
        let early = UserId::new(crate::Timestamp::from_millis(1_000), [0xff; 10]);
        let late = UserId::new(crate::Timestamp::from_millis(2_000), [0; 10]);
        assert!(early < late);
    }
}
