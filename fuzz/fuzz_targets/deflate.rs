//! Any negotiation of compression, and any payload under it.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatecrash::fuzzing::deflate(input));
