//! `tls fingerprint`.

use anyhow::Context as _;
use serde::Serialize;

use crate::{
    arguments::ServerOptions,
    configuration,
    exit::{Exit, Failure, OrExit as _, Outcome},
    output::Output,
    tls,
};

/// Prints what clients know the server's local CA by.
pub(crate) fn fingerprint(options: &ServerOptions, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Shown {
        ca_fingerprint: String,
    }
    let configuration = configuration::load(options).or_exit(Exit::Configuration)?;
    let data = &configuration.server.data;
    let Some(fingerprint) = tls::fingerprint(data).or_exit(Exit::Configuration)? else {
        return Err(Failure {
            exit: Exit::NotFound,
            error: anyhow::anyhow!(
                "there is no local CA in {}: `unhidra serve --tls local-ca` makes one, and --data names another folder",
                data.display()
            ),
        });
    };
    let shown = Shown {
        ca_fingerprint: fingerprint.to_string(),
    };
    output
        .result(&shown, || shown.ca_fingerprint.clone())
        .context("print the fingerprint")?;
    Ok(())
}
