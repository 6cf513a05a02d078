//! How is a refusal told?
//!
//! A refusal, a dialect and a style in; a close code with its reason, or an HTTP answer out. The texts are the
//! documents' own, word for word. Pure: who is refused was decided elsewhere, and the sending is `session`'s.

use axum::http::StatusCode;

use crate::dialect::Dialect;
use crate::gate::Refusal;

/// Longest reason of a close frame: 125 bytes of a control frame less the code (RFC 6455 §5.5).
pub(crate) const REASON_BYTES: usize = 123;

/// Why nobody was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The token.
    Token(Refusal),
    /// The bearer is believed but has as many connections as allowed.
    TooManyConnections,
    /// The authentication service answered, but with neither yes nor no.
    ServiceFailed,
}

/// The Close that tells a refusal after the upgrade. The reason is bytes because faults send what is no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    pub(crate) reason: Vec<u8>,
}

impl Closing {
    pub(crate) fn new(code: u16, reason: &str) -> Self {
        Self { code, reason: cut(reason).as_bytes().to_vec() }
    }
}

/// The HTTP answer that tells a refusal before the upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpRefusal {
    pub(crate) status: StatusCode,
    /// The value of WWW-Authenticate.
    pub(crate) challenge: Option<&'static str>,
    /// Whether Retry-After is worth sending.
    pub(crate) retry: bool,
    pub(crate) detail: String,
}

/// The dialect's code and reason.
pub(crate) fn closing(dialect: Dialect, denial: &Denial) -> Closing {
    let code = match (dialect, denial) {
        // 1013 and not an authentication code: the client is right to come back later.
        (_, Denial::TooManyConnections | Denial::ServiceFailed) => 1013,
        (_, Denial::Token(Refusal::Internal(_))) if dialect != Dialect::Simutrador => 1011,
        (Dialect::Simutrador, Denial::Token(refusal)) => match refusal {
            Refusal::Missing => 4001,
            Refusal::Malformed(_) | Refusal::BadSignature(_) | Refusal::BadClaims(_) => 4002,
            Refusal::Expired => 4003,
            Refusal::RoleNotAllowed(_) | Refusal::Internal(_) => 4000,
        },
        // 3000 Unauthorized and 3003 Forbidden, as registered; a private code tells that a new token would do.
        (Dialect::Strict, Denial::Token(refusal)) => match refusal {
            Refusal::Expired => 4401,
            Refusal::RoleNotAllowed(_) => 3003,
            _ => 3000,
        },
        _ => 1008,
    };
    Closing::new(code, &reason(dialect, denial))
}

/// The dialect's words, uncut.
pub(crate) fn reason(dialect: Dialect, denial: &Denial) -> String {
    let refusal = match denial {
        Denial::Token(refusal) => refusal,
        Denial::TooManyConnections if dialect == Dialect::Simutrador => {
            return "RATE_LIMITED: Too many connections".to_owned();
        }
        Denial::TooManyConnections => return "Too many connections".to_owned(),
        Denial::ServiceFailed => return "Authentication service unavailable".to_owned(),
    };
    let text = match (dialect, refusal) {
        (Dialect::PersonalAssistant, _) => "Invalid token",
        (Dialect::Shipvox, Refusal::Missing) => "Missing authentication token",
        (Dialect::Shipvox, Refusal::BadClaims(which)) if names_identity(which) => "Invalid token payload",
        (Dialect::Shipvox, _) => "Invalid or expired token",
        (Dialect::Simutrador, Refusal::Missing) => "Authentication required",
        (Dialect::Simutrador, Refusal::Expired) => "Token expired",
        (Dialect::Simutrador, Refusal::RoleNotAllowed(_) | Refusal::Internal(_)) => "Authentication error",
        (Dialect::Simutrador, _) => "Invalid token",
        (Dialect::Omni2, Refusal::Missing) => "Authentication required: No token provided",
        (Dialect::Omni2, Refusal::RoleNotAllowed(role)) => {
            return format!("Insufficient permissions: Role '{role}' not authorized");
        }
        (Dialect::Omni2, _) => "Authentication failed: Invalid or expired token",
        (Dialect::Strict, Refusal::Missing) => "Authentication required",
        (Dialect::Strict, Refusal::Expired) => "Token expired",
        (Dialect::Strict, Refusal::RoleNotAllowed(_)) => "Forbidden",
        (Dialect::Strict, _) => "Invalid token",
    };
    text.to_owned()
}

/// Is it the claim that names the bearer, and not for example `nbf`?
fn names_identity(which: &str) -> bool {
    which.contains("identity")
}

/// Status and challenge (RFC 9110 §15.5.2, RFC 6750 §3).
pub(crate) fn http(dialect: Dialect, denial: &Denial) -> HttpRefusal {
    let (status, challenge) = match denial {
        // RFC 6750 §3.1: no error code when no credentials were sent.
        Denial::Token(Refusal::Missing) => (StatusCode::UNAUTHORIZED, Some("Bearer")),
        Denial::Token(Refusal::RoleNotAllowed(_)) => {
            (StatusCode::FORBIDDEN, Some("Bearer error=\"insufficient_scope\""))
        }
        Denial::Token(Refusal::Internal(_)) => (StatusCode::INTERNAL_SERVER_ERROR, None),
        Denial::Token(_) => (StatusCode::UNAUTHORIZED, Some("Bearer error=\"invalid_token\"")),
        Denial::TooManyConnections => (StatusCode::TOO_MANY_REQUESTS, None),
        Denial::ServiceFailed => (StatusCode::SERVICE_UNAVAILABLE, None),
    };
    HttpRefusal {
        status,
        challenge,
        retry: matches!(denial, Denial::TooManyConnections | Denial::ServiceFailed),
        detail: match denial {
            Denial::Token(Refusal::Internal(_)) => "Internal error".to_owned(),
            _ => reason(dialect, denial),
        },
    }
}

/// As much of `reason` as a close frame holds, cut between characters: half a character is no UTF-8 (§5.5.1).
pub(crate) fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Denial> {
        vec![
            Denial::Token(Refusal::Missing),
            Denial::Token(Refusal::Malformed("x")),
            Denial::Token(Refusal::BadSignature("x")),
            Denial::Token(Refusal::BadClaims("no identity claim")),
            Denial::Token(Refusal::BadClaims("nbf in the future")),
            Denial::Token(Refusal::Expired),
        ]
    }

    fn told(dialect: Dialect) -> Vec<(u16, String)> {
        all()
            .iter()
            .map(|denial| closing(dialect, denial))
            .map(|closing| (closing.code, String::from_utf8_lossy(&closing.reason).into_owned()))
            .collect()
    }

    #[test]
    fn the_documents_words() {
        let same = |code, texts: [&str; 6]| texts.map(|text| (code, text.to_owned())).to_vec();
        assert_eq!(told(Dialect::PersonalAssistant), same(1008, ["Invalid token"; 6]));
        let ioe = "Invalid or expired token";
        assert_eq!(
            told(Dialect::Shipvox),
            same(1008, ["Missing authentication token", ioe, ioe, "Invalid token payload", ioe, ioe])
        );
        let failed = "Authentication failed: Invalid or expired token";
        assert_eq!(
            told(Dialect::Omni2),
            same(1008, ["Authentication required: No token provided", failed, failed, failed, failed, failed])
        );
        let codes: Vec<_> = told(Dialect::Simutrador).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, [4001, 4002, 4002, 4002, 4002, 4003]);
    }

    #[test]
    fn a_role_is_named_and_never_cut_inside_a_character() {
        let role = |role: &str| closing(Dialect::Omni2, &Denial::Token(Refusal::RoleNotAllowed(role.to_owned())));
        assert_eq!(role("viewer").reason, b"Insufficient permissions: Role 'viewer' not authorized");
        for length in 40..80 {
            let reason = role(&"é".repeat(length)).reason;
            assert!(reason.len() <= REASON_BYTES && str::from_utf8(&reason).is_ok(), "{length}");
        }
    }

    #[test]
    fn challenges_follow_rfc_6750() {
        for dialect in Dialect::ALL {
            let missing = http(*dialect, &Denial::Token(Refusal::Missing));
            assert_eq!((missing.status.as_u16(), missing.challenge), (401, Some("Bearer")));
            let expired = http(*dialect, &Denial::Token(Refusal::Expired));
            assert_eq!((expired.status.as_u16(), expired.challenge), (401, Some("Bearer error=\"invalid_token\"")));
            let role = http(*dialect, &Denial::Token(Refusal::RoleNotAllowed("x".to_owned())));
            assert_eq!(role.status.as_u16(), 403);
        }
    }
}
