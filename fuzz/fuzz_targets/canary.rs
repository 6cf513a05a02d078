//! Fails at the first input, on purpose: a fuzzer that lets this pass would let everything pass.
//!
//! It fails by an overflow inside a `debug_assert`, so that it also fails only while the profile checks both.

#![no_main]

use std::hint::black_box;

libfuzzer_sys::fuzz_target!(|_input: &[u8]| debug_assert!(black_box(u8::MAX) + black_box(1) == 0, "the canary lives"));
