//! Any recipe over any key into the forge, and what comes of it into the oracle.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatecrash::fuzzing::token(input));
