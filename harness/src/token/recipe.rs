//! The recipe: how a token differs from the valid one. It is what stands under `token:` in a case, decoded
//! from plain JSON values with externally tagged enums only, so that every error names its place. It does not
//! make tokens (`forge` does) and holds no secret: keys are named, never written down.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::algorithm::Algorithm;
use super::interpolate::{self, ForgeError};
use super::ops::Op;

/// Which token a case sends.
///
/// ```yaml
/// token: valid
/// token: absent
/// token: empty
/// token: { literal: "invalid-token-here" }
/// token: { forge: [ { claims: { exp: "${now-3600}" } } ] }
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Recipe {
    /// The token that the profile's template describes, signed with the target's key.
    #[default]
    Valid,
    /// No credential at all.
    Absent,
    /// A credential whose text is empty.
    Empty,
    /// This text, with interpolation, in place of a token.
    Literal(String),
    /// The valid token, changed by these operators. Each acts at its own layer; the order in the list counts
    /// only among operators of one layer.
    Forge(Vec<Op>),
}

impl Recipe {
    /// The algorithm that a token states, where that is all that is unusual about it: the target's own key signs with it.
    #[must_use]
    pub fn genuine_algorithm(&self) -> Option<Algorithm> {
        let Self::Forge(ops) = self else { return None };
        let states = ops.iter().rev().find_map(|op| match op {
            Op::Alg(algorithm) => Some(*algorithm),
            _ => None,
        });
        states.filter(|_| ops.iter().all(|op| matches!(op, Op::Alg(_))))
    }

    /// Whether only who holds the target's signing key can make the token from a real one: what it changes is signed again,
    /// by that key.
    #[must_use]
    pub fn needs_signing_key(&self) -> bool {
        let Self::Forge(ops) = self else { return false };
        ops.iter().any(Op::rests_on_secret) || !Op::sign_as_another(ops) && Op::sign_as_target(ops)
    }

    /// Finds what can be wrong with a recipe before any key is known: unknown names in `${...}`, expressions
    /// that cannot be read, bad hex, and combinations that contradict each other.
    ///
    /// # Errors
    ///
    /// The first fault found, as `forge` would report it.
    pub fn check(&self) -> Result<(), ForgeError> {
        match self {
            Self::Valid | Self::Absent | Self::Empty => Ok(()),
            Self::Literal(text) => interpolate::check_text(text),
            Self::Forge(ops) => ops.iter().try_for_each(Op::check),
        }
    }
}
