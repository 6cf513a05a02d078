//! Any text as JSON into the gate's reader, as a first message, and as a message.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatecrash_reference_server::fuzzing::messages(input));
