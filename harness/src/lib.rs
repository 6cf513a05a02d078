//! Conformance harness for WebSocket endpoints that authenticate with a JWT.
//!
//! It holds the signing key, so for every token it sends it knows whether a correct verifier must admit it. It tells
//! whether a client was refused apart from how it was told, and counts a refusal only beside a control: the same
//! connection with a good token, admitted before and after.
//!
//! [`Suite`] runs the bundled cases against a [`Target`] and gives a [`Report`]. Everything but [`mod@run`] is a total
//! function of its arguments; the walls between the rooms are drawn in `ARCHITECTURE.md`.

pub mod bundled;
pub mod carrier;
pub mod case;
pub mod catalogue;
#[cfg(feature = "command")]
pub mod command;
pub mod diagnosis;
pub mod document;
mod flaw;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hex;
pub mod judge;
pub mod kept;
pub mod login;
pub mod mutation;
pub mod need;
pub mod observation;
pub mod outcome;
pub mod pages;
pub mod plan;
pub mod probe;
pub mod profile;
pub mod redact;
pub mod report;
pub mod run;
pub mod secret;
mod suite;
pub mod target;
pub mod tls;
pub mod token;
pub mod transcript;
pub mod verdict;
pub mod wire;

pub use catalogue::Catalogue;
pub use profile::Profile;
pub use report::Report;
pub use suite::Suite;
pub use target::{Target, TargetError};
pub use verdict::Verdict;
