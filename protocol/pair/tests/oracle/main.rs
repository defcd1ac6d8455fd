//! The traces of the independent implementation in `testing/oracle`, replayed on this crate byte for byte.
//!
//! `cargo xtask oracle` makes them anew and names their folder in `UNHIDRA_ORACLE`; the ones in the tree are taken else.

#[cfg(test)]
mod refusal;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod world;

use std::path::{Path, PathBuf};

#[cfg(target_family = "wasm")]
use unhidra_wasm::fs::texts;

#[test]
fn every_byte_of_every_trace_of_the_independent_implementation_is_made_and_read_alike() {
    #[expect(
        clippy::disallowed_methods,
        reason = "which traces are replayed is the choice of who runs it"
    )]
    let folder = std::env::var_os("UNHIDRA_ORACLE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/oracle/traces"),
        PathBuf::from,
    );
    let (mut traces, mut steps, mut differences) = (0, 0, Vec::new());
    for text in texts(&folder).unwrap() {
        for trace in trace::read(&text) {
            traces += 1;
            steps += trace.steps.len();
            if let Err(difference) = replay::run(&trace) {
                differences.push(difference);
            }
        }
    }
    println!(
        "{traces} traces, {steps} steps, {} with a difference",
        differences.len()
    );
    assert!(traces >= 200, "{} has {traces} traces", folder.display());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The texts of all files of a folder, by the order of their names.
#[cfg(not(target_family = "wasm"))]
fn texts(folder: &Path) -> std::io::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    files.iter().map(std::fs::read_to_string).collect()
}
