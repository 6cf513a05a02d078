//! Whatever a session of a bundled case may have seen, into the judge.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatecrash::fuzzing::judge(input));
