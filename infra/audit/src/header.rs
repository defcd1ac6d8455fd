//! The canonical bytes of a record without its details, 112 bytes, big-endian:
//!
//! ```text
//! label(16)="\x0fUNH1/audit/head" version(1)=1 act(2) at(8) org(16; 0^16 = the server)
//! actor(1) actor user(16) actor device(16) subject(1) subject id(16) request(16) reserved(3)=0
//! ```
//! actor: 0 anonymous, 1 user, 2 device, 3 server. subject: 0 nothing, 1 server, 2 user, 3 device, 4 session,
//! 5 invitation, 6 conversation, 8 audit record (its number in the last 8 bytes). A fixed layout has one encoding; protobuf promises none.

use unhidra_types::{ConversationId, DeviceId, InvitationId, OrgId, SessionId, Timestamp, UserId};
use unhidra_wire::audit::Saying;

use crate::record::{Act, Actor, Record, Subject};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 112;

const LABEL: &[u8; 16] = b"\x0fUNH1/audit/head";
const VERSION: u8 = 1;
const NO_ID: [u8; 16] = [0; 16];

impl Record {
    /// The canonical bytes.
    #[must_use]
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let (actor, user, device) = match self.actor {
            Actor::Anonymous => (0, NO_ID, NO_ID),
            Actor::User(user) => (1, *user.as_bytes(), NO_ID),
            Actor::Device { user, device } => (2, *user.as_bytes(), *device.as_bytes()),
            Actor::Server => (3, NO_ID, NO_ID),
        };
        let (subject, subject_id) = match self.subject {
            Subject::Nothing => (0, NO_ID),
            Subject::Server => (1, NO_ID),
            Subject::User(id) => (2, *id.as_bytes()),
            Subject::Device(id) => (3, *id.as_bytes()),
            Subject::Session(id) => (4, *id.as_bytes()),
            Subject::Invitation(id) => (5, *id.as_bytes()),
            Subject::Conversation(id) => (6, *id.as_bytes()),
            Subject::AuditRecord(number) => (8, u128::from(number).to_be_bytes()),
        };
        let fields: [&[u8]; 12] = [
            LABEL,
            &[VERSION],
            &self.act.number().to_be_bytes(),
            &self.at.as_millis().to_be_bytes(),
            &self.org.map_or(NO_ID, |org| *org.as_bytes()),
            &[actor],
            &user,
            &device,
            &[subject],
            &subject_id,
            &self.request,
            &[0; 3],
        ];
        let mut out = [0; HEADER_BYTES];
        for (to, from) in out.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        out
    }
}

/// The canonical bytes, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number of the act, which a later version may have added.
    pub act: u16,
    /// When.
    pub at: Timestamp,
    /// The organisation; zero for the server.
    pub org: [u8; 16],
    actor: u8,
    user: [u8; 16],
    device: [u8; 16],
    subject: u8,
    subject_id: [u8; 16],
    request: [u8; 16],
}

impl Header {
    /// Takes canonical bytes apart; `None` when they are none of this version.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(LABEL)?.strip_prefix(&[VERSION])?;
        let (act, rest) = rest.split_first_chunk()?;
        let (at, rest) = rest.split_first_chunk()?;
        let (org, rest) = rest.split_first_chunk()?;
        let (&actor, rest) = rest.split_first()?;
        let (user, rest) = rest.split_first_chunk()?;
        let (device, rest) = rest.split_first_chunk()?;
        let (&subject, rest) = rest.split_first()?;
        let (subject_id, rest) = rest.split_first_chunk()?;
        let (request, rest) = rest.split_first_chunk()?;
        (rest == [0; 3]).then_some(Self {
            act: u16::from_be_bytes(*act),
            at: Timestamp::from_millis(u64::from_be_bytes(*at)),
            org: *org,
            actor,
            user: *user,
            device: *device,
            subject,
            subject_id: *subject_id,
            request: *request,
        })
    }

    /// The record whose payload this one says was erased.
    #[must_use]
    pub fn erased(&self) -> Option<u64> {
        let (_, number) = self.subject_id.split_last_chunk()?;
        let erases = self.act == Act::PayloadErased.number() && self.subject == 8;
        erases.then_some(u64::from_be_bytes(*number))
    }

    /// The header in words.
    #[must_use]
    pub fn saying(&self) -> Saying {
        let id = self.subject_id;
        let actor = match self.actor {
            0 => "anonymous".to_owned(),
            1 => "user".to_owned(),
            2 => "device".to_owned(),
            3 => "server".to_owned(),
            other => format!("actor-{other}"),
        };
        let subject = match self.subject {
            0 => "nothing".to_owned(),
            1 => "server".to_owned(),
            2 => UserId::from_bytes(id).to_string(),
            3 => DeviceId::from_bytes(id).to_string(),
            4 => SessionId::from_bytes(id).to_string(),
            5 => InvitationId::from_bytes(id).to_string(),
            6 => ConversationId::from_bytes(id).to_string(),
            8 => format!("record-{}", u128::from_be_bytes(id)),
            other => format!("subject-{other}-{:032x}", u128::from_be_bytes(id)),
        };
        Saying {
            at: self.at,
            act: Act::name_of(self.act),
            org: (self.org != NO_ID).then(|| OrgId::from_bytes(self.org)),
            actor,
            user: (self.user != NO_ID).then(|| UserId::from_bytes(self.user)),
            device: (self.device != NO_ID).then(|| DeviceId::from_bytes(self.device)),
            subject,
            request: (self.request != NO_ID)
                .then(|| format!("req_{:032x}", u128::from_be_bytes(self.request))),
        }
    }
}

#[cfg(test)]
mod tests {
    use unhidra_types::{DeviceId, OrgId, SessionId, Timestamp, UserId};

    use super::*;
    use crate::record::{Act, Details};

    fn sample() -> Record {
        Record {
            at: Timestamp::from_millis(0x0102_0304_0506),
            org: Some(OrgId::from_bytes([0x11; 16])),
            actor: Actor::Device {
                user: UserId::from_bytes([0x22; 16]),
                device: DeviceId::from_bytes([0x33; 16]),
            },
            act: Act::SessionEnded,
            subject: Subject::Session(SessionId::from_bytes([0x44; 16])),
            request: [0x55; 16],
            details: Details::default(),
        }
    }

    #[test]
    fn the_header_has_its_documented_bytes() {
        let hex: String = sample()
            .header()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let expected = [
            "0f554e48312f61756469742f68656164",
            "01",
            "001b",
            "0000010203040506",
            "11111111111111111111111111111111",
            "02",
            "22222222222222222222222222222222",
            "33333333333333333333333333333333",
            "04",
            "44444444444444444444444444444444",
            "55555555555555555555555555555555",
            "000000",
        ];
        assert_eq!(hex, expected.concat());
        assert_eq!(hex.len(), 2 * HEADER_BYTES);
    }

    #[test]
    fn every_field_but_the_details_changes_the_header() {
        let base = sample();
        let changed = [
            Record {
                at: Timestamp::EPOCH,
                ..base.clone()
            },
            Record {
                org: None,
                ..base.clone()
            },
            Record {
                actor: Actor::Server,
                ..base.clone()
            },
            Record {
                act: Act::SessionBegun,
                ..base.clone()
            },
            Record {
                subject: Subject::Nothing,
                ..base.clone()
            },
            Record {
                request: [0; 16],
                ..base.clone()
            },
        ];
        for record in changed {
            assert_ne!(record.header(), base.header(), "{record:?}");
        }
        let details = Details {
            count: Some(7),
            ..Details::default()
        };
        assert_eq!(
            Record {
                details,
                ..base.clone()
            }
            .header(),
            base.header()
        );
    }

    #[test]
    fn act_numbers_are_distinct_and_rise() {
        let numbers: Vec<_> = Act::ALL.iter().map(|act| act.number()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    }

    #[test]
    fn a_header_that_is_read_says_what_was_recorded() {
        let record = sample();
        let header = Header::read(&record.header()).unwrap();
        assert_eq!((header.act, header.at, header.org), (27, record.at, [0x11; 16]));
        let saying = header.saying();
        assert_eq!(
            (saying.act.as_str(), saying.actor.as_str()),
            ("session-ended", "device")
        );
        assert_eq!(saying.user, Some(UserId::from_bytes([0x22; 16])));
        assert_eq!(saying.subject, SessionId::from_bytes([0x44; 16]).to_string());
        let mut bytes = record.header();
        bytes[111] = 1;
        assert_eq!(Header::read(&bytes), None);
        assert_eq!(Header::read(&bytes[..111]), None);
    }

    #[test]
    fn an_erasure_names_the_record_whose_payload_went() {
        let record = Record {
            act: Act::PayloadErased,
            subject: Subject::AuditRecord(0x0102),
            ..sample()
        };
        assert_eq!(Header::read(&record.header()).unwrap().erased(), Some(0x0102));
        let other = Record {
            act: Act::AuditRead,
            ..record
        };
        assert_eq!(Header::read(&other.header()).unwrap().erased(), None);
    }

    #[test]
    fn acts_are_found_by_their_names() {
        for act in Act::ALL.iter().copied() {
            assert_eq!(Act::number_of(&act.name()), Some(act.number()));
        }
        assert_eq!(Act::RefreshTokenReused.name(), "refresh-token-reused");
        assert_eq!(Act::number_of(&Act::name_of(999)), Some(999));
    }
}
