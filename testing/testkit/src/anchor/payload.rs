//! What every message carries: who sent it, which of theirs it is, and when it was meant to be sent; 200 bytes of ASCII,
//! because XMPP carries text.

use std::time::Duration;

/// Bytes of every message's body.
pub(super) const PAYLOAD_BYTES: usize = 200;
const NUMBER_DIGITS: usize = 16;

/// What a message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) sender: u64,
    /// From zero, without gaps.
    pub(super) counter: u64,
    /// Since the beginning of the course.
    pub(super) intended: Duration,
}

impl Payload {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let nanoseconds = u64::try_from(self.intended.as_nanos()).unwrap_or(u64::MAX);
        for number in [self.sender, self.counter, nanoseconds] {
            for digit in (0..NUMBER_DIGITS).rev() {
                let nibble = number >> (4 * digit) & 0xf;
                out.push(b"0123456789abcdef".get(nibble as usize).copied().unwrap_or(b'0'));
            }
        }
        out.resize(out.len() + PAYLOAD_BYTES - 3 * NUMBER_DIGITS, b'x');
    }

    /// Nothing, if it is none of ours.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes
            .get(..PAYLOAD_BYTES)?
            .chunks_exact(NUMBER_DIGITS)
            .map(number);
        Some(Self {
            sender: numbers.next()??,
            counter: numbers.next()??,
            intended: Duration::from_nanos(numbers.next()??),
        })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let nibble = (*digit as char).to_digit(16)?;
        Some(number << 4 | u64::from(nibble))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_has_the_agreed_length() {
        let payload = Payload {
            sender: 7,
            counter: u64::MAX,
            intended: Duration::from_nanos(1_234_567),
        };
        let mut bytes = Vec::new();
        payload.write(&mut bytes);
        assert_eq!(bytes.len(), PAYLOAD_BYTES);
        assert_eq!(Payload::read(&bytes), Some(payload));
        assert_eq!(Payload::read(b"short"), None);
    }
}
