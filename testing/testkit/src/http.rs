//! Raw REST requests, for what the command line does not offer.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::{HeaderMap, Method};
use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::{Builder, Runtime};

use crate::endpoint::Endpoint;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A client of one server that waits for its answers.
#[derive(Debug)]
pub struct Http {
    runtime: Runtime,
    client: reqwest::Client,
    base: String,
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Http {
    /// A client of the server at `endpoint`, which may be an address without TLS.
    ///
    /// # Errors
    /// When the system's network or the server's authority can't be used.
    pub fn to(endpoint: impl Into<Endpoint>) -> anyhow::Result<Self> {
        let endpoint = endpoint.into();
        let runtime = runtime()?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(endpoint.tls()?)
            .timeout(TIMEOUT)
            .build()
            .context("make an HTTP client")?;
        Ok(Self {
            runtime,
            client,
            base: endpoint.url(),
        })
    }

    /// Asks for `path`, with a bearer token if there is one.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, path: &str, token: Option<&str>) -> anyhow::Result<Answer> {
        self.request(Method::GET, path, token, |request| request)
    }

    /// Sends `body` as JSON.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn post(&self, path: &str, token: Option<&str>, body: &impl Serialize) -> anyhow::Result<Answer> {
        self.request(Method::POST, path, token, |request| request.json(body))
    }

    /// Sends a request that `finish` completes.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        finish: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> anyhow::Result<Answer> {
        let shown = format!("{method} {path}");
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let request = finish(request);
        self.runtime.block_on(async {
            let response = request.send().await.with_context(|| shown.clone())?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = response.bytes().await.with_context(|| shown.clone())?.into();
            Ok(Answer {
                status,
                headers,
                body,
            })
        })
    }
}

impl Answer {
    /// The body of a good answer.
    ///
    /// # Errors
    /// The status and the body of any other.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        let text = String::from_utf8_lossy(&self.body);
        ensure!(
            (200..300).contains(&self.status),
            "answered with {}: {text}",
            self.status
        );
        serde_json::from_slice(&self.body).with_context(|| format!("answered with {text}"))
    }
}

/// Runs one connection on the calling thread.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")
}
