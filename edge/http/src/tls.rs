//! TLS 1.3 in front of the listener, under a certificate that can be replaced while connections last.
//!
//! Only handshakes are here. Certificates are read and made elsewhere. How many handshakes there may be at once is decided
//! where sockets are admitted: until its first request a connection waits, and whoever waits longest makes room.
//! A replaced certificate takes the session tickets of the old one with it: whoever connects next sees the new one.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
    version::TLS13,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use unhidra_wire::rest::{Problem, ProblemCode};

/// How long a handshake may take, from the first byte on.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a TLS connection begins with: the type of a record with a handshake message (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// How long, and how much, is still read from a client that spoke HTTP without TLS, so that it sees the answer.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: u64 = 64 * 1024;

/// TLS under one certificate at a time. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<watch::Sender<Arc<ServerConfig>>>);

/// A certificate that can be served.
pub struct Prepared(Arc<ServerConfig>);

/// Why a certificate can't be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// They are not a pair.
    #[error("the private key is not that of the certificate")]
    OtherKey,
    /// The certificate or the key has a form or algorithm that TLS 1.3 does not take.
    #[error("the certificate or its key can't be used for TLS 1.3")]
    Unusable(#[source] rustls::Error),
}

impl Tls {
    /// Serves a certificate.
    #[must_use]
    pub fn new(Prepared(configuration): Prepared) -> Self {
        let (current, _) = watch::channel(configuration);
        Self(Arc::new(current))
    }

    /// Serves another certificate from the next handshake on; connections stay.
    pub fn replace(&self, Prepared(configuration): Prepared) {
        self.0.send_replace(configuration);
    }

    /// The handshake of one connection; `None` when there is none: the client is gone, or speaks no TLS.
    pub(crate) async fn accept(&self, mut stream: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
        let handshake = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 0 {
                return Ok(None);
            }
            if first != [HANDSHAKE_RECORD] {
                refuse_plain(&mut stream, first).await?;
                return Ok(None);
            }
            let configuration = self.0.borrow().clone();
            TlsAcceptor::from(configuration).accept(stream).await.map(Some)
        };
        timeout(HANDSHAKE_TIMEOUT, handshake).await?
    }
}

impl Prepared {
    /// `chain`, the certificate first, under its `key`.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, TlsError> {
        let unusable = |error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::OtherKey,
            error => TlsError::Unusable(error),
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut configuration = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Tickets keep no state here, and their keys change every six hours.
        configuration.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
        Ok(Self(Arc::new(configuration)))
    }
}

/// Tells an HTTP client that it forgot the `s` of `https`. Whatever else was sent is closed without a word.
async fn refuse_plain(stream: &mut TcpStream, first: [u8; 1]) -> io::Result<()> {
    if !first.iter().all(u8::is_ascii_uppercase) {
        return Ok(());
    }
    let problem = Problem::new(
        400,
        ProblemCode::TlsRequired,
        "this server speaks TLS: use https://",
        "-".to_owned(),
    );
    let body = serde_json::to_string(&problem)?;
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        Problem::CONTENT_TYPE,
        body.len(),
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Bytes that nobody reads would make TCP drop the answer.
    let rest = async { tokio::io::copy(&mut stream.take(FAREWELL_BYTES), &mut tokio::io::sink()).await };
    match timeout(FAREWELL, rest).await {
        Ok(read) => read.map(drop),
        Err(_elapsed) => Ok(()),
    }
}
