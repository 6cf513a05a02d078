//! Needs: what a target must declare for a case to make sense.
//!
//! One flat table: the name as cases write it, the words of a report, and the question to the target. Nothing is asked
//! of the server here; an undeclared thing makes a case not applicable, never wrong.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::case::Over;
use crate::profile::{Carrier, Echo, Environment, RefusesBy, Shape, TokenProfile};
use crate::target::Target;
use crate::token::{Algorithm, KeyKind};

macro_rules! needs {
    ($($(#[doc = $doc:literal])+ $variant:ident, $words:literal, $holds:expr;)+) => {
        /// What a profile must declare for a case to make sense.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Need {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Need {
            /// Every need.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The need in the words of a profile, for the sentence "it needs ..., which the profile does not declare".
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$variant => $words,)+
                }
            }

            /// Whether the target declares it.
            pub fn is_met_by(self, target: &Target) -> bool {
                match self {
                    $(Self::$variant => {
                        let holds: fn(&Target) -> bool = $holds;
                        holds(target)
                    })+
                }
            }
        }
    };
}

needs! {
    // ---- carriers ----
    /// The token rides in the request target.
    UrlCarrier, "a carrier in the URL", |target| has(target, Carrier::is_in_url);
    /// The token rides in a path segment.
    PathCarrier, "a path carrier", |target| has(target, |carrier| *carrier == Carrier::Path);
    /// The token rides in a query parameter.
    QueryCarrier, "a query carrier", |target| has(target, |carrier| matches!(carrier, Carrier::Query(_)));
    /// The token rides in `Authorization`.
    HeaderCarrier, "an `authorization: Bearer` carrier", |target| {
        has(target, |carrier| matches!(carrier, Carrier::Authorization(scheme) if scheme.eq_ignore_ascii_case("Bearer")))
    };
    /// A cookie carries the token.
    CookieCarrier, "a cookie carrier", |target| has(target, |carrier| matches!(carrier, Carrier::Cookie(_)));
    /// The token is one of the offered subprotocols.
    SubprotocolCarrier, "a subprotocol carrier", |target| has(target, |carrier| matches!(carrier, Carrier::Subprotocol(_)));
    /// A subprotocol carries the base64url of the token.
    EncodedSubprotocolCarrier, "a subprotocol carrier with `{token_base64url}`", |target| {
        has(target, |carrier| Over::EncodedSubprotocol.includes(0, carrier))
    };
    /// The token is told in the first message.
    FirstMessageCarrier, "a `first_message` carrier", |target| target.profile.first_message().is_some();
    /// More than one carrier of the opening request is declared.
    TwoCarriers, "more than one carrier in the opening request", |target| {
        target.profile.carriers.iter().filter(|carrier| carrier.is_in_opening()).count() > 1
    };
    /// Quotes around a token are part of it. In a cookie they are not: its value may stand between two (RFC 6265 §4.1.1).
    QuotedTokenIsAnother, "a first carrier that is no cookie", |target| {
        !matches!(target.profile.carriers.first(), Some(Carrier::Cookie(_)))
    };

    // ---- tokens ----
    /// The key is a shared secret.
    Hmac, "an HMAC key", |target| target.algorithm.key_kind() == KeyKind::Secret;
    /// A public RSA key of the target is known.
    RsaPublicKey, "an RSA key in `keys`", |target| target.keys.public(KeyKind::Rsa).is_some();
    /// A private RSA key of the target is known.
    RsaPrivateKey, "a private RSA key in `keys`", |target| target.keys.private(KeyKind::Rsa).is_some();
    /// A public key of the target on an elliptic curve of ECDSA is known.
    EcPublicKey, "a key for ECDSA in `keys`", |target| {
        Algorithm::ECDSA.iter().any(|algorithm| target.keys.public(algorithm.key_kind()).is_some())
    };
    /// A private key of the target on an elliptic curve of ECDSA is known.
    EcPrivateKey, "a private key for ECDSA in `keys`", |target| {
        Algorithm::ECDSA.iter().any(|algorithm| target.keys.private(algorithm.key_kind()).is_some())
    };
    /// A private P-256 key of the target is known.
    P256PrivateKey, "a private P-256 key in `keys`", |target| target.keys.private(KeyKind::P256).is_some();
    /// A public Ed25519 key of the target is known.
    EdPublicKey, "an Ed25519 key in `keys`", |target| target.keys.public(KeyKind::Ed25519).is_some();
    /// A private Ed25519 key of the target is known.
    EdPrivateKey, "a private Ed25519 key in `keys`", |target| target.keys.private(KeyKind::Ed25519).is_some();
    /// A public key of the target is known, of whatever kind.
    PublicKey, "an asymmetric key in `keys`", |target| !target.keys.public_keys().is_empty();
    /// `algorithms` is declared.
    Algorithms, "`algorithms`", |target| target.profile.algorithms.is_some();
    /// `kid` is declared.
    Kid, "`kid`", |target| target.profile.kid.is_some();
    /// `jwks_url` is declared.
    Jwks, "`jwks_url`", |target| target.profile.jwks_url.is_some();
    /// `jku_allowlist` is declared.
    JkuAllowlist, "`jku_allowlist`", |target| !target.profile.jku_allowlist.is_empty();
    /// A second issuer with a key of its own is declared.
    SecondIssuer, "an entry in `other_issuers`", |target| !target.profile.other_issuers.is_empty();
    /// Secrets that are no longer accepted are declared.
    RetiredSecrets, "`retired_secrets`", |target| !target.profile.retired_secrets.is_empty();
    /// `leeway` is declared.
    Leeway, "`leeway`", |target| target.profile.leeway.is_some();
    /// `leeway: 0` is declared.
    NoLeeway, "`leeway: 0`", |target| target.profile.leeway == Some(0);
    /// `require_exp: true` is declared.
    RequireExp, "`require_exp: true`", |target| target.profile.require_exp == Some(true);
    /// `require_exp: false` is declared.
    OptionalExp, "`require_exp: false`", |target| target.profile.require_exp == Some(false);
    /// `max_token_age` is declared.
    MaxTokenAge, "`max_token_age`", |target| target.profile.max_token_age.is_some();
    /// `max_token_lifetime` is declared.
    MaxTokenLifetime, "`max_token_lifetime`", |target| target.profile.max_token_lifetime.is_some();
    /// `audience` is declared.
    Audience, "`audience`", |target| target.profile.audience.is_some();
    /// `issuer` is declared.
    Issuer, "`issuer`", |target| target.profile.issuer.is_some();
    /// The tokens are access tokens of RFC 9068.
    Rfc9068, "`profile: rfc9068`", |target| target.profile.profile == Some(TokenProfile::Rfc9068);
    /// `token_type` is declared.
    TokenType, "`token_type`", |target| target.profile.token_type.is_some();
    /// `typ` decides: `profile: rfc9068` or `token_type` is declared.
    TypPolicy, "`profile: rfc9068` or `token_type`", |target| target.typ().is_some();
    /// `refresh_marker` is declared.
    RefreshMarker, "`refresh_marker`", |target| !target.profile.refresh_marker.is_empty();
    /// `required_scope` is declared.
    RequiredScope, "`required_scope`", |target| target.profile.required_scope.is_some();
    /// `jti_single_use: true` is declared.
    SingleUse, "`jti_single_use: true`", |target| target.profile.jti_single_use;
    /// `user_directory: true` is declared.
    UserDirectory, "`user_directory: true`", |target| target.profile.user_directory;
    /// `user` or `user_directory: true` is declared: the server may know no other user.
    PinnedUser, "`user` or `user_directory: true`", |target| {
        target.profile.user.is_some() || target.profile.user_directory
    };
    /// `identity_claims` is declared.
    IdentityClaim, "`identity_claims`", |target| !target.profile.identity_claims.is_empty();
    /// A token without an identity is promised a refusal: `identity_claims` without `identity_fallback`.
    RequiredIdentity, "`identity_claims` without an `identity_fallback`", |target| {
        !target.profile.identity_claims.is_empty() && target.profile.identity_fallback.is_none()
    };
    /// The claims that a token must have are declared.
    RequiredClaims, "`required_claims`", |target| !target.profile.required_claims.is_empty();
    /// `roles` is declared.
    Roles, "`roles`", |target| target.profile.roles.is_some();
    /// The role is one of a list.
    RoleList, "`roles.list: true`", |target| target.profile.role_place().is_some_and(|place| place.list);
    /// `roles.default` is declared and refused.
    DefaultRole, "a `roles.default` that is refused", |target| target.profile.roles.as_ref().is_some_and(|roles| {
        roles.default.as_ref().is_some_and(|default| !roles.allowed.contains(default))
    });
    /// `roles.default` is declared and let in: a server may take it for any role that it does not know.
    HarmlessDefaultRole, "a `roles.default` that is let in", |target| target.profile.roles.as_ref().is_some_and(|roles| {
        roles.default.as_ref().is_some_and(|default| roles.allowed.contains(default))
    });
    /// A role that is refused is declared.
    DeniedRole, "a role in `roles` that is refused", |target| {
        target.profile.roles.as_ref().is_some_and(|roles| roles.refused().next().is_some())
    };
    /// A token of another kind can be told from one of this target's: by `aud`, or by a `typ` that not every JWT has.
    TokenKind, "`audience`, `profile: rfc9068` or a `token_type` other than JWT", |target| {
        let is_any = |typ: &str| ["JWT", "application/jwt"].iter().any(|any| any.eq_ignore_ascii_case(typ));
        target.profile.audience.is_some() || target.typ().is_some_and(|typ| !is_any(typ))
    };
    /// A public key on a curve is known.
    CurvePublicKey, "an EC or Ed25519 key in `keys`", |target| {
        target.keys.public_keys().iter().any(|key| key.kind() != KeyKind::Rsa)
    };
    /// Words that must not be the secret are declared.
    WeakSecrets, "`weak_secrets`", |target| !target.profile.weak_secrets.is_empty();
    /// `test_token` is declared.
    FixedTestToken, "`test_token`", |target| target.test_token.is_some();

    // ---- the handshake ----
    /// `subprotocol` is declared.
    Subprotocol, "`subprotocol`", |target| target.profile.subprotocol.is_some();
    /// `allowed_origins` is declared.
    AllowedOrigins, "`allowed_origins`", |target| !target.profile.allowed_origins.is_empty();
    /// `require_origin: true` is declared.
    RequireOrigin, "`require_origin: true`", |target| target.profile.require_origin;
    /// The token is a subprotocol unless a case has it elsewhere.
    SubprotocolFirst, "a subprotocol as its first carrier", |target| {
        matches!(target.profile.carriers.first(), Some(Carrier::Subprotocol(_)))
    };
    /// Every opening offers a subprotocol.
    OffersSubprotocol, "`offer_subprotocol: true` or a subprotocol as its first carrier", |target| {
        target.profile.offer_subprotocol || Need::SubprotocolFirst.is_met_by(target)
    };
    /// The connection is encrypted.
    Tls, "a wss URL", |target| target.endpoint.tls;
    /// `plain_port` is declared.
    PlainPort, "`plain_port`", |target| target.profile.plain_port.is_some();
    /// The target can reach the harness: it runs on this machine, or `listener` is declared.
    Listener, "`listener`", |target| target.endpoint.is_local() || target.profile.listener.is_some();
    /// The target runs on this machine, so that the two clocks are one.
    SameHost, "a target on this machine", |target| target.endpoint.is_local();

    // ---- refusals ----
    /// A signal is declared.
    Signals, "`signals`", |target| {
        target.profile.signals.values().any(|signal| signal.close.is_some() || signal.http.is_some())
    };
    /// A refusal with a close code is promised.
    ClosePromised, "a refusal by close code", |target| {
        target.profile.refuses_by != Some(RefusesBy::Http)
            && target.profile.signals.values().any(|signal| signal.close.is_some())
    };
    /// It is promised that refusals come before the upgrade.
    RefusesByHttp, "`refuses_by: http`", |target| {
        target.profile.refuses_by == Some(RefusesBy::Http) && target.profile.first_message().is_none()
    };
    /// Reason texts are promised.
    Reasons, "a reason text in `signals`", |target| target.profile.signals.values().any(|signal| signal.reason.is_some());

    // ---- messages ----
    /// `welcome` is declared.
    Welcome, "`welcome`", |target| target.profile.welcome.is_some();
    /// `echo` is declared, or was seen.
    Echo, "`echo`", |target| target.profile.echo.is_some();
    /// `echo` is declared and tells which message it answers.
    FaithfulEcho, "an `echo` that repeats the message", |target| {
        target.profile.echo.as_ref().is_some_and(Echo::is_faithful)
    };
    /// `echo` is declared, and any text is a message: it has no form that an empty one would break.
    EchoOfAnyText, "an `echo` whose `send` is `{message}`", |target| {
        target.profile.echo.as_ref().is_some_and(|echo| echo.send == "{message}")
    };
    /// `echo.broadcast` is true.
    Broadcast, "`echo.broadcast`", |target| target.profile.echo.as_ref().is_some_and(|echo| echo.broadcast);
    /// The messages of the application are JSON.
    Json, "an `echo` in JSON", |target| {
        target.profile.echo.as_ref().is_some_and(|echo| matches!(echo.reply, Shape::Json(_)))
    };
    /// `identity_echo` is declared.
    IdentityEcho, "`identity_echo`", |target| target.profile.identity_echo.is_some();
    /// `time_echo` is declared.
    TimeEcho, "`time_echo`", |target| target.profile.time_echo.is_some();
    /// `id_echo` is declared.
    IdEcho, "`id_echo`", |target| target.profile.id_echo.is_some();
    /// `keepalive_text` is declared.
    Keepalive, "`keepalive_text`", |target| target.profile.keepalive_text.is_some();
    /// `max_message_bytes` is declared.
    MaxMessageBytes, "`max_message_bytes`", |target| target.profile.max_message_bytes.is_some();

    // ---- endpoints beside the socket ----
    /// `http.health` is declared.
    Health, "`http.health`", |target| target.profile.http.contains_key("health");
    /// The answer of `http.health` is declared to hold a `timestamp`.
    HealthTime, "`http.health.answer` with `/timestamp`", |target| {
        target.profile.http.get("health").is_some_and(|health| health.answer.contains_key("/timestamp"))
    };
    /// `http.login` is declared.
    Login, "`http.login`", |target| target.profile.http.contains_key("login");
    /// A token is in the answer of `http.login`, which may as well begin a session by a cookie.
    IssuedToken, "`http.login.token`", |target| {
        target.profile.http.get("login").is_some_and(|login| login.token.is_some())
    };
    /// `http.login` is a token endpoint of OAuth 2.0: it takes a form, and its answer is declared to be that of RFC 6749 §5.1.
    OauthLogin, "`http.login` with a `form`, and an `answer` with `/access_token` and `/token_type`", |target| {
        target.profile.http.get("login").is_some_and(|login| {
            let answers = |pointer| login.answer.contains_key(pointer);
            !login.form.is_empty() && answers("/access_token") && answers("/token_type")
        })
    };
    /// The answer of `http.login` is declared to hold a `refresh_token`.
    RefreshToken, "`http.login.answer` with `/refresh_token`", |target| {
        target.profile.http.get("login").is_some_and(|login| login.answer.contains_key("/refresh_token"))
    };
    /// `http.test_token` is declared.
    TestToken, "`http.test_token`", |target| target.profile.http.contains_key("test_token");
    /// `http.validate` is declared.
    Validate, "`http.validate`", |target| target.profile.http.contains_key("validate");
    /// The headers are declared in which `http.validate` names the bearer.
    ValidateCaller, "`http.validate.caller`", |target| {
        target.profile.http.get("validate").is_some_and(|validate| !validate.caller.is_empty())
    };
    /// `environment: production` is declared.
    Production, "`environment: production`", |target| target.profile.environment == Some(Environment::Production);
}

fn has(target: &Target, wanted: fn(&Carrier) -> bool) -> bool {
    target.profile.carriers.iter().any(wanted)
}
