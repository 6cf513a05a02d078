//! The signature-level part of the oracle against the JSON Web Signature vectors of C2SP/wycheproof. Their
//! payloads are prose, so claims play no part. The vectors are not in this repository: the folder named by
//! `WYCHEPROOF_DIR` is read, else one beside the workspace, else the test says that it was skipped and how to get them. What
//! needs no folder are the vectors of the standards themselves, in `token/vectors.rs`.

use std::io::Write as _;
use std::path::PathBuf;

use gatecrash::token::{VerifyKey, verify_jws};
use serde_json::Value;

/// Vectors whose label says valid and that a strict verifier must still refuse, or the reverse.
///
/// 367 and 370 are byte for byte the valid 357 (C2SP/wycheproof#236). 372 and 373 contain `?`, which is no
/// base64url, and their MAC does not cover the text as received (RFC 7515 §5.2 steps 2 and 8).
const WRONG_LABELS: [(u64, bool); 4] = [(367, true), (370, true), (372, false), (373, false)];

/// The last character of its payload carries bits of no byte, and the MAC covers the text as sent. Refusing that
/// is a MAY (RFC 4648 §3.5), so the oracle doubts it and does not refuse.
const MAY_BE_REFUSED: u64 = 375;

fn folder() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("WYCHEPROOF_DIR") {
        return Some(PathBuf::from(named));
    }
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/wycheproof");
    beside.is_dir().then_some(beside)
}

#[test]
fn signature_vectors() {
    let Some(folder) = folder() else {
        // Past the macros, whose words the test runner keeps to itself where a test passes.
        let told = writeln!(
            std::io::stderr(),
            "\nSKIPPED: no vector of Wycheproof was looked at. To look at them, clone the repository C2SP/wycheproof and set \
             WYCHEPROOF_DIR to its folder testvectors_v1, or any that holds json_web_signature_test.json.\n"
        );
        assert!(told.is_ok());
        return;
    };
    let path = folder.join("json_web_signature_test.json");
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let vectors: Value = serde_json::from_slice(&text).expect("JSON");

    let mut counted = 0;
    let mut wrong = Vec::new();
    for group in vectors["testGroups"].as_array().expect("groups") {
        let mut jwk = if group["public"].is_object() { &group["public"] } else { &group["private"] }.clone();
        if group["comment"] == "rfc7520" || group["comment"] == "rfc7520WithKeyOps" {
            // The keys of RFC 7520 §3 have no `alg`. The vectors add one, and add PS256 for a PS384 example.
            jwk.as_object_mut().expect("a JWK").remove("alg");
        }
        let key = VerifyKey::from_jwk(&jwk).unwrap_or_else(|error| panic!("{}: {error}", group["comment"]));
        for test in group["tests"].as_array().expect("tests") {
            let id = test["tcId"].as_u64().expect("an id");
            // One vector is a JSON serialization, given as an object.
            let token = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), str::to_owned);
            let labelled = test["result"] == "valid";
            let expected = WRONG_LABELS.iter().find(|(other, _)| *other == id).map_or(labelled, |(_, strict)| *strict);
            let verified = verify_jws(token.as_bytes(), std::slice::from_ref(&key));
            let agrees = match &verified {
                Err(_) => !expected,
                // The vectors do not care which of the two valid values of s was written.
                Ok(jws) if jws.doubts.iter().all(|doubt| doubt.starts_with("O09")) => expected,
                Ok(_) => id == MAY_BE_REFUSED,
            };
            if !agrees {
                wrong.push(format!("{id} {} ({}): {verified:?}", test["comment"], test["result"]));
            }
            counted += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {counted}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(vectors["numberOfTests"], counted);
    eprintln!("{counted} vectors agree");
}
