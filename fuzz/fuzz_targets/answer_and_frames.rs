//! Anything a server may send into the harness's readers.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatecrash::fuzzing::answer_and_frames(input));
