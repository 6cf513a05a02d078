//! Whatever a run may have come to, into the writers of reports.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatecrash::fuzzing::report(input));
