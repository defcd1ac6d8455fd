//! `serve`: runs a server until it is told to stop.

use std::{env, path::Path};

use anyhow::Context as _;
use serde::Serialize;
use unhidra_runtime::{Clock, signal::Signals, telemetry};

use crate::{
    arguments::ServerOptions,
    configuration,
    exit::{Exit, OrExit as _, Outcome},
    output::Output,
    server::Server,
};

#[derive(Serialize)]
struct Ready<'a> {
    listening: String,
    setup_token_file: Option<&'a Path>,
}

/// Serves until a signal.
pub(crate) async fn serve(options: &ServerOptions, output: Output) -> Outcome {
    let configuration = configuration::load(options).or_exit(Exit::Configuration)?;
    telemetry::start(&configuration.log).or_exit(Exit::Configuration)?;
    let signals = Signals::install().context("handle signals")?;
    let server = Server::start(&configuration, Clock::System)
        .await
        .or_exit(Exit::Configuration)?;
    announce(&server, output).context("print the address")?;
    server.run(signals).await?;
    Ok(())
}

fn announce(server: &Server, output: Output) -> std::io::Result<()> {
    let url = format!("http://{}", server.address);
    let ready = Ready {
        listening: url.clone(),
        setup_token_file: server.setup_token.as_deref(),
    };
    output.result(&ready, || format!("listening on {url}"))?;
    if let Some(token) = &server.setup_token {
        output.progress(&format!(
            "There is no account yet. In another terminal, the first administrator registers with\n  {} register --server {url} --username NAME --setup-token-file {}",
            program(),
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
