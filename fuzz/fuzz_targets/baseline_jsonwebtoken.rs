//! The bytes as a token into `jsonwebtoken::decode`. The targets of parser and gate are measured beside it.

#![no_main]

use std::hint::black_box;
use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

static KEY: LazyLock<DecodingKey> = LazyLock::new(|| DecodingKey::from_secret(b"a secret that only the fuzzer has"));
static VALIDATION: LazyLock<Validation> = LazyLock::new(|| Validation::new(Algorithm::HS256));

libfuzzer_sys::fuzz_target!(|input: &[u8]| drop(black_box(decode::<serde_json::Value>(input, &KEY, &VALIDATION))));
