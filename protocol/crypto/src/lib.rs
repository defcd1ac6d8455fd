//! The primitives of the end-to-end protocol as types that are hard to misuse.
//!
//! It holds no protocol: no labels, no state, no choice of suite. Randomness is an argument
//! ([`rand_core::CryptoRng`]), so every result can be replayed in a test.
//!
//! - [`aead`]: ChaCha20-Poly1305 (RFC 8439)          - [`hash`]: SHA-256, SHA-512 (FIPS 180-4)
//! - [`kdf`]: HKDF and HMAC with SHA-256 (RFC 5869)  - [`x25519`]: strict Diffie-Hellman (RFC 7748)
//! - [`ed25519`]: strict signatures (RFC 8032)       - [`kem`]: ML-KEM-768 (FIPS 203)
//!
//! Invariant: a public key, signature or ciphertext that exists as a value has passed every check
//! that its bytes alone allow.
//!
//! Feature `tables` (off by default): 40 KB of constants, with which making keys and signing is faster. Feature `native` (off by
//! default): those, and the AEAD by aws-lc instead of RustCrypto (`docs/adr/0019-the-native-client-seals-with-aws-lc.md`).
//! Feature `instrument` (off by default, needs std): lets tests see what the primitives did (the module `instrument`).
#![no_std]
#![warn(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

extern crate alloc;
#[cfg(any(test, feature = "instrument"))]
extern crate std;

pub mod aead;
pub mod ed25519;
pub mod hash;
#[cfg(feature = "instrument")]
pub mod instrument;
pub mod kdf;
pub mod kem;
pub mod x25519;

pub use rand_core::CryptoRng;
