//! A whole connection to the reference server: a handshake and a list of steps.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatecrash_reference_server::fuzzing::session(input));
