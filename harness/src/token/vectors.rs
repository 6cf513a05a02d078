//! Fixed vectors of the standards. They are in nobody's hand: neither the forge nor a key of ours has made them.

use serde_json::{Value, json};

use super::oracle::{Answer, oracle};
use super::rules::Rules;
use super::verify::{VerifyKey, verify_jws};
use super::{Algorithm, Keyring};

/// The claims of RFC 7519 §3.1, which name their issuer and no bearer, with its line breaks: `{"iss":"joe", "exp":1300819380, ...}`.
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

/// When they expire.
const EXPIRY: f64 = 1_300_819_380.0;

struct Vector {
    place: &'static str,
    key: Value,
    algorithm: Algorithm,
    header: &'static str,
    payload: &'static str,
    signature: &'static str,
}

impl Vector {
    fn text(&self) -> String {
        format!("{}.{}.{}", self.header, self.payload, self.signature)
    }

    fn key(&self) -> VerifyKey {
        VerifyKey::from_jwk(&self.key).unwrap_or_else(|error| panic!("{}: {error}", self.place))
    }
}

fn vectors() -> [Vector; 4] {
    [
        // RFC 7519 §3.1 shows the same token.
        Vector {
            place: "RFC 7515 A.1",
            key: json!({
                "kty": "oct",
                "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
            }),
            algorithm: Algorithm::HS256,
            header: "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            payload: JOE,
            signature: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        },
        Vector {
            place: "RFC 7515 A.2",
            key: json!({
                "kty": "RSA",
                "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR\
                      T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB\
                      dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia\
                      GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
                "e": "AQAB",
            }),
            algorithm: Algorithm::RS256,
            header: "eyJhbGciOiJSUzI1NiJ9",
            payload: JOE,
            signature: "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9\
                        uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB\
                        _eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq\
                        Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        },
        Vector {
            place: "RFC 7515 A.3",
            key: json!({
                "kty": "EC",
                "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
            algorithm: Algorithm::ES256,
            header: "eyJhbGciOiJFUzI1NiJ9",
            payload: JOE,
            signature: "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        },
        // Its payload is prose.
        Vector {
            place: "RFC 8037 A.4",
            key: json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
            algorithm: Algorithm::EdDSA,
            header: "eyJhbGciOiJFZERTQSJ9",
            payload: "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            signature: "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        },
    ]
}

fn rules(keys: Vec<VerifyKey>, algorithm: Algorithm) -> Rules {
    let mut rules = Rules::new(&Keyring::new(), algorithm);
    (rules.keys, rules.leeway, rules.issuer) = (keys, Some(0.0), Some("joe".to_owned()));
    rules.identity.claims = vec!["iss".to_owned()];
    rules
}

#[test]
fn the_signatures_of_the_standards_verify_and_no_neighbour_of_them_does() {
    for vector in vectors() {
        let keys = [vector.key()];
        let verified = verify_jws(vector.text().as_bytes(), &keys);
        let verified = verified.unwrap_or_else(|why| panic!("{}: {why:?}", vector.place));
        // That of A.3 is the greater of its two values of s, which is worth a remark and no refusal.
        assert!(
            verified.doubts.iter().all(|doubt| doubt.starts_with("O09")),
            "{}: {:?}",
            vector.place,
            verified.doubts
        );
        // The first character of a segment is never one of its pad bits.
        for place in [0, vector.header.len() + 1, vector.header.len() + vector.payload.len() + 2] {
            let mut text = vector.text().into_bytes();
            text[place] = if text[place] == b'A' { b'B' } else { b'A' };
            assert!(verify_jws(&text, &keys).is_err(), "{}: changed at {place}", vector.place);
        }
        // Nor is it one by the key of another vector.
        let others: Vec<_> = vectors().iter().filter(|other| other.place != vector.place).map(Vector::key).collect();
        assert!(verify_jws(vector.text().as_bytes(), &others).is_err(), "{}: by another key", vector.place);
    }
}

#[test]
fn the_claims_of_the_standards_are_good_until_their_hour() {
    for vector in vectors() {
        let rules = rules(vec![vector.key()], vector.algorithm);
        let answer = |now| {
            let judged = oracle(vector.text().as_bytes(), &rules, now, 0.0);
            let only_remarked = judged.reasons.iter().all(|reason| reason.source == "O09");
            if only_remarked { Answer::Accept } else { judged.answer }
        };
        if vector.payload == JOE {
            let answers = [EXPIRY - 1.0, EXPIRY, EXPIRY + 1.0].map(answer);
            assert_eq!(answers, [Answer::Accept, Answer::Refuse, Answer::Refuse], "{}", vector.place);
        } else {
            assert_eq!(answer(0.0), Answer::Refuse, "{}: prose is no set of claims", vector.place);
        }
    }
}

/// RFC 7519 §6.1: legal as a text, and believed by nobody who has a key.
#[test]
fn the_unsecured_token_of_the_standards_is_refused() {
    let unsecured = format!("eyJhbGciOiJub25lIn0.{JOE}.");
    for vector in vectors() {
        let judged = oracle(unsecured.as_bytes(), &rules(vec![vector.key()], vector.algorithm), EXPIRY - 1.0, 0.0);
        assert_eq!(judged.answer, Answer::Refuse, "{}", vector.place);
        assert!(verify_jws(unsecured.as_bytes(), &[vector.key()]).is_err(), "{}", vector.place);
    }
}
