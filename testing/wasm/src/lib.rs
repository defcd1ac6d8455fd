//! The tests of a crate in WebAssembly. `wasm32-unknown-unknown` has neither output nor files, so that the runner of the
//! standard library would say nothing and golden files could not be read: [`run`] takes its place, by the compiler flags of
//! `cargo xtask deep`, and [`fs`] that of `std::fs`. Both ask the host, `run.mjs`.
//!
//! A panic ends a module: the first test that fails is the last one that runs.
#![cfg(target_family = "wasm")]
#![feature(internal_output_capture, test)]

extern crate test;

pub mod fs;
mod host;

use std::{
    io, panic,
    sync::{Arc, Mutex, PoisonError},
};

use test::{ShouldPanic, TestDescAndFn, TestFn};

/// Runs `tests`, in their order, and tells the host of each, of what it prints, and how many passed.
///
/// # Panics
/// As the first test does that fails.
pub fn run(tests: &[&TestDescAndFn]) {
    let printed = Arc::new(Mutex::new(Vec::new()));
    io::set_output_capture(Some(Arc::clone(&printed)));
    let last_words = Arc::clone(&printed);
    panic::set_hook(Box::new(move |why| {
        host::tell(&format!("FAILED\n{}{why}\n", drained(&last_words)));
    }));
    let (mut passed, mut ignored) = (0, 0);
    for test in tests {
        let name = test.desc.name.as_slice();
        let runs = !test.desc.ignore && test.desc.should_panic == ShouldPanic::No;
        let TestFn::StaticTestFn(body) = &test.testfn else {
            ignored += 1;
            continue;
        };
        if !runs {
            ignored += 1;
            continue;
        }
        host::tell(&format!("test {name} ... "));
        if let Err(why) = body() {
            panic!("{why}");
        }
        host::tell(&format!("ok\n{}", drained(&printed)));
        passed += 1;
    }
    host::tell(&format!(
        "test result: ok. {passed} passed; 0 failed; {ignored} ignored\n"
    ));
}

fn drained(printed: &Mutex<Vec<u8>>) -> String {
    let mut bytes = printed.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    bytes.clear();
    text
}
