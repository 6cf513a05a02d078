//! Nothing: what the fuzzer itself costs. The other targets are measured beside it.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| drop(std::hint::black_box(input)));
