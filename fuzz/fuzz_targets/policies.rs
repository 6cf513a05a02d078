//! A token made of parts, shown to one of several policies.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatecrash_reference_server::fuzzing::policies(input));
