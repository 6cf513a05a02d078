//! The token room: recipes, the forge that makes tokens from them, and the oracle that knows whether a correct
//! verifier must admit one. Everything here is a function of its arguments; there are no sockets, no clock and
//! no randomness that is not passed in. It never uses another JWT library: a verifier that shares code with the
//! forger would share its mistakes.

mod algorithm;
mod base64url;
mod bignum;
mod der;
mod document;
mod forge;
mod given;
mod interpolate;
mod json;
mod jwe;
mod keyring;
mod keys;
mod mint;
mod minted;
mod ops;
mod oracle;
mod recipe;
mod rules;
mod segment;
mod sign;
mod signature;
#[cfg(test)]
mod vectors;
mod verify;
mod x509;

pub use algorithm::{Algorithm, KeyKind};
pub use forge::{fill, forge};
pub(crate) use interpolate::UNDECLARED_LEEWAY;
pub use interpolate::{ForgeError, KNOWN_NAMES, check_text};
pub use keyring::Keyring;
pub use keys::{KeyError, PrivateKey, PublicKey};
pub use mint::{DEFAULT_USER, Declared, Mint, OtherIssuer, RolePlace, Words, default_claims, default_header};
pub use minted::{Description, SegmentShape, Token};
pub use ops::{
    At, AttackerKey, Character, EcScalar, EcValues, EdShape, Effect, Encoding, Insert, JsonSerialization, Jwe,
    KeyChoice, Layer, Op, OpInfo, Part, Pkcs1Shape, PssSalt, PublicForm, RsaValue, Sign, Style, Suits, Syntax,
};
pub(crate) use oracle::USUAL_IDENTITY;
pub use oracle::{Answer, Judgement, Reason, oracle};
pub use recipe::Recipe;
pub use rules::{IdentityRule, RoleRule, Rules, TypRule};
pub use sign::genuine_signatures;
pub use verify::{Jws, VerifyKey, verify_jws};
pub use x509::{attacker_certificate, attacker_jwks};
