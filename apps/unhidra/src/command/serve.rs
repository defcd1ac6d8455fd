//! `serve`: runs a server until it is told to stop.

use std::{env, path::Path};

use anyhow::Context as _;
use serde::Serialize;
use unhidra_identity::config::Scheme;
use unhidra_runtime::{Clock, signal::Signals, telemetry};

use crate::{
    arguments::ServerOptions,
    configuration,
    exit::{Exit, OrExit as _, Outcome},
    health,
    output::Output,
    server::Server,
};

#[derive(Serialize)]
struct Ready<'a> {
    listening: String,
    setup_token_file: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_fingerprint: Option<String>,
}

/// Serves until a signal.
pub(crate) async fn serve(options: &ServerOptions, output: Output) -> Outcome {
    let configuration = configuration::load(options).or_exit(Exit::Configuration)?;
    telemetry::start(&configuration.log).or_exit(Exit::Configuration)?;
    let now = Clock::System.context().now;
    let trust = super::doctor::trust(options.trust_clock);
    let warnings = health::before_start(&configuration, trust, now).or_exit(Exit::Configuration)?;
    let signals = Signals::install().context("handle signals")?;
    let server = Server::start(&configuration, Clock::System)
        .await
        .or_exit(Exit::Configuration)?;
    // Who is refused is told that alone.
    for warning in warnings {
        tracing::warn!("{}", warning.line());
    }
    announce(&server, output).context("print the address")?;
    server.run(signals).await?;
    Ok(())
}

fn announce(server: &Server, output: Output) -> std::io::Result<()> {
    let scheme = match server.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let url = format!("{scheme}://{}", server.address);
    let ready = Ready {
        listening: url.clone(),
        setup_token_file: server.setup_token.as_deref(),
        ca_fingerprint: server.authority.map(|authority| authority.to_string()),
    };
    output.result(&ready, || match &ready.ca_fingerprint {
        Some(fingerprint) => format!("listening on {url}\nlocal CA {fingerprint}"),
        None => format!("listening on {url}"),
    })?;
    if let Some(token) = &server.setup_token {
        let trust = ready.ca_fingerprint.as_ref();
        let trust = trust.map_or_else(String::new, |fingerprint| {
            format!(" --ca-fingerprint {fingerprint}")
        });
        output.progress(&format!(
            "There is no account yet. In another terminal, the first administrator registers with\n  {} register --server {} --username NAME --setup-token-file {}{trust}",
            program(),
            server.public_url,
            quoted(token)
        ));
    }
    Ok(())
}

/// This program, as a command that can be pasted.
pub(crate) fn program() -> String {
    env::current_exe().map_or_else(|_| "unhidra".to_owned(), |path| quoted(&path))
}

/// A path as one word of a shell command.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+=:,@".contains(&b);
    if text.bytes().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
