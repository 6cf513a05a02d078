//! The gate, the oracle and two libraries on the same token in parts.

#![no_main]

#[path = "../../harness/tests/verifiers/mod.rs"]
mod verifiers;

libfuzzer_sys::fuzz_target!(|input: &[u8]| verifiers::differential(input));
