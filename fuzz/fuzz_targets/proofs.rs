//! See `unhidra_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unhidra_fuzz::decode::proofs(data));
