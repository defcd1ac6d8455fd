//! Draws the reports of a folder: `cargo xtask plot`.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use unhidra_testkit::plot::pages;

/// Draws each report of a folder as SVG, beside it.
#[derive(Parser)]
struct Arguments {
    /// Where the reports lie
    folder: PathBuf,
}

fn main() -> ExitCode {
    match pages::draw(&Arguments::parse().folder) {
        Ok(drawn) => {
            println!("plots: {}", drawn.join(" "));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("plots: {error:#}");
            ExitCode::FAILURE
        }
    }
}
