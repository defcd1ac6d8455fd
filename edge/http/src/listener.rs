//! The accept loop: one task for each connection, and a drain that lets requests finish.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt as _;
use unhidra_runtime::{Stage, Stop, Tasks, Weight};

use crate::client_address::Proxies;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes that the head of a request may have.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// A pause after `accept` failed, for example because the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What every connection meets.
#[derive(Clone)]
pub struct Front {
    /// Answers requests; each carries the [`ClientAddress`](crate::client_address::ClientAddress) that it comes from.
    pub router: Router,
    /// Whose word is taken for that.
    pub proxies: Arc<Proxies>,
}

impl Front {
    /// A front that no proxy stands before.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self {
            router,
            proxies: Arc::default(),
        }
    }
}

/// Accepts until asked to stop; connections end by themselves in their own stage.
///
/// # Errors
/// None: an accept that fails is logged and tried again.
///
/// # Cancellation safety
/// A connection that was accepted is handed to `tasks` at once.
pub async fn accept(listener: TcpListener, front: Front, tasks: Tasks, stop: Stop) -> Result<(), Infallible> {
    while let Some(accepted) = stop.race(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                let front = front.clone();
                tasks.spawn(Stage::Connection, "http", Weight::Ordinary, |stop| {
                    greet(stream, peer, front, stop)
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    Ok(())
}

/// One connection, from the first byte on.
async fn greet(stream: TcpStream, peer: SocketAddr, front: Front, stop: Stop) -> io::Result<()> {
    stream.set_nodelay(true)?;
    serve(stream, peer.ip(), front, stop).await;
    Ok(())
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    front: Front,
    stop: Stop,
) {
    let Front { router, proxies } = front;
    let service = router
        .into_service::<Incoming>()
        .map_request(move |mut request: Request<Incoming>| {
            let client = proxies.client(peer, request.headers());
            request.extensions_mut().insert(client);
            request
        });
    let service = TowerToHyperService::new(service);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = stop.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "connection ended");
    }
}
