//! The accept loop: one task for each connection, and a drain that lets requests finish.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, response::Response};
use http::{HeaderValue, StatusCode, header::STRICT_TRANSPORT_SECURITY};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tower::ServiceExt as _;
use unhidra_runtime::{ClientAddress, Stage, Stop, Tasks, Weight};

use crate::{
    admission::{Admission, Excess, Held, SocketLimits},
    client_address::Proxies,
    observe::MAX_HEAD_BYTES,
    tls::Tls,
    turn_away::turn_away,
    watched::Watched,
};

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Clients at once that are told why there is no room for them; further ones are just closed.
const MAX_TURNED_AWAY: usize = 256;
/// How long a connection without a request may take to end once the server is to stop.
const FAREWELL: Duration = Duration::from_secs(2);
/// A pause after `accept` failed, for example because the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What browsers keep to once they were served over TLS (RFC 6797).
const HTTPS_FOR_A_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// What every connection meets.
#[derive(Clone)]
pub struct Front {
    /// Answers requests; each carries the [`ClientAddress`] that it comes from.
    pub router: Router,
    /// Whose word is taken for that.
    pub proxies: Arc<Proxies>,
    /// Which sockets are taken at all.
    pub admission: Admission,
    /// What clients have to speak; `None` is plain HTTP.
    pub tls: Option<Tls>,
}

impl Front {
    /// Plain HTTP, and no proxy before it.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self {
            router,
            proxies: Arc::default(),
            admission: Admission::new(SocketLimits::default()),
            tls: None,
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
                admit(stream, peer, &front, &tasks);
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                stop.race(sleep(ACCEPT_PAUSE)).await;
            }
        }
    }
    Ok(())
}

/// Hands a socket to a task of its own, or to one that turns it away.
fn admit(stream: TcpStream, peer: SocketAddr, front: &Front, tasks: &Tasks) {
    let is_proxy = front.proxies.trusts(ClientAddress::new(peer.ip()));
    match front.admission.open(peer.ip(), is_proxy) {
        Ok(held) => {
            let front = front.clone();
            tasks.spawn(Stage::Connection, "http", Weight::Ordinary, |stop| {
                greet(stream, peer, held, front, stop)
            });
        }
        Err(excess) => {
            let Some(turning) = front.admission.turning_away(MAX_TURNED_AWAY) else {
                return;
            };
            let tls = front.tls.clone();
            tasks.spawn(
                Stage::Connection,
                "turn-away",
                Weight::Ordinary,
                async move |stop| {
                    stop.race(dismiss(stream, excess, tls)).await;
                    drop(turning);
                    Ok::<_, Infallible>(())
                },
            );
        }
    }
}

/// One connection, from the first byte on.
async fn greet(stream: TcpStream, peer: SocketAddr, held: Held, front: Front, stop: Stop) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(tls) = front.tls.clone() else {
        serve(stream, peer.ip(), held, front, stop).await;
        return Ok(());
    };
    let slot = Arc::clone(&held.0);
    let shaken = tokio::select! {
        shaken = tls.accept(stream) => shaken,
        // A handshake is as much waiting for a request as silence is.
        () = slot.given_up() => return Ok(()),
        () = stop.requested() => return Ok(()),
    };
    match shaken {
        Ok(Some(stream)) => serve(stream, peer.ip(), held, front, stop).await,
        Ok(None) => {}
        Err(error) => tracing::debug!(error = %error, "TLS handshake failed"),
    }
    Ok(())
}

/// Tells a client why there is no room for it, in the language that it speaks.
async fn dismiss(stream: TcpStream, excess: Excess, tls: Option<Tls>) {
    let Some(tls) = tls else {
        return turn_away(stream, excess).await;
    };
    match tls.accept(stream).await {
        Ok(Some(stream)) => turn_away(stream, excess).await,
        Ok(None) => {}
        Err(error) => tracing::debug!(error = %error, "TLS handshake failed"),
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    held: Held,
    front: Front,
    stop: Stop,
) {
    let Front {
        router, proxies, tls, ..
    } = front;
    let slot = Arc::clone(&held.0);
    let asked = Arc::clone(&slot);
    let service = router
        .into_service::<Incoming>()
        .map_request(move |mut request: Request<Incoming>| {
            asked.begin_request();
            let client = proxies.client(peer, request.headers());
            request.extensions_mut().insert(client);
            request
        });
    let answered = Arc::clone(&slot);
    let service = service.map_response(move |mut response: Response| {
        // A WebSocket keeps its place.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            answered.end_request();
        }
        if tls.is_some() {
            let headers = response.headers_mut();
            headers.insert(STRICT_TRANSPORT_SECURITY, HTTPS_FOR_A_YEAR);
        }
        response
    });
    let service = TowerToHyperService::new(service);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Watched::new(stream, held)), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = slot.given_up() => return,
        () = stop.requested() => {
            connection.as_mut().graceful_shutdown();
            loop {
                tokio::select! {
                    served = &mut connection => break served,
                    // Without a request in work it has had its answer and does not read it.
                    () = sleep(FAREWELL) => if !slot.is_serving() { return },
                }
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "connection ended");
    }
}

#[cfg(test)]
mod tests;
