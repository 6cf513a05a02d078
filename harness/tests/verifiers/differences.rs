//! Where a verifier is known to answer otherwise than the standards leave it to, and why. Data: one entry for each
//! difference, with a token that shows it. `tests/differential.rs` fails when a token no longer does.

use gatecrash_reference_server::fuzzing::{Change, MemberValue as Value, NAMES, Name, Sketch, WORDS};

/// A verifier beside the oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The gate of the reference server. It has no entry, and must have none.
    Gate,
    /// jsonwebtoken.
    Jsonwebtoken,
    /// jwt-compact.
    JwtCompact,
}

/// In which direction it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// It admits what must be refused.
    Admit,
    /// It refuses what must be admitted.
    Refuse,
}

/// A known difference.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Who differs.
    pub(crate) who: Who,
    /// In which direction.
    pub(crate) does: Does,
    /// The source that the oracle refuses by; or, for a refusal, what the verifier's error says.
    pub(crate) because: &'static str,
    /// The member of the header without which the difference is another one.
    pub(crate) only_with: Option<&'static str>,
    /// What lies behind it.
    pub(crate) reason: &'static str,
    /// A token that shows it.
    pub(crate) witness: fn() -> Sketch,
}

fn name(text: &str) -> Name {
    Name::Known(NAMES.iter().position(|name| *name == text).expect("a known name") as u8)
}

fn word(text: &str) -> Value {
    Value::Word(WORDS.iter().position(|word| *word == text).expect("a known word") as u8)
}

/// All of them.
pub(crate) static ALL: &[Difference] = &[
    Difference {
        who: Who::Jsonwebtoken,
        does: Does::Admit,
        because: "J10",
        only_with: Some("crit"),
        reason: "crit is not looked at, though RFC 7515 §4.1.11 demands it",
        witness: || Sketch::new(0, vec![Change::Header(name("crit"), Value::List(vec![word("alice")]))]),
    },
    Difference {
        who: Who::Jsonwebtoken,
        does: Does::Admit,
        because: "B14",
        only_with: Some("crit"),
        reason: "b64 in crit is not looked at either",
        witness: || Sketch::new(0, vec![Change::Header(name("crit"), Value::List(vec![Value::Text("b64".into())]))]),
    },
    Difference {
        who: Who::Jsonwebtoken,
        does: Does::Refuse,
        because: "invalid type",
        only_with: Some("zip"),
        reason: "zip is no member of a JWS and has to be ignored (RFC 7515 §4), but it is read, and as a text",
        witness: || Sketch::new(0, vec![Change::Header(name("zip"), Value::Number(7))]),
    },
    Difference {
        who: Who::JwtCompact,
        does: Does::Admit,
        because: "J10",
        only_with: Some("crit"),
        reason: "crit is not looked at, though RFC 7515 §4.1.11 demands it",
        witness: || Sketch::new(0, vec![Change::Header(name("crit"), Value::List(vec![word("alice")]))]),
    },
    Difference {
        who: Who::JwtCompact,
        does: Does::Admit,
        because: "B14",
        only_with: Some("crit"),
        reason: "b64 in crit is not looked at either",
        witness: || Sketch::new(0, vec![Change::Header(name("crit"), Value::List(vec![Value::Text("b64".into())]))]),
    },
    Difference {
        who: Who::JwtCompact,
        does: Does::Refuse,
        because: "UnsupportedContentType",
        only_with: Some("cty"),
        reason: "any cty but JSON is refused, though a verifier has to leave it to the application (RFC 7515 §4.1.10)",
        witness: || Sketch::new(0, vec![Change::Header(name("cty"), word("alice"))]),
    },
];
