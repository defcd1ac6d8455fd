//! Where a server listens, and whether by TLS.

use std::{
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
pub use rustls::version;
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

/// How long the server may let a handshake wait.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Where a server listens, and whether by TLS. An address alone is one without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: SocketAddr,
    /// The file of the authority that vouches for it, if it speaks TLS.
    pub authority: Option<PathBuf>,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            authority: None,
        }
    }
}

impl Endpoint {
    /// As commands take it.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// How to shake hands with it.
    ///
    /// # Errors
    /// When the file of the authority can't be read.
    pub fn tls(&self) -> anyhow::Result<ClientConfig> {
        self.tls_of(ALL_VERSIONS)
    }

    /// Shakes hands by one of `versions` of TLS and no other; the server's certificate.
    ///
    /// # Errors
    /// Why it failed.
    pub fn certificate(&self, versions: &[&'static SupportedProtocolVersion]) -> anyhow::Result<Vec<u8>> {
        let tls = Arc::new(self.tls_of(versions)?);
        let name = ServerName::from(self.address.ip());
        let mut connection = ClientConnection::new(tls, name).context("begin a handshake")?;
        let mut stream = TcpStream::connect(self.address).context("connect")?;
        stream
            .set_read_timeout(Some(TIMEOUT))
            .context("bound the handshake")?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).context("shake hands")?;
        }
        let chain = connection.peer_certificates().unwrap_or_default();
        Ok(chain.first().context("the server has a certificate")?.to_vec())
    }

    fn tls_of(&self, versions: &[&'static SupportedProtocolVersion]) -> anyhow::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.authority {
            for certificate in CertificateDer::pem_file_iter(file).context("read the authority")? {
                roots.add(certificate.context("read the authority")?)?;
            }
        }
        Ok(
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)
                .context("choose TLS versions")?
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )
    }
}
