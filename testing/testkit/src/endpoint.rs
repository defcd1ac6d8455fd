//! Where a server listens, and whether by TLS.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};

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
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.authority {
            for certificate in CertificateDer::pem_file_iter(file).context("read the authority")? {
                roots.add(certificate.context("read the authority")?)?;
            }
        }
        Ok(
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .context("choose TLS versions")?
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )
    }
}
