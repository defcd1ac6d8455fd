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

#[test]
fn traces_that_need_no_file_are_made_and_read_alike() {
    let files = [
        include_str!("../../../../testing/oracle/traces/chains.jsonl"),
        include_str!("../../../../testing/oracle/traces/devices.jsonl"),
        include_str!("../../../../testing/oracle/traces/forged-headers.jsonl"),
        include_str!("../../../../testing/oracle/traces/forged-parts.jsonl"),
    ];
    for trace in files.into_iter().flat_map(trace::read) {
        assert_eq!(replay::run(&trace), Ok(()));
    }
}

// A program in a browser has no files.
#[cfg(not(target_family = "wasm"))]
#[test]
fn every_byte_of_every_trace_of_the_independent_implementation_is_made_and_read_alike() {
    #[expect(
        clippy::disallowed_methods,
        reason = "which traces are replayed is the choice of who runs it"
    )]
    let folder = std::env::var_os("UNHIDRA_ORACLE").map_or_else(
        || {
            std::path::PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../testing/oracle/traces"
            ))
        },
        std::path::PathBuf::from,
    );
    let (mut traces, mut steps, mut differences) = (0, 0, Vec::new());
    let mut files: Vec<std::path::PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        for trace in trace::read(&std::fs::read_to_string(&file).unwrap()) {
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
