//! The targets `gate` and `policies` with the fault that `GATECRASH_FAULT` names, by bytes or by parts as
//! `GATECRASH_TARGET` says: how long does the fuzzer need to find it?

#![no_main]

use std::env;
use std::sync::LazyLock;

use gatecrash_reference_server::fuzzing::Faulty;

static FAULTY: LazyLock<Faulty> = LazyLock::new(|| {
    let name = env::var("GATECRASH_FAULT").expect("GATECRASH_FAULT names a fault");
    Faulty::new(name.parse().expect("a fault of reference-server/src/fault.rs"))
});
static BY_BYTES: LazyLock<bool> = LazyLock::new(|| env::var("GATECRASH_TARGET").is_ok_and(|target| target == "gate"));

libfuzzer_sys::fuzz_target!(|input: &[u8]| if *BY_BYTES { FAULTY.gate(input) } else { FAULTY.policies(input) });
