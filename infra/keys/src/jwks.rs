//! The JSON Web Key Set (RFC 7517, RFC 8037) that others verify access tokens with.

use serde::Serialize;

/// The public signing keys, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// One public Ed25519 key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    kty: &'static str,
    crv: &'static str,
    /// The public key, base64url.
    pub x: String,
    /// The key's thumbprint (RFC 7638).
    pub kid: String,
    #[serde(rename = "use")]
    purpose: &'static str,
    alg: &'static str,
}

impl Jwk {
    pub(crate) const fn ed25519(kid: String, x: String) -> Self {
        Self {
            kty: "OKP",
            crv: "Ed25519",
            x,
            kid,
            purpose: "sig",
            alg: "EdDSA",
        }
    }
}
