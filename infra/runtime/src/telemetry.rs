//! The log: one subscriber for the process, as text for people or JSON for machines, on standard error.

use serde::Deserialize;
use tracing_subscriber::{
    EnvFilter, filter::ParseError, fmt, util::SubscriberInitExt as _, util::TryInitError,
};

/// What is logged, and how.
#[derive(Clone, Debug, confique::Config)]
pub struct LogConfig {
    /// Which events are logged: `error`, `warn`, `info`, `debug` or `trace`, also by module, as in `info,unhidra_store=debug`.
    #[config(default = "info")]
    pub filter: String,
    /// `text` for people or `json` for machines.
    #[config(default = "text")]
    pub format: LogFormat,
}

/// Form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("log filter is not valid")]
    Filter(#[from] ParseError),
    /// Another subscriber is set.
    #[error("the log was started before")]
    Started(#[from] TryInitError),
}

/// Starts the log of this process.
///
/// # Errors
/// [`TelemetryError`].
pub fn start(config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => builder.finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}
