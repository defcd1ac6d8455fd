//! Where load goes: an address, whether by TLS, and from which of this machine's own addresses.

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long a connection and its TLS handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A server. Clones share the sessions of TLS.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    /// Host and port as in a URL.
    authority: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// A byte stream, encrypted or not.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Target {
    /// The server at `address`, without TLS.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            authority: address.to_string(),
            tls: None,
        }
    }

    /// The server at `address`, by TLS as `tls` says; its certificate is for the address.
    #[must_use]
    pub fn tls(address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        Self {
            address,
            authority: address.to_string(),
            tls: Some((tls, ServerName::from(address.ip()))),
        }
    }

    /// The server of a URL such as `https://chat.example.org`; `tls` says whose word on it is taken.
    ///
    /// # Errors
    /// When it is not such a URL, or its name has no address.
    pub async fn resolve(url: &str, tls: Arc<ClientConfig>) -> anyhow::Result<Self> {
        let (is_tls, authority) = match url.trim_end_matches('/').split_once("://") {
            Some(("https", authority)) => (true, authority),
            Some(("http", authority)) => (false, authority),
            _ => bail!("expected https://HOST:PORT or http://HOST:PORT"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().context("a port is a number")?),
            _ => (authority, if is_tls { 443 } else { 80 }),
        };
        let host = host.trim_matches(['[', ']']);
        let mut found = tokio::net::lookup_host((host, port))
            .await
            .with_context(|| format!("look {host} up"))?;
        let name = ServerName::try_from(host.to_owned()).context("a host has a name")?;
        Ok(Self {
            address: found.next().with_context(|| format!("{host} has no address"))?,
            authority: authority.to_owned(),
            tls: is_tls.then_some((tls, name)),
        })
    }

    /// Host and port as in a URL.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// As devices sign it.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// The address of this machine that connection `number` comes from: limits count addresses, and on loopback there
    /// are many. `None` leaves it to the system.
    #[must_use]
    pub fn source(&self, number: u32) -> Option<Ipv4Addr> {
        let [_, high, middle, low] = number.to_be_bytes();
        match self.address.ip().is_loopback() && self.address.is_ipv4() {
            true => Some(Ipv4Addr::new(
                127,
                16_u8.wrapping_add(high % 128),
                middle,
                low.max(1),
            )),
            false => None,
        }
    }

    pub(crate) async fn connect(&self, source: Option<Ipv4Addr>) -> anyhow::Result<Stream> {
        timeout(CONNECT_TIMEOUT, self.connect_patiently(source))
            .await
            .context("the server did not answer in time")?
    }

    async fn connect_patiently(&self, source: Option<Ipv4Addr>) -> anyhow::Result<Stream> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }
        .context("make a socket")?;
        if let Some(source) = source {
            socket
                .bind((source, 0).into())
                .context("choose a source address")?;
        }
        let stream = socket.connect(self.address).await.context("connect")?;
        stream.set_nodelay(true).context("send small frames at once")?;
        Ok(match &self.tls {
            None => Stream::Plain(stream),
            Some((tls, name)) => {
                let connector = TlsConnector::from(Arc::clone(tls));
                let shaken = connector.connect(name.clone(), stream).await;
                Stream::Tls(Box::new(shaken.context("shake hands by TLS")?))
            }
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
