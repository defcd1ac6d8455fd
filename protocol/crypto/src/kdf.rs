//! HKDF and HMAC with SHA-256 (RFC 5869, RFC 2104).

use hkdf::{Hkdf, HkdfExtract};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use unhidra_types::Secret;
use zeroize::Zeroize as _;

/// The longest output of one HKDF call.
const MAX_OUTPUT: usize = 255 * 32;

/// HKDF: extract from the concatenated `ikm` under `salt`, expand to `N` bytes under the concatenated `info`.
#[must_use]
pub fn hkdf<const N: usize>(salt: &[u8; 32], ikm: &[&[u8]], info: &[&[u8]]) -> Secret<N> {
    const { assert!(N <= MAX_OUTPUT, "RFC 5869 allows at most 255 blocks") }
    let mut extract = HkdfExtract::<Sha256>::new(Some(salt));
    for part in ikm {
        extract.input_ikm(part);
    }
    let (mut prk, expander): (_, Hkdf<Sha256>) = extract.finalize();
    prk.zeroize();
    let mut okm = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "the constant assertion above bounds N, the only failure of expand"
    )]
    expander
        .expand_multi_info(info, &mut okm)
        .expect("N is within the bound of RFC 5869");
    let out = Secret::new(okm);
    okm.zeroize();
    out
}

/// HMAC-SHA-256 of `data` under `key`.
#[must_use]
pub fn hmac(key: &Secret<32>, data: &[u8]) -> Secret<32> {
    #[cfg(feature = "instrument")]
    crate::instrument::hmac();
    #[expect(clippy::expect_used, reason = "RFC 2104 takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes any key");
    mac.update(data);
    Secret::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869, appendix A.3 takes no salt, which equals 32 zero bytes for SHA-256.
    #[test]
    fn hkdf_matches_rfc_5869_case_3() {
        let okm = hkdf::<42>(&[0; 32], &[&[0x0b; 10], &[0x0b; 12]], &[]);
        assert_eq!(
            okm.expose(),
            b"\x8d\xa4\xe7\x75\xa5\x63\xc1\x8f\x71\x5f\x80\x2a\x06\x3c\x5a\x31\xb8\xa1\x1f\x5c\x5e\xe1\x87\x9e\xc3\x45\x4e\x5f\x3c\x73\x8d\x2d\x9d\x20\x13\x95\xfa\xa4\xb6\x1a\x96\xc8"
        );
    }
}
