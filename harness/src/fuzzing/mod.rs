//! What the fuzzer calls, as functions that stable tests call too.
//!
//! A target hands over bytes. A body here makes of them what its room takes, asks the room, and panics where the answer
//! breaks a law: that is a finding. Where raw bytes would not get far, [`arbitrary`] reads values out of them.
//!
//! The list [`TARGETS`] is the only one: each entry has a file of one line in `fuzz/fuzz_targets/` and a folder in
//! `fuzz/corpus/`, and the tests below replay that folder and give each body what proptest makes up.

mod documents;
mod judging;
mod report;
mod seen;
mod token;
mod wire;

/// A name, as `cargo fuzz run` is given it, and the body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target of the harness.
pub const TARGETS: [Target; 7] = [
    ("answer_and_frames", answer_and_frames),
    ("catalogue", catalogue),
    ("deflate", deflate),
    ("judge", judge),
    ("profile", profile),
    ("report", report),
    ("token", token),
];

/// What a server may send: an answer with frames behind it, or frames only.
///
/// # Panics
///
/// Where a law is broken: that is a finding.
pub fn answer_and_frames(input: &[u8]) {
    wire::answer_and_frames(input);
}

/// A negotiation of compression and the payloads of a server.
///
/// # Panics
///
/// Where a law is broken: that is a finding.
pub fn deflate(input: &[u8]) {
    wire::deflate(input);
}

/// A stranger's file of cases.
///
/// # Panics
///
/// Where a law is broken: that is a finding.
pub fn catalogue(input: &[u8]) {
    documents::catalogue(input);
}

/// A stranger's profile.
///
/// # Panics
///
/// Where a law is broken: that is a finding.
pub fn profile(input: &[u8]) {
    documents::profile(input);
}

/// Whatever a session of a bundled case may have seen.
///
/// # Panics
///
/// Where a law is broken: that is a finding.
pub fn judge(input: &[u8]) {
    judging::judge(input);
}

/// Whatever a run may have come to, with the texts of a hostile server in it.
///
/// # Panics
///
/// Where a law is broken: that is a finding.
pub fn report(input: &[u8]) {
    report::report(input);
}

/// A recipe over one of several keys, or a text in the place of a token.
///
/// # Panics
///
/// Where a law is broken: that is a finding.
pub fn token(input: &[u8]) {
    token::token(input);
}

#[cfg(test)]
mod tests;
