//! An invitation as one text: where the server is, the token, and who vouches for the server.
//!
//! `unhidra://HOST[:PORT]/#TOKEN[.FINGERPRINT]`, the fingerprint of the server's local CA in base64url. Everything
//! secret stands in the fragment, which no program sends anywhere, and the scheme is no browser's.

use std::{fmt, str::FromStr};

use unhidra_types::Fingerprint;
use unhidra_wire::{
    base64::{decode, encode},
    rest::Hidden,
};

use crate::server_url::{Scheme, ServerUrl};

const SCHEME: &str = "unhidra://";

/// An invitation with everything that a new user needs.
pub struct InvitationLink {
    /// The server; it speaks TLS.
    pub server: ServerUrl,
    /// Good for one account.
    pub token: Hidden,
    /// The server's local CA; without one the usual authorities vouch for it.
    pub authority: Option<Fingerprint>,
}

/// Why a text is not an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the invitation is damaged: copy all of unhidra://HOST:PORT/#...")]
pub struct InvitationLinkError;

impl InvitationLink {
    /// Whether a text is meant to be a link, and not the token alone.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The link, token included; `None` for a server without TLS, whose address alone is no safe way to it.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        if self.server.scheme() != Scheme::Https {
            return None;
        }
        let host = self.server.origin().strip_prefix("https://")?;
        let authority = self.authority.map_or_else(String::new, |authority| {
            format!(".{}", encode(authority.as_bytes()))
        });
        Some(format!("{SCHEME}{host}/#{}{authority}", self.token.expose()))
    }
}

impl FromStr for InvitationLink {
    type Err = InvitationLinkError;

    fn from_str(text: &str) -> Result<Self, InvitationLinkError> {
        let (host, fragment) = text
            .trim()
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_once('#'))
            .ok_or(InvitationLinkError)?;
        let server = format!("https://{host}");
        let server = server.parse().map_err(|_not_a_server| InvitationLinkError)?;
        let (token, authority) = match fragment.split_once('.') {
            Some((token, authority)) => {
                let bytes = decode(authority).and_then(|bytes| bytes.try_into().ok());
                (
                    token,
                    Some(Fingerprint::from_bytes(bytes.ok_or(InvitationLinkError)?)),
                )
            }
            None => (fragment, None),
        };
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if token.is_empty() || !token.bytes().all(is_token) {
            return Err(InvitationLinkError);
        }
        Ok(Self {
            server,
            token: Hidden::new(token.to_owned()),
            authority,
        })
    }
}

impl fmt::Debug for InvitationLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvitationLink")
            .field("server", &self.server)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_what_it_was_made_of() {
        for authority in [None, Some(Fingerprint::from_bytes([0xfb; 32]))] {
            for server in [
                "https://chat.example.org",
                "https://192.0.2.1:9000",
                "https://[::1]:9000",
            ] {
                let link = InvitationLink {
                    server: server.parse().unwrap(),
                    token: Hidden::new("-to_ken9".into()),
                    authority,
                };
                let text = link.to_text().unwrap();
                assert!(
                    text.starts_with("unhidra://") && InvitationLink::is_one(&text),
                    "{text}"
                );
                let read: InvitationLink = text.parse().unwrap();
                assert_eq!((&read.server, read.authority), (&link.server, authority));
                assert_eq!(read.token.expose(), "-to_ken9");
            }
        }
    }

    #[test]
    fn a_server_without_tls_has_no_link() {
        let link = InvitationLink {
            server: "http://127.0.0.1:9000".parse().unwrap(),
            token: Hidden::new("token".into()),
            authority: None,
        };
        assert_eq!(link.to_text(), None);
    }

    #[test]
    fn a_damaged_link_is_refused() {
        let good = format!("unhidra://host:9000/#token.{}", encode(&[1; 32]));
        good.parse::<InvitationLink>().unwrap();
        let cut = good[..good.len() - 1].to_owned();
        let other = format!("{good}.more");
        for text in [
            "token",
            "https://host/#token",
            "unhidra://host/",
            "unhidra://host/#",
            "unhidra://#token",
            "unhidra://host/path#token",
            "unhidra://user@host/#token",
            "unhidra://host/?q#token",
            "unhidra://host/#to ken",
            cut.as_str(),
            other.as_str(),
        ] {
            assert!(text.parse::<InvitationLink>().is_err(), "{text}");
        }
    }
}
