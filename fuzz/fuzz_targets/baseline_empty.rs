//! Nothing: what the fuzzer itself costs. The other targets are measured beside it.

#![no_main]

use std::hint::black_box;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    black_box(input);
});
