//! Padding: the length of a ciphertext tells a bucket, not a length.
//!
//! `be32 length | x | zeros`, to a multiple of 64 B up to 1 024 B in total; above, Padmé, which adds at most 6.25 %.

use alloc::vec::Vec;

use unhidra_chain::codec::Reader;
use unhidra_types::limits::MAX_FRAME_BYTES;

use crate::error::{OpenError, SealError};

const LENGTH_BYTES: usize = 4;
const SMALL_STEP: usize = 64;
const SMALL_LIMIT: usize = 1_024;

/// Pads the concatenation of the parts.
pub(crate) fn pad(parts: &[&[u8]]) -> Result<Vec<u8>, SealError> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    if length > MAX_FRAME_BYTES {
        return Err(SealError::TooLong);
    }
    let prefix = u32::try_from(length)
        .map_err(|_| SealError::TooLong)?
        .to_be_bytes();
    let total = padded_length(LENGTH_BYTES + length);
    let mut padded = Vec::with_capacity(total);
    padded.extend_from_slice(&prefix);
    for part in parts {
        padded.extend_from_slice(part);
    }
    padded.resize(total, 0);
    Ok(padded)
}

/// What [`pad`] took. The length must be the one that `pad` gives, and the padding zero.
pub(crate) fn unpad(padded: &[u8]) -> Result<&[u8], OpenError> {
    let mut reader = Reader::new(padded);
    let length = usize::try_from(reader.u32()?).map_err(|_| OpenError::Malformed)?;
    let content = reader.take(length)?;
    let zeros = reader.rest();
    if padded_length(LENGTH_BYTES + length) != padded.len() || zeros.iter().any(|byte| *byte != 0) {
        return Err(OpenError::Malformed);
    }
    Ok(content)
}

/// Reads `bytes` as a padded content, which pads to the same again.
#[doc(hidden)]
pub fn fuzz_padding(bytes: &[u8]) {
    if let Ok(content) = unpad(bytes) {
        assert_eq!(pad(&[content]).as_deref(), Ok(bytes));
    }
}

/// The bucket of `total` bytes, the length field included.
fn padded_length(total: usize) -> usize {
    let step = if total <= SMALL_LIMIT {
        SMALL_STEP
    } else {
        let exponent = total.ilog2();
        let kept_bits = exponent.ilog2() + 1;
        1 << (exponent - kept_bits)
    };
    total.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_specification_holds() {
        assert_eq!(padded_length(4 + 40 + 1_030), 1_088);
    }

    #[test]
    fn buckets_are_64_bytes_up_to_1024_and_then_padme() {
        assert_eq!(padded_length(4), 64);
        assert_eq!(padded_length(64), 64);
        assert_eq!(padded_length(65), 128);
        assert_eq!(padded_length(1_024), 1_024);
        assert_eq!(padded_length(1_025), 1_088);
        assert_eq!(padded_length(65_536), 65_536);
        assert_eq!(padded_length(65_537), 67_584);
    }

    #[test]
    fn a_length_beyond_the_bytes_or_another_bucket_is_refused() {
        assert_eq!(unpad(&[]), Err(OpenError::Malformed));
        assert_eq!(unpad(&[0; 63]), Err(OpenError::Malformed));
        assert_eq!(unpad(&[0; 128]), Err(OpenError::Malformed));
        let mut beyond = vec![0; 64];
        beyond[3] = 61;
        assert_eq!(unpad(&beyond), Err(OpenError::Malformed));
        assert_eq!(unpad(&[0xff; 64]), Err(OpenError::Malformed));
    }

    #[test]
    fn the_longest_content_is_as_long_as_a_frame() {
        assert!(pad(&[&[1; MAX_FRAME_BYTES]]).is_ok());
        assert_eq!(pad(&[&[1; MAX_FRAME_BYTES], &[1]]), Err(SealError::TooLong));
    }

    #[test]
    fn a_padding_byte_that_is_not_zero_is_refused() {
        let mut padded = pad(&[b"text"]).unwrap();
        padded[63] = 1;
        assert_eq!(unpad(&padded), Err(OpenError::Malformed));
    }

    proptest! {
        /// Invariant 27.
        #[test]
        fn the_padded_length_depends_only_on_the_bucket_and_wastes_little(length in 0_usize..200_000) {
            let content = vec![0x55; length];
            let padded = pad(&[&content]).unwrap();
            prop_assert_eq!(unpad(&padded), Ok(content.as_slice()));
            let total = length + 4;
            prop_assert!(padded.len() >= total);
            prop_assert_eq!(padded_length(padded.len()), padded.len(), "a bucket is its own bucket");
            if total > 1_024 {
                prop_assert!((padded.len() - total) * 10_000 <= total * 625);
            }
        }
    }
}
