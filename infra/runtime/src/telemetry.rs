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
    #[error("`log.filter` is no filter, such as `info` or `info,unhidra_store=debug`")]
    Filter(#[from] ParseError),
    /// Another subscriber is set.
    #[error("the log was started before")]
    Started(#[from] TryInitError),
}

impl LogConfig {
    /// Checks what no type shows.
    ///
    /// # Errors
    /// [`TelemetryError::Filter`].
    pub fn validate(&self) -> Result<(), TelemetryError> {
        EnvFilter::try_new(&self.filter)?;
        Ok(())
    }
}

/// Starts the log of this process.
///
/// # Errors
/// [`TelemetryError`].
pub fn start(config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&config.filter)?;
    // A line that can't be written is lost. Saying so on the same standard error would panic, on a full disk for example.
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match config.format {
        LogFormat::Text => builder.finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}
