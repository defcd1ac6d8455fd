//! What a client hears for which there is no room: a problem with a time to come back, if it asks at all.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};
use unhidra_runtime::Clock;
use unhidra_wire::rest::{Problem, ProblemCode};

use crate::admission::Excess;

/// How long it may take to ask and to hear the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes that are read of a request before it is answered.
const MAX_READ: usize = 16 * 1024;
const RETRY_AFTER_SECONDS: u32 = 5;

/// Answers the first request on `stream` and closes it; one that sends none is closed without a word.
///
/// # Cancellation safety
/// Dropped, the client hears nothing.
pub(crate) async fn turn_away(mut stream: impl AsyncRead + AsyncWrite + Unpin, excess: Excess) {
    let telling = async {
        if !has_asked(&mut stream).await {
            return;
        }
        if stream.write_all(&answer(excess)).await.is_ok() && stream.shutdown().await.is_ok() {
            // Bytes that nobody reads would make TCP drop the answer.
            let mut rest = [0; 1_024];
            while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        }
    };
    if timeout(PATIENCE, telling).await.is_err() {
        tracing::debug!("a client that was turned away did not ask in time");
    }
}

async fn has_asked(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut head = Vec::with_capacity(1_024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_READ || !stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
            return false;
        }
    }
    true
}

fn answer(excess: Excess) -> Vec<u8> {
    let (status, line, code, title) = match excess {
        Excess::Full => (
            503,
            "503 Service Unavailable",
            ProblemCode::Unavailable,
            "the server can't take another connection now",
        ),
        Excess::TooManyOfNetwork => (
            429,
            "429 Too Many Requests",
            ProblemCode::TooMany,
            "this network has as many connections as it may have",
        ),
    };
    let request = Clock::System.context().request_id.to_string();
    let problem = Problem::new(status, code, title, request.clone());
    let body = serde_json::to_string(&problem).unwrap_or_default();
    format!(
        "HTTP/1.1 {line}\r\ncontent-type: {}\r\ncontent-length: {}\r\nretry-after: {RETRY_AFTER_SECONDS}\r\n\
         x-request-id: {request}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{body}",
        Problem::CONTENT_TYPE,
        body.len(),
    )
    .into_bytes()
}
