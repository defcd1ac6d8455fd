//! Options that say how clients reach a server.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use unhidra_http::client_address::Network;

/// How clients reach the server.
#[derive(Args, Clone, Default)]
pub(crate) struct Transport {
    /// Who vouches for this server [default: off, or files when --tls-certificate is given]
    #[arg(long, value_enum, value_name = "MODE")]
    tls: Option<TlsMode>,
    /// Certificate with its chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key, PEM, mode 0600
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// A name or address that the local CA's certificate is for; may be repeated
    #[arg(long = "tls-name", value_name = "NAME")]
    tls_names: Vec<String>,
    /// A reverse proxy stands before the server and speaks TLS for it
    #[arg(long)]
    behind_proxy: bool,
    /// A network from which that proxy connects; may be repeated [default: this machine]
    #[arg(long = "trusted-proxy", value_name = "NETWORK", requires = "behind_proxy")]
    trusted_proxies: Vec<String>,
    /// The server's address as people type it, such as `https://chat.example.org`
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TlsMode {
    /// No TLS: loopback only, or behind a proxy.
    Off,
    /// A certificate of your own.
    Files,
    /// An authority that this server makes for itself.
    LocalCa,
}

impl Transport {
    /// The keys of the configuration that the options set.
    pub(crate) fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut settings = Vec::new();
        let mut set = |key: &str, value: String| settings.push((key.to_owned(), value));
        let mode = match (self.tls, &self.tls_certificate) {
            (Some(TlsMode::Off), _) => Some("off"),
            (Some(TlsMode::LocalCa), _) => Some("local-ca"),
            (Some(TlsMode::Files), _) | (None, Some(_)) => Some("files"),
            (None, None) => None,
        };
        if let Some(mode) = mode {
            set("tls.mode", mode.to_owned());
        }
        for (key, file) in [
            ("tls.certificate", &self.tls_certificate),
            ("tls.key", &self.tls_key),
        ] {
            if let Some(file) = file {
                let file = file.to_str().context("paths of TLS files have to be UTF-8")?;
                set(key, file.to_owned());
            }
        }
        if !self.tls_names.is_empty() {
            set("tls.names", list(&self.tls_names));
        }
        if self.behind_proxy {
            set("server.behind_proxy", "true".to_owned());
        }
        if !self.trusted_proxies.is_empty() {
            for network in &self.trusted_proxies {
                let parsed: Result<Network, _> = network.parse();
                parsed.with_context(|| format!("--trusted-proxy {network}"))?;
            }
            set("server.trusted_proxies", list(&self.trusted_proxies));
        }
        if let Some(url) = &self.public_url {
            set("identity.issuer", url.clone());
        }
        Ok(settings)
    }
}

/// A list as TOML writes it.
fn list(items: &[String]) -> String {
    let items: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(", "))
}
