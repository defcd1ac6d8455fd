//! The code that the new device shows: the one thing that does not pass through the server.

use alloc::{string::String, vec::Vec};
use core::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use unhidra_chain::codec::{Reader, concat};
use unhidra_crypto::x25519;
use unhidra_types::{DeviceId, Secret};
use zeroize::Zeroizing;

use super::LinkError;

const VERSION: u8 = 1;

/// `ver(1)=1 device_id(16) E_N(32) secret(32)`: 81 B for a QR code, or 108 letters to paste.
///
/// It is a secret: whoever has it within its two minutes can make the user compare digits.
pub struct LinkCode {
    pub(super) device: DeviceId,
    pub(super) e_n: x25519::PublicKey,
    pub(super) secret: Secret<32>,
}

impl LinkCode {
    /// Bytes of the code.
    pub const BYTES: usize = 81;
    /// Letters of the text form: base64url (RFC 4648, section 5) without padding, which for 81 bytes has none to omit.
    pub const TEXT_LETTERS: usize = 108;

    /// The device that shows it.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// The bytes, for a QR code.
    #[must_use]
    pub fn to_bytes(&self) -> Secret<{ Self::BYTES }> {
        Secret::new(concat(&[
            &[VERSION],
            self.device.as_bytes(),
            self.e_n.as_bytes(),
            self.secret.expose(),
        ]))
    }

    /// Reads scanned bytes.
    ///
    /// # Errors
    /// [`LinkError::Unsupported`] for another version, [`LinkError::Malformed`] for another length or an unusable key.
    pub fn parse(bytes: &[u8]) -> Result<Self, LinkError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(LinkError::Unsupported);
        }
        let code = Self {
            device: DeviceId::from_bytes(reader.array()?),
            e_n: x25519::PublicKey::from_bytes(&reader.array()?)?,
            secret: Secret::new(reader.array()?),
        };
        reader.finish()?;
        Ok(code)
    }

    /// The text form, for a terminal.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(Self::TEXT_LETTERS));
        URL_SAFE_NO_PAD.encode_string(self.to_bytes().expose(), &mut text);
        text
    }

    /// Reads the text form. White space anywhere is ignored: terminals wrap lines.
    ///
    /// # Errors
    /// [`LinkError::Malformed`] for anything but the text form, otherwise as [`LinkCode::parse`].
    pub fn parse_text(text: &str) -> Result<Self, LinkError> {
        let mut letters = Zeroizing::new(Vec::with_capacity(Self::TEXT_LETTERS));
        letters.extend(
            text.bytes()
                .filter(|byte| !byte.is_ascii_whitespace())
                .take(Self::TEXT_LETTERS + 1),
        );
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        match URL_SAFE_NO_PAD.decode_slice(letters.as_slice(), bytes.as_mut_slice()) {
            Ok(Self::BYTES) => Self::parse(bytes.as_slice()),
            Ok(_) | Err(_) => Err(LinkError::Malformed),
        }
    }
}

impl fmt::Debug for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkCode({}, ..)", self.device)
    }
}
