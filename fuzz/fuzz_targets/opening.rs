//! Any request as the opening of a connection to the reference server.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatecrash_reference_server::fuzzing::opening(input));
