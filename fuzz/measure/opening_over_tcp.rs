//! The target `opening`, over a connection of the loopback in place of the pipe.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatecrash_reference_server::fuzzing::opening_over_tcp(input));
