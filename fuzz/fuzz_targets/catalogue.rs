//! Any bytes as a file of cases.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatecrash::fuzzing::catalogue(input));
