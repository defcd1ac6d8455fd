//! The canonical bytes of a record without its details, 112 bytes, big-endian:
//!
//! ```text
//! label(16)="\x0fUNH1/audit/head" version(1)=1 act(2) at(8) org(16; 0^16 = the server)
//! actor(1) actor user(16) actor device(16) subject(1) subject id(16) request(16) reserved(3)=0
//! ```
//! actor: 0 anonymous, 1 user, 2 device, 3 server. subject: 0 nothing, 1 server, 2 user, 3 device, 4 session,
//! 5 invitation, 6 conversation. A fixed layout has one encoding; protobuf promises none.

use crate::record::{Actor, Record, Subject};

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
}
