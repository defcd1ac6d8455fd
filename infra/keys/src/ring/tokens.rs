//! Access tokens of the ring: made, and verified once.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, errors::ErrorKind};
use unhidra_runtime::Context;
use unhidra_types::{OrgId, Timestamp, UserId};

use super::{KeyError, Keys, hex, seconds};
use crate::{
    known::{Fingerprint, Known},
    token::{Bearer, Claims, MAX_TOKEN_BYTES, Scope, TokenError, Verified},
};

impl Keys {
    /// Signs a token for `bearer`.
    ///
    /// # Errors
    /// [`KeyError::Unusable`] when the cryptographic library fails.
    pub fn sign(
        &self,
        user: UserId,
        org: OrgId,
        bearer: Bearer,
        context: &Context,
    ) -> Result<String, KeyError> {
        let now = seconds(context.now);
        let (did, sid, scope) = match bearer {
            Bearer::Enrolling => (None, None, Scope::Enrol),
            Bearer::Session { device, session } => (Some(device), Some(session), Scope::Full),
        };
        let claims = Claims {
            iss: self.0.issuer.clone(),
            sub: user,
            did,
            sid,
            org,
            scope,
            iat: now,
            exp: now.saturating_add(self.0.token_lifetime.as_secs()),
            jti: hex(&context.random::<16>()),
        };
        let ring = self.ring();
        let key = ring.signing.first().ok_or(KeyError::Unusable)?;
        let header = Header {
            kid: Some(key.kid.to_string()),
            ..Header::new(Algorithm::EdDSA)
        };
        let token = jsonwebtoken::encode(&header, &claims, &key.encoding).map_err(|_| KeyError::Unusable)?;
        let known = Known {
            kid: Arc::clone(&key.kid),
            verified: Verified {
                user,
                bearer,
                made_at: claims.iat,
                ends_at: claims.exp,
            },
        };
        self.0.known.remember(Fingerprint::of(&token), known);
        Ok(token)
    }

    /// Whom a token speaks for that this server signed and that has not ended at `now`, with
    /// [`LEEWAY_SECONDS`](crate::token::LEEWAY_SECONDS). Whether its session is live is not known here.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let fingerprint = Fingerprint::of(token);
        let known = self.0.known.find(fingerprint);
        let is_new = known.is_none();
        let known = match known {
            // Its key may have gone since.
            Some(known) if self.ring().verifying(&known.kid, now, self.0.overlap).is_some() => known,
            Some(_) => return Err(TokenError::UnknownKey),
            None => self.check(token, now)?,
        };
        let verified = known.verified;
        if !verified.is_in_time(seconds(now)) {
            return Err(TokenError::OutOfDate);
        }
        if is_new {
            self.0.known.remember(fingerprint, known);
        }
        Ok(verified)
    }

    /// What a token says, if its signature holds, whenever it ends.
    fn check(&self, token: &str, now: Timestamp) -> Result<Known, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some("JWT") || header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let kid = header.kid.ok_or(TokenError::Malformed)?;
        let ring = self.ring();
        let key = ring
            .verifying(&kid, now, self.0.overlap)
            .ok_or(TokenError::UnknownKey)?;
        let claims =
            jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_ed_der(&key.public), &self.validation())
                .map_err(|error| match error.kind() {
                    ErrorKind::InvalidSignature => TokenError::Forged,
                    _ => TokenError::Malformed,
                })?
                .claims;
        Ok(Known {
            kid: Arc::clone(&key.kid),
            verified: claims.try_into()?,
        })
    }

    fn validation(&self) -> Validation {
        let mut validation = Validation::new(Algorithm::EdDSA);
        // Time is an argument here and the library reads the clock, so the dates are checked by hand.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_required_spec_claims(&["iss", "sub", "exp"]);
        validation.set_issuer(&[&self.0.issuer]);
        validation
    }
}
