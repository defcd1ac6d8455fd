//! Identifiers: sixteen bytes each, a distinct type each, printed with a prefix.
//!
//! Users, devices, organisations, sessions, invitations and connections are UUIDs (version 7, made at the edge with an
//! injected clock and randomness). Conversations and messages are sixteen opaque bytes.
//! The text form is `<prefix>_<32 lower-case hex digits>`; parsing accepts nothing else.

use alloc::string::String;
use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

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
                write!(f, "{}_{}", $prefix, uuid::Uuid::from_bytes(self.0).simple())
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
                serializer.collect_str(self)
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
