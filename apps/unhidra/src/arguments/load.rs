//! `load`.

use std::time::Duration;

use clap::Args;
use unhidra_runtime::unit::parse_duration;

#[derive(Args)]
pub(crate) struct Load {
    /// Raise the rate step by step until the first limit, and name it
    #[arg(long, conflicts_with = "rate")]
    pub(crate) check: bool,
    /// Groups, each with a speaker of its own
    #[arg(long, default_value_t = 4, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) groups: u32,
    /// Members of a group, the speaker among them; an account is made for each
    #[arg(long, default_value_t = 25, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub(crate) members: u32,
    /// Messages a second of each speaker
    #[arg(long, default_value_t = 5.0, value_name = "NUMBER", value_parser = rate)]
    pub(crate) rate: f64,
    /// How long each rate is held
    #[arg(long = "for", default_value = "10s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// The longest latency that one message in a hundred may exceed
    #[arg(long, default_value = "500ms", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) max_latency: Duration,
    /// The server's process, if it runs on this machine: its CPU time and memory are shown
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0.01 to 100000".to_owned()),
    }
}
