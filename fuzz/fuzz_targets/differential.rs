//! The gate, the oracle and two libraries on the same token in parts.

#![no_main]

#[expect(dead_code, reason = "why a difference is known, and the token that shows it, are for `cargo test`")]
#[path = "../../harness/tests/verifiers/mod.rs"]
mod verifiers;

libfuzzer_sys::fuzz_target!(|input: &[u8]| verifiers::differential(input));
