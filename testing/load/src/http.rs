//! One keep-alive HTTP/1.1 connection from a chosen source address (RFC 9112), as far as the server's REST interface
//! uses it: answers with a length.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};

use crate::target::{Stream, Target};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_HEAD: usize = 32 * 1024;
const MAX_BODY: usize = 32 * 1024 * 1024;
/// How often, and how long at most, a request that comes too soon is put off.
const MAX_WAITS: u32 = 8;
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// A connection to the REST interface. It is made when it is needed.
pub struct Http {
    target: Target,
    source: Option<Ipv4Addr>,
    stream: Option<Stream>,
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

impl Http {
    /// To `target`, from `source`.
    #[must_use]
    pub const fn new(target: Target, source: Option<Ipv4Addr>) -> Self {
        Self {
            target,
            source,
            stream: None,
        }
    }

    /// Asks for `path`.
    ///
    /// # Errors
    /// When there is no good answer, with what the server said.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str, token: &str) -> anyhow::Result<T> {
        self.ask("GET", path, Some(token), &[]).await?.json(path)
    }

    /// Sends `body`, with a bearer token if there is one.
    ///
    /// # Errors
    /// When there is no good answer, with what the server said.
    pub async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        token: Option<&str>,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let body = serde_json::to_vec(body).context("write JSON")?;
        self.ask("POST", path, token, &body).await?.json(path)
    }

    /// One answer, whatever it says; a request that came too soon is repeated when the server says.
    ///
    /// # Errors
    /// When there is none.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        for _ in 0..MAX_WAITS {
            let answer = self.ask_once(method, path, token, body).await?;
            match answer.retry_after {
                Some(wait) if matches!(answer.status, 429 | 503) && wait <= LONGEST_WAIT => sleep(wait).await,
                _ => return Ok(answer),
            }
        }
        self.ask_once(method, path, token, body).await
    }

    /// One answer, whatever it says. The server may have closed an idle connection: then it is asked on another one.
    ///
    /// # Errors
    /// When there is none.
    pub async fn ask_once(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let authority = self.target.authority();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: unhidra-load\r\ncontent-length: {}\r\n",
            body.len()
        );
        if let Some(token) = token {
            request.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        if !body.is_empty() {
            request.push_str("content-type: application/json\r\n");
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        if let Some(stream) = self.stream.take()
            && let Ok(answer) = self.exchange(stream, &request).await
        {
            return Ok(answer);
        }
        let stream = self.target.connect(self.source).await?;
        self.exchange(stream, &request)
            .await
            .with_context(|| format!("{method} {path}"))
    }

    async fn exchange(&mut self, mut stream: Stream, request: &[u8]) -> anyhow::Result<Answer> {
        let exchange = async {
            stream.write_all(request).await.context("send a request")?;
            stream.flush().await.context("send a request")?;
            read_answer(&mut stream).await
        };
        let (answer, goes_on) = timeout(ANSWER_TIMEOUT, exchange)
            .await
            .context("the server did not answer in time")??;
        self.stream = goes_on.then_some(stream);
        Ok(answer)
    }
}

impl Answer {
    /// The body of a good answer.
    ///
    /// # Errors
    /// The status and the body of any other.
    pub fn json<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let text = || String::from_utf8_lossy(&self.body).into_owned();
        ensure!(
            (200..300).contains(&self.status),
            "{path} was answered with {}: {}",
            self.status,
            text()
        );
        serde_json::from_slice(&self.body).with_context(|| format!("{path} was answered with {}", text()))
    }
}

/// An answer, and whether another request may follow.
async fn read_answer(stream: &mut Stream) -> anyhow::Result<(Answer, bool)> {
    let mut bytes = Vec::with_capacity(4096);
    let end = loop {
        if let Some(end) = head_end(&bytes) {
            break end;
        }
        ensure!(bytes.len() < MAX_HEAD, "the head of an answer is too long");
        let read = stream.read_buf(&mut bytes).await.context("read an answer")?;
        ensure!(read > 0, "the server closed the connection");
    };
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
    let head = Head::parse(&head)?;
    let length = match (head.status, head.length) {
        (204 | 304, _) => 0,
        (_, Some(length)) => length,
        _ => bail!("an answer has no length"),
    };
    ensure!(length <= MAX_BODY, "an answer has {length} bytes");
    let mut body = bytes.split_off(end);
    body.reserve(length.saturating_sub(body.len()));
    while body.len() < length {
        let read = stream.read_buf(&mut body).await.context("read an answer")?;
        ensure!(read > 0, "the server closed the connection");
    }
    let answer = Answer {
        status: head.status,
        retry_after: head.retry_after,
        body,
    };
    Ok((answer, !head.closes))
}

/// Where the head of a message ends, behind its empty line.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// What is read from the head of an answer.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) length: Option<usize>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) closes: bool,
}

impl Head {
    pub(crate) fn parse(head: &str) -> anyhow::Result<Self> {
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .context("an answer has a status")?;
        let mut head = Self {
            status,
            length: None,
            retry_after: None,
            closes: false,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = Some(value.parse().context("a length is a number")?),
                "retry-after" => head.retry_after = value.parse().ok().map(Duration::from_secs),
                "connection" => head.closes = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_an_answer_is_read() {
        let text =
            "HTTP/1.1 429 Too Many\r\nContent-Length: 12\r\nretry-after: 3\r\nConnection: close\r\n\r\n{}";
        assert_eq!(head_end(text.as_bytes()), Some(text.len() - 2));
        let head = Head::parse(text).unwrap();
        assert_eq!((head.status, head.length, head.closes), (429, Some(12), true));
        assert_eq!(head.retry_after, Some(Duration::from_secs(3)));
    }
}
