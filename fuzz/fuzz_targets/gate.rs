//! Any token into the reference server's gate.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatecrash_reference_server::fuzzing::gate(input));
