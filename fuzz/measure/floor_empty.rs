//! Nothing: what libFuzzer itself costs.

#![no_main]

use std::hint::black_box;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    black_box(input);
});
