//! Where the server is: scheme, host and port, nothing else.

use std::{fmt, net::IpAddr, str::FromStr};

use reqwest::Url;

/// The address of a server, such as `http://127.0.0.1:9000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    base: Url,
    origin: String,
}

/// What is spoken with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// Why a text is not the address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected https://HOST:PORT or http://HOST:PORT without a path")]
pub struct ServerUrlError;

impl ServerUrl {
    /// Scheme, host and port as login signatures name them (RFC 6454): without a default port or a trailing slash.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What is spoken with it.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self.base.scheme() {
            "https" => Scheme::Https,
            _ => Scheme::Http,
        }
    }

    /// Whether it is on this machine, by its name: nobody is on the way there.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default();
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// Where `/v1/ws` is.
    #[must_use]
    pub fn websocket(&self) -> String {
        // "http" becomes "ws", and "https" "wss".
        self.origin.replacen("http", "ws", 1) + "/v1/ws"
    }

    pub(crate) fn route(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }
}

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, ServerUrlError> {
        let base = Url::parse(text).map_err(|_not_a_url| ServerUrlError)?;
        let bare = base.path() == "/"
            && base.query().is_none()
            && base.fragment().is_none()
            && base.username().is_empty()
            && base.password().is_none();
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() || !bare {
            return Err(ServerUrlError);
        }
        let origin = base.origin().ascii_serialization();
        Ok(Self { base, origin })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_has_one_spelling() {
        for (text, origin) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://Example.ORG:80/", "http://example.org"),
            ("http://[::1]:9000/", "http://[::1]:9000"),
            ("https://Example.org:443", "https://example.org"),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!(url.origin(), origin);
        }
        let url: ServerUrl = "http://localhost:9000".parse().unwrap();
        assert_eq!(url.websocket(), "ws://localhost:9000/v1/ws");
        let url: ServerUrl = "https://localhost".parse().unwrap();
        assert_eq!(
            (url.scheme(), url.websocket().as_str()),
            (Scheme::Https, "wss://localhost/v1/ws")
        );
    }

    #[test]
    fn only_loopback_is_local() {
        let is_local = |text: &str| text.parse::<ServerUrl>().unwrap().is_local();
        for text in [
            "http://127.0.0.1:9000",
            "http://127.8.8.8",
            "http://[::1]:9000",
            "http://localhost",
        ] {
            assert!(is_local(text), "{text}");
        }
        for text in [
            "http://192.0.2.1",
            "http://localhost.example",
            "http://[2001:db8::1]",
            "http://127.example",
        ] {
            assert!(!is_local(text), "{text}");
        }
    }

    #[test]
    fn paths_credentials_and_other_schemes_are_refused() {
        for text in [
            "127.0.0.1:9000",
            "ftp://host",
            "http://host/v1",
            "http://user@host",
            "http://host?x",
            "",
        ] {
            assert_eq!(text.parse::<ServerUrl>(), Err(ServerUrlError), "{text}");
        }
    }
}
