//! The targets of the gate, with the fault that `GATECRASH_FAULT` names: how long does the fuzzer need to find it?

#![no_main]

use std::sync::LazyLock;

use gatecrash_reference_server::fuzzing::Faulty;

static FAULTY: LazyLock<Faulty> = LazyLock::new(|| {
    let name = std::env::var("GATECRASH_FAULT").expect("GATECRASH_FAULT names a fault");
    Faulty::new(name.parse().expect("a fault of reference-server/src/fault.rs"))
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| FAULTY.policies(input));
