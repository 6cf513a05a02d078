//! How often the gate allocates: not at all for whoever does not hold the key.

use allocation_counter::measure;
use gatecrash_benches::tokens::{Cause, NOW, Ours, hs256};

fn allocations(gate: &Ours, token: &str) -> u64 {
    // Once before, so that nothing that is made only once is counted.
    let _ = gate.0.admit(token.as_bytes(), NOW);
    let mut decision = None;
    let seen = measure(|| decision = Some(gate.0.admit(token.as_bytes(), NOW)));
    drop(decision);
    seen.count_total
}

#[test]
fn who_has_no_key_makes_the_gate_allocate_nothing() {
    let gate = Ours::with_secret(8192);
    for (name, token) in [
        ("nothing", String::new()),
        ("no period", "A".repeat(200)),
        ("over the cap", "A".repeat(64 * 1024)),
        ("over the cap and whole", hs256(65536, Cause::Admitted)),
        ("five parts", "AAAA.AAAA.AAAA.AAAA.AAAA".to_owned()),
        ("an impossible length", "AAAAA.AAAA.AAAA".to_owned()),
        ("pad bits", "AAAA.AAAA.AB".to_owned()),
        ("a foreign byte, early", hs256(200, Cause::Malformed)),
        ("a foreign byte, late", format!("{}!", hs256(4096, Cause::Admitted))),
        ("a bad signature", hs256(200, Cause::BadSignature)),
        ("a bad signature under a long payload", hs256(4096, Cause::BadSignature)),
    ] {
        assert!(gate.0.admit(token.as_bytes(), NOW).is_err(), "{name} is admitted");
        assert_eq!(allocations(&gate, &token), 0, "{name}");
    }
}

#[test]
fn a_token_that_is_let_in_costs_a_few() {
    let gate = Ours::with_secret(8192);
    let token = hs256(200, Cause::Admitted);
    assert!(gate.0.admit(token.as_bytes(), NOW).is_ok());
    let count = allocations(&gate, &token);
    // The payload, the list of its members, an array in it, identity, role and what is kept of the claims.
    assert!((1..=8).contains(&count), "{count}");
}
