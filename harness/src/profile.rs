//! The profile: what a target server says about itself.
//!
//! A field that is not declared promises nothing, and a case that rests on it is not applicable. Reading a profile
//! touches neither the environment nor files; [`crate::secret`] does. No verdicts here.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::document::{Code, Diagnostics, Document, Path, did_you_mean};
use crate::flaw::{self, Flaw};
use crate::schema;
use crate::token::{Algorithm, RolePlace, USUAL_IDENTITY};

/// What a target declares. `url` and `secret` are enough for most cases.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Profile {
    /// What reports call the target.
    pub name: String,
    /// The preset whose fields hold where this profile says nothing.
    pub extends: Option<String>,
    /// Where the endpoint is, with `{token}` where the token goes.
    pub url: Option<String>,
    /// Where the signing secret is found: `env:NAME`, `file:PATH`, `hex:`, `base64:`, `base64url:`, or the text itself.
    pub secret: Option<String>,
    /// A real token, where the key to sign with is not ours to know: `env:NAME`, `file:PATH`, or the text itself. White space
    /// around it is left out. Where this or `login` is declared, no token is made, and `secret` and private keys are not
    /// read; cases that need a token of their own do not apply.
    pub token: Option<String>,
    /// How to get such a token. Where neither this nor `token` nor a key is declared, `http.login` is used, if it says where
    /// the token is.
    pub login: Option<Login>,
    /// The target's asymmetric keys: private ones to sign with, public ones to attack with.
    pub keys: Keys,
    /// Secrets that the target has used before and no longer accepts, written as `secret` is.
    pub retired_secrets: Vec<String>,
    /// Words that must not be its secret, beside those that are known everywhere.
    pub weak_secrets: Vec<String>,
    /// The JWS `alg` of the target's own tokens. Unset, HS256, or the natural one of the first private key.
    #[schemars(with = "Option<Algorithm>")]
    pub algorithm: Option<String>,
    /// The only algorithms the target promises to accept.
    pub algorithms: Option<Vec<String>>,
    /// The `kid` of the key its tokens are signed with.
    pub kid: Option<String>,
    /// Where the target publishes its keys, or takes them from (RFC 7517).
    pub jwks_url: Option<String>,
    /// The addresses of key sets that a token's `jku` may name, such as `https://keys.example/`; no other is asked.
    pub jku_allowlist: Vec<String>,
    /// Further issuers the target trusts, each with a key of its own.
    pub other_issuers: Vec<Issuer>,
    /// What kind of token the target takes.
    pub profile: Option<TokenProfile>,
    /// The media type that `typ` must name, and no other (RFC 8725 §3.11).
    pub token_type: Option<String>,
    /// The `aud` a token must name (RFC 7519 §4.1.3).
    pub audience: Option<String>,
    /// The `iss` a token must have (RFC 7519 §4.1.1).
    pub issuer: Option<String>,
    /// A scope that a token must grant, as a word of the claim `scope`.
    pub required_scope: Option<String>,
    /// Header members of the valid token, over the default template; `null` takes one away.
    pub header: Map<String, Value>,
    /// Claims of the valid token, over the default template; `null` takes one away.
    pub claims: Map<String, Value>,
    /// Claims that make a token of this target a refresh token, such as `token_use: refresh`.
    pub refresh_marker: Map<String, Value>,
    /// A fixed token that opens the gate in development and nowhere else, written as `secret` is.
    pub test_token: Option<String>,
    /// The greatest age of a token since its `iat`, in seconds.
    pub max_token_age: Option<u64>,
    /// The greatest distance from `iat` to `exp`, in seconds.
    pub max_token_lifetime: Option<u64>,
    /// Whether a token of the same `jti` is accepted only once.
    pub jti_single_use: bool,
    /// Whether a client that shows no token is served as a guest. No case then asks that one is refused; one that shows a bad
    /// token still is.
    pub anonymous: bool,
    /// Whether the bearer must be known to the target; `user` then names one that is.
    pub user_directory: bool,
    /// The claims that name the bearer, in order of precedence.
    pub identity_claims: Vec<String>,
    /// The identity a token without identity claims is given; such a token is then served.
    pub identity_fallback: Option<String>,
    /// The claims without which the target refuses a token.
    pub required_claims: Vec<String>,
    /// The identity every valid token names. Unset, each trial has its own, so that limits per user are not met.
    pub user: Option<String>,
    /// Where the endpoint reads its token. Unset, the place of `{token}` in the URL.
    pub carriers: Vec<Carrier>,
    /// The subprotocol that the target speaks when it is offered (RFC 6455 §1.9).
    pub subprotocol: Option<String>,
    /// The only origins whose pages may connect (RFC 6455 §10.2).
    pub allowed_origins: Vec<String>,
    /// Whether a client without `Origin` is refused.
    pub require_origin: bool,
    /// Whether every opening names the first of `allowed_origins` unless its case says otherwise.
    pub send_origin: bool,
    /// Whether every opening offers `subprotocol` unless its case says otherwise, for targets that insist on it.
    pub offer_subprotocol: bool,
    /// The certificate authority of a `wss` target that no public one vouches for: the path of a file in PEM, or its text.
    pub ca: Option<String>,
    /// The port of the same host that takes connections without TLS, to send them elsewhere.
    pub plain_port: Option<u16>,
    /// Where the target can reach the harness, for the cases that see whether it fetches what a token points at.
    pub listener: Option<Listener>,
    /// Whether refusals come before the upgrade, by HTTP, or after it, by a close frame.
    pub refuses_by: Option<RefusesBy>,
    /// What a refused client is told, by the class of the refusal.
    #[schemars(schema_with = "schema::by_word::<Class, Signal>")]
    pub signals: BTreeMap<Class, Signal>,
    /// Which role opens the gate.
    pub roles: Option<Roles>,
    /// What every client says first after the upgrade, before anything else is understood.
    pub prelude: Option<Prelude>,
    /// Texts by which the target asks whether the client is there, where it does not ask by ping frames.
    pub heartbeat: Option<Heartbeat>,
    /// What an admitted client is sent without asking.
    pub welcome: Option<Shape>,
    /// How to make the server answer a message.
    pub echo: Option<Echo>,
    /// Where in an echoed message the server names its sender, as a JSON Pointer.
    pub identity_echo: Option<String>,
    /// Where in an echoed message the server puts its time, in seconds since 1970, as a JSON Pointer.
    pub time_echo: Option<String>,
    /// Where in an echoed message the server puts an identifier of its own, as a JSON Pointer.
    pub id_echo: Option<String>,
    /// The text a client sends to stay connected.
    pub keepalive_text: Option<String>,
    /// The largest message the target takes, in bytes.
    pub max_message_bytes: Option<u64>,
    /// Seconds a token may be past its `exp`.
    pub leeway: Option<u64>,
    /// Whether a token without `exp` is refused.
    pub require_exp: Option<bool>,
    /// The endpoints beside the socket.
    pub http: BTreeMap<String, HttpEndpoint>,
    /// `development` or `production`.
    pub environment: Option<Environment>,
    /// Milliseconds within which a refusal is prompt.
    pub refusal_budget_ms: Option<u64>,
    /// Milliseconds within which half of all handshakes are answered.
    pub handshake_budget_ms: Option<u64>,
    /// Milliseconds of silence after which an upgraded connection counts as left open.
    pub settle_ms: Option<u64>,
    /// What is known to fail for now, each with its reason. One that no longer fails, or names no case, fails the run.
    pub known_gaps: Vec<KnownGap>,
    /// What `gatecrash probe` has seen, in the words of a profile. It promises nothing and no run reads it, until a person
    /// moves a line out of it.
    pub observed: Option<Box<Profile>>,
}

/// A case that is known to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct KnownGap {
    /// The code of the case (`SIG-008`), or one trial of it (`SIG-008@query`).
    pub case: String,
    /// Why it is left open: a ticket, a date, who said so.
    pub reason: String,
    /// Words of what is seen meanwhile. What fails otherwise is another failure, and no known one.
    #[serde(default)]
    pub observed: Option<String>,
}

impl KnownGap {
    /// Whether it names the trial of this identity.
    pub fn names(&self, id: &str) -> bool {
        let code = id.split_once('@').map_or(id, |(code, _)| code);
        self.case.eq_ignore_ascii_case(id) || self.case.eq_ignore_ascii_case(code)
    }
}

/// Where the target can reach the harness. A target on this machine needs no such entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Listener {
    /// The URL by which the target reaches `bind`, without a slash at its end, such as `http://192.0.2.7:8099`.
    pub public_url: String,
    /// The address and port to listen on, such as `0.0.0.0:8099`.
    pub bind: String,
}

/// The asymmetric keys of a target, each written as a secret is: `file:PATH`, `env:NAME`, or the text itself. A key is
/// PEM, DER or a JWK.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Keys {
    /// Keys to sign with; their public halves are known with them.
    pub private: Vec<String>,
    /// Keys to attack with, or certificates.
    pub public: Vec<String>,
}

/// How a real token is had. Texts of headers, form and JSON may be `env:NAME` or `file:PATH`.
///
/// ```yaml
/// login:
///   url: /api/login                       # on the same host, or a whole URL
///   json: { username: alice, password: env:PASSWORD }
///   token: /access_token
///   refresh_token: /refresh_token
///   refresh: { url: /api/refresh, json: { refresh_token: "{refresh_token}" } }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Login {
    /// The path on the target's host, or a URL.
    pub url: String,
    /// The method.
    #[serde(default = "post")]
    pub method: String,
    /// Headers of the request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A form to post.
    #[serde(default)]
    pub form: BTreeMap<String, String>,
    /// A JSON document to post.
    #[serde(default)]
    pub json: Option<Value>,
    /// Where the token is in the answer, as a JSON Pointer; empty where the whole answer is the token.
    pub token: String,
    /// Where in the answer a token that renews it is, as a JSON Pointer.
    #[serde(default)]
    pub refresh_token: Option<String>,
    /// How it is renewed; unset, by another login.
    #[serde(default)]
    pub refresh: Option<LoginRequest>,
}

/// One request by which a token is renewed, with `{refresh_token}` in the place of what the login gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct LoginRequest {
    /// The path on the target's host, or a URL.
    pub url: String,
    /// The method.
    #[serde(default = "post")]
    pub method: String,
    /// Headers of the request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A form to post.
    #[serde(default)]
    pub form: BTreeMap<String, String>,
    /// A JSON document to post.
    #[serde(default)]
    pub json: Option<Value>,
    /// Where the new token is in the answer; unset, where it is in that of the login.
    #[serde(default)]
    pub token: Option<String>,
}

impl Default for Login {
    fn default() -> Self {
        let LoginRequest { url, method, headers, form, json, .. } = LoginRequest::default();
        Self { url, method, headers, form, json, token: String::new(), refresh_token: None, refresh: None }
    }
}

impl Default for LoginRequest {
    fn default() -> Self {
        Self {
            url: String::new(),
            method: post(),
            headers: BTreeMap::new(),
            form: BTreeMap::new(),
            json: None,
            token: None,
        }
    }
}

/// A further issuer that the target trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Issuer {
    /// Its `iss`.
    pub issuer: String,
    /// Its shared secret, written as `secret` is.
    #[serde(default)]
    pub secret: Option<String>,
    /// Its private key, written as in `keys`.
    #[serde(default)]
    pub private: Option<String>,
    /// The `alg` of its tokens; unset, the natural one of the key.
    #[serde(default)]
    pub algorithm: Option<String>,
    /// The `kid` of its key.
    #[serde(default)]
    pub kid: Option<String>,
}

/// What kind of token a target takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenProfile {
    /// A JWT as RFC 7519 leaves it.
    Plain,
    /// An access token of RFC 9068.
    Rfc9068,
}

/// A place where a token rides.
///
/// ```yaml
/// carriers:
///   - path                                                       # {token} in the path of `url`
///   - query: token                                               # ?token=TOKEN
///   - authorization: Bearer                                      # Authorization: Bearer TOKEN
///   - header: X-Auth-Token                                       # X-Auth-Token: TOKEN
///   - cookie: session                                            # Cookie: session=TOKEN
///   - subprotocol: [bearer, "{token}"]                           # Sec-WebSocket-Protocol: bearer, TOKEN
///   - subprotocol: [chat.v1, "bearer.{token}"]                   # ... chat.v1, bearer.TOKEN
///   - subprotocol: ["{token}"]                                   # ... TOKEN
///   - subprotocol: [chat.v1, "base64url.bearer.authorization.k8s.io.{token_base64url}"]
///   - first_message: { send: '{"type":"auth","token":"{token}"}', reply: { json: { /type: auth_ok } } }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// A segment of the path, where `{token}` stands in the URL.
    Path,
    /// A query parameter of this name.
    Query(String),
    /// `Authorization` with this scheme.
    Authorization(String),
    /// A request header of this name, the token alone.
    Header(String),
    /// A cookie of this name.
    Cookie(String),
    /// An element of `Sec-WebSocket-Protocol`: the whole list that is offered, with `{token}` in the place of the token
    /// or `{token_base64url}` in the place of its base64url.
    Subprotocol(Vec<String>),
    /// The first message after the upgrade.
    FirstMessage(FirstMessage),
    /// A parameter of this name in the body, as a form (RFC 6750 §2.2). No client of a WebSocket can send one, so that no
    /// target may declare it; cases look whether it is read all the same.
    Body(String),
}

/// How a target is told the token once the connection is open.
///
/// Such a target upgrades everybody and decides afterwards. A 101, a pong and an open socket prove nothing there: the
/// client is served when `reply` comes, or the declared `welcome`, or the answer of the declared `echo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct FirstMessage {
    /// What the target says before it can be told a token; waited for, where it is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Shape>,
    /// The text to send, with `{token}` in the place of the token. Where that stands between double quotes the token is
    /// escaped as JSON. What ends a message of this protocol, such as U+001E or CR LF, stands at its end.
    pub send: String,
    /// What the target says when it has accepted the token; `{message}` stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Shape>,
    /// What the target says when it has not. Such a target need not end the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Shape>,
    /// Milliseconds after which the target ends a connection that has not shown a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// What every client says first after the upgrade, whatever carries its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Prelude {
    /// The text.
    pub send: String,
    /// What the target answers to a client that it has admitted.
    #[serde(default)]
    pub reply: Option<Shape>,
}

/// How a target asks in texts of its own whether the client is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Heartbeat {
    /// The text by which it asks.
    pub ask: String,
    /// The text to answer with.
    pub answer: String,
}

impl FirstMessage {
    /// The most milliseconds that a run waits for a declared timeout.
    pub const LONGEST_TIMEOUT_MS: u64 = 120_000;

    /// The text that tells `token`.
    pub fn compose(&self, token: &[u8]) -> Vec<u8> {
        fill(&self.send, "{token}", token)
    }
}

/// The template with `value` in each place of `word`, escaped as JSON where it stands between double quotes.
fn fill(template: &str, word: &str, value: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(template.len() + value.len());
    let mut quoted = false;
    for (index, part) in template.split(word).enumerate() {
        if index > 0 && quoted {
            text.extend(escape(value));
        } else if index > 0 {
            text.extend_from_slice(value);
        }
        quoted ^= ends_quoted(part);
        text.extend_from_slice(part.as_bytes());
    }
    text
}

/// Whether a text that begins outside of a string of JSON ends inside of one.
pub(crate) fn ends_quoted(text: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
    }
    quoted
}

/// Bytes as they stand in a JSON string (RFC 8259 §7). What is no UTF-8 stays as it is: the case means it.
fn escape(bytes: &[u8]) -> Vec<u8> {
    let escaped = |byte: &u8| match *byte {
        byte @ (b'"' | b'\\') => vec![b'\\', byte],
        byte @ 0..0x20 => format!("\\u{byte:04x}").into_bytes(),
        byte => vec![byte],
    };
    bytes.iter().flat_map(escaped).collect()
}

impl Carrier {
    /// The word after the `@` of a trial.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query(_) => "query",
            Self::Authorization(_) => "header",
            Self::Header(_) => "named-header",
            Self::Cookie(_) => "cookie",
            Self::Subprotocol(_) => "subprotocol",
            Self::FirstMessage(_) => "first-message",
            Self::Body(_) => "body",
        }
    }

    /// Whether both name the same place: schemes and names of headers have no case.
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Authorization(one), Self::Authorization(other)) | (Self::Header(one), Self::Header(other)) => {
                one.trim().eq_ignore_ascii_case(other.trim())
            }
            (Self::Subprotocol(one), Self::Subprotocol(other)) => {
                let element = |offer: &[String]| offer.iter().find(|element| element.contains("{token")).cloned();
                element(one) == element(other)
            }
            (Self::FirstMessage(_), Self::FirstMessage(_)) => true,
            _ => self == other,
        }
    }

    /// Whether the token is part of the request target, where it is percent-encoded.
    pub fn is_in_url(&self) -> bool {
        matches!(self, Self::Path | Self::Query(_))
    }

    /// Whether the token is part of the opening request.
    pub fn is_in_opening(&self) -> bool {
        !matches!(self, Self::FirstMessage(_))
    }
}

/// How a target refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusesBy {
    /// 101, then a close frame.
    Close,
    /// An HTTP status before the upgrade.
    Http,
}

/// Why a token is refused, as far as a client may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// There was no token.
    Missing,
    /// It is no token.
    Malformed,
    /// It is not signed by the right key in the right way.
    BadSignature,
    /// Its time is over.
    Expired,
    /// It lacks a claim, or a claim is of the wrong kind.
    BadClaims,
    /// It is believed, but its bearer may not come in.
    Insufficient,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 6] =
        [Self::Missing, Self::Malformed, Self::BadSignature, Self::Expired, Self::BadClaims, Self::Insufficient];

    /// The word in profiles and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::BadClaims => "bad_claims",
            Self::Insufficient => "insufficient",
        }
    }
}

/// What a refused client is promised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Signal {
    /// The close code.
    pub close: Option<u16>,
    /// The reason text; `{role}` stands for the role of the token.
    pub reason: Option<String>,
    /// The HTTP status, where the refusal comes before the upgrade.
    pub http: Option<u16>,
}

/// Which role opens the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Roles {
    /// The claim that carries it; a claim within another one as a JSON Pointer (RFC 6901), such as `/realm_access/roles`.
    pub claim: String,
    /// Whether the claim is a list, of which one role must be let in. It is one as well where `claims` says so.
    #[serde(default)]
    pub list: bool,
    /// The roles let in.
    pub allowed: Vec<String>,
    /// Roles that exist and are refused.
    #[serde(default)]
    pub denied: Vec<String>,
    /// The role of a token that names none.
    pub default: Option<String>,
}

impl Roles {
    /// The roles that are known to be refused: the denied ones, and the default unless it is let in.
    pub fn refused(&self) -> impl Iterator<Item = &str> {
        let default = self.default.as_ref().filter(|default| !self.denied.contains(default));
        self.denied.iter().chain(default).filter(|role| !self.allowed.contains(role)).map(String::as_str)
    }
}

/// How to recognise a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The whole text, where `{message}` stands for what was said.
    Text(String),
    /// A JSON object whose members at these JSON Pointers have these values.
    Json(BTreeMap<String, Value>),
}

/// How to make the server answer a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Echo {
    /// The text to send, where `{message}` stands for the message.
    pub send: String,
    /// What the answer looks like. `{message}` in it stands for any text: that of the message, where the server is right.
    pub reply: Shape,
    /// Whether every other client hears it too.
    #[serde(default)]
    pub broadcast: bool,
}

impl Echo {
    /// Whether the answer tells which message it answers.
    pub fn is_faithful(&self) -> bool {
        match &self.reply {
            Shape::Text(text) => text.contains("{message}"),
            Shape::Json(members) => {
                members.values().any(|value| value.as_str().is_some_and(|text| text.contains("{message}")))
            }
        }
    }

    /// The text that says `message`. Where that stands between double quotes it is escaped as JSON.
    pub fn compose(&self, message: &str) -> String {
        String::from_utf8_lossy(&fill(&self.send, "{message}", message.as_bytes())).into_owned()
    }
}

impl Shape {
    /// How much it asks: of two that fit, the one that asks more is meant.
    pub(crate) fn demands(&self) -> usize {
        match self {
            Self::Text(text) => text.len().max(1),
            Self::Json(members) => members.len(),
        }
    }

    /// The texts in it that may hold words.
    pub(crate) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Text(text) => vec![text],
            Self::Json(members) => members.values().filter_map(Value::as_str).collect(),
        }
    }

    /// The same with each of these texts as `change` makes it.
    pub(crate) fn with_texts<E>(&self, change: impl Fn(&str) -> Result<String, E>) -> Result<Self, E> {
        let member = |(pointer, value): (&String, &Value)| match value {
            Value::String(text) => change(text).map(|text| (pointer.clone(), Value::String(text))),
            other => Ok((pointer.clone(), other.clone())),
        };
        Ok(match self {
            Self::Text(text) => Self::Text(change(text)?),
            Self::Json(members) => Self::Json(members.iter().map(member).collect::<Result<_, _>>()?),
        })
    }

    /// The message that `text` answers, if `text` has this shape; empty where the shape does not repeat the message.
    ///
    /// Where one text holds several messages, each ended by U+001E or U+0000, the first of this shape counts.
    pub fn answered(&self, text: &str) -> Option<String> {
        self.all_answered(text).into_iter().next()
    }

    /// Every message that `text` answers: more than one where it holds several, each ended by U+001E or U+0000.
    pub fn all_answered(&self, text: &str) -> Vec<String> {
        let whole = self.answered_whole(text);
        whole.map_or_else(|| records(text).filter_map(|record| self.answered_whole(record)).collect(), |one| vec![one])
    }

    fn answered_whole(&self, text: &str) -> Option<String> {
        match self {
            Self::Text(shape) => between(shape, text),
            Self::Json(members) => {
                let value: Value = serde_json::from_str(text).ok()?;
                let mut answered = String::new();
                for (pointer, wanted) in members {
                    let found = value.pointer(pointer)?;
                    match wanted.as_str() {
                        Some(wanted) => {
                            let message = between(wanted, found.as_str()?)?;
                            if wanted.contains("{message}") {
                                answered = message;
                            }
                        }
                        None if wanted == found => {}
                        None => return None,
                    }
                }
                Some(answered)
            }
        }
    }

    /// The shape of a `text` that repeats `message`, if it does.
    pub fn around(text: &str, message: &str) -> Option<Self> {
        if let Ok(Value::Object(object)) = serde_json::from_str(text) {
            let pointer = pointer_to(&Value::Object(object), message)?;
            return Some(Self::Json(BTreeMap::from([(pointer, Value::from("{message}"))])));
        }
        text.contains(message).then(|| Self::Text(text.replacen(message, "{message}", 1)))
    }

    /// The shape of a text like `example`: of a JSON object with these values at these places, else of this text.
    pub fn like(example: &str) -> Self {
        match serde_json::from_str::<Map<String, Value>>(example) {
            Ok(object) => {
                let mut members = BTreeMap::new();
                leaves(&Value::Object(object), "", &mut members);
                Self::Json(members)
            }
            Err(_) => Self::Text(example.to_owned()),
        }
    }

    /// The JSON Pointer (RFC 6901) to a string in a JSON text that equals `word`.
    pub fn pointer_in(text: &str, word: &str) -> Option<String> {
        let value: Value = serde_json::from_str(text).ok()?;
        pointer_to(&value, word).filter(|pointer| !pointer.is_empty())
    }

    /// Whether `text` has this shape, whatever message it repeats.
    pub fn fits(&self, text: &str) -> bool {
        self.answered(text).is_some()
    }
}

/// What ends a message in the protocols that put several into one text: SignalR, STOMP.
const ENDS: [char; 2] = ['\u{1e}', '\0'];

/// The messages that stand in one text.
pub(crate) fn records(text: &str) -> impl Iterator<Item = &str> {
    text.split(ENDS).filter(|record| !record.is_empty())
}

/// One message and what ends it.
pub(crate) fn record(text: &str) -> (&str, &str) {
    text.split_at(text.trim_end_matches(ENDS).len())
}

/// Every value that holds no others, by its JSON Pointer.
fn leaves(value: &Value, at: &str, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                leaves(member, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        value => drop(found.insert(at.to_owned(), value.clone())),
    }
}

/// The JSON Pointer (RFC 6901) to a string that equals `text`.
fn pointer_to(value: &Value, text: &str) -> Option<String> {
    match value {
        Value::String(found) => (found == text).then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| pointer_to(item, text).map(|rest| format!("/{index}{rest}"))),
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            pointer_to(member, text).map(|rest| format!("/{name}{rest}"))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The part of `text` that stands where `{message}` stands in `shape`; empty when it stands nowhere. Where that is between
/// double quotes, and is a string of JSON, its escapes are resolved.
fn between(shape: &str, text: &str) -> Option<String> {
    let Some((before, after)) = shape.split_once("{message}") else { return (shape == text).then(String::new) };
    let part = text.strip_prefix(before)?.strip_suffix(after)?;
    let string = || serde_json::from_str(&format!("\"{part}\"")).ok();
    Some(if ends_quoted(before) { string() } else { None }.unwrap_or_else(|| part.to_owned()))
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "text \"{text}\""),
            Self::Json(members) => {
                f.write_str("JSON with")?;
                for (pointer, value) in members {
                    write!(f, " {pointer} = {value}")?;
                }
                Ok(())
            }
        }
    }
}

/// An HTTP endpoint beside the socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct HttpEndpoint {
    /// Its path.
    pub path: String,
    /// Its method.
    #[serde(default = "get")]
    pub method: String,
    /// A form to post.
    #[serde(default)]
    pub form: BTreeMap<String, String>,
    /// A JSON document to post.
    #[serde(default)]
    pub json: Option<Value>,
    /// Where the access token is in the answer, as a JSON Pointer.
    #[serde(default)]
    pub token: Option<String>,
    /// Members of the answer and their values; a value of `null` asks for presence only.
    #[serde(default)]
    pub answer: BTreeMap<String, Value>,
    /// The answer to bad credentials: members and values.
    #[serde(default)]
    pub refusal: BTreeMap<String, Value>,
    /// Headers of the answer that name the bearer of the token that was asked about.
    #[serde(default)]
    pub caller: Vec<String>,
    /// Credentials of samples and manuals that must not log in where it counts: members in the place of those of `form` or
    /// `json`.
    #[serde(default)]
    pub samples: Vec<BTreeMap<String, Value>>,
}

fn get() -> String {
    "GET".to_owned()
}

fn post() -> String {
    "POST".to_owned()
}

/// Where a target runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Test tokens and fallbacks are allowed.
    Development,
    /// They are not.
    Production,
}

impl Profile {
    /// How the target is told the token after the upgrade, if it may be.
    pub fn first_message(&self) -> Option<&FirstMessage> {
        self.carriers.iter().find_map(|carrier| match carrier {
            Carrier::FirstMessage(first) => Some(first),
            _ => None,
        })
    }

    /// What an admitted client is sent without having said anything but its token: the word that it was accepted, and
    /// the welcome.
    pub fn greetings(&self) -> impl Iterator<Item = &Shape> {
        let reply = self.first_message().and_then(|first| first.reply.as_ref());
        reply.into_iter().chain(&self.welcome)
    }

    /// Whether an admitted client is promised a message.
    pub fn speaks(&self) -> bool {
        let answered = self.prelude.as_ref().is_some_and(|prelude| prelude.reply.is_some());
        self.welcome.is_some() || self.echo.is_some() || answered
    }

    /// Reads a profile from YAML text; `name` is what errors call the text.
    pub fn from_yaml(name: &str, text: &str) -> Result<Self, Diagnostics> {
        let document = Document::parse(name, text)?;
        let profile = Self::decoded(&document)?;
        let mut found = Diagnostics::new();
        for Flaw { at, what } in flaw::find(&profile) {
            found.push(document.diagnostic(Code::BadValue, &at, &what, None));
        }
        found.or(profile)
    }

    fn decoded(document: &Document) -> Result<Self, Diagnostics> {
        let Some(preset) = document.value().get("extends").and_then(Value::as_str) else {
            return document.decode(document.value(), &Path::root());
        };
        let Some((base_name, base)) = presets().iter().find(|(known, _)| *known == preset) else {
            let known = presets().iter().map(|(known, _)| *known);
            let help = did_you_mean(preset, known.clone());
            let message = format!("no preset is called `{preset}`");
            let all: Vec<&str> = known.collect();
            let found = document.diagnostic(Code::UnknownWord, &Path::root().key("extends"), &message, help.as_deref());
            return Err(found.note(format!("presets: {}", all.join(", "))).into());
        };
        let mut merged = Document::parse(base_name, base)?.value().clone();
        merge(&mut merged, document.value());
        document.decode(&merged, &Path::root())
    }

    /// A preset of this name: one of the four systems, or a common stack.
    pub fn preset(name: &str) -> Option<Self> {
        let (name, text) = presets().iter().find(|(known, _)| *known == name)?;
        Self::from_yaml(name, text).ok()
    }

    /// The default template of a valid token's claims with the profile's own laid over it.
    pub fn claims_template(&self) -> Map<String, Value> {
        let mut template = crate::token::default_claims();
        if self.profile == Some(TokenProfile::Rfc9068) {
            // RFC 9068 §2.2; the other claims it requires are in every template, or follow from audience and issuer.
            template.insert("client_id".to_owned(), Value::from("gatecrash"));
        }
        if let Some(scope) = &self.required_scope {
            template.insert("scope".to_owned(), Value::from(scope.as_str()));
        }
        lay_over(&mut template, &self.claims);
        // Whoever lays a role over the template has chosen one.
        if let (Some(roles), Some(place)) = (&self.roles, self.role_place())
            && let Some(first) = roles.allowed.first()
            && place.of(&self.claims).is_none()
        {
            let (name, value) = place.holding(&template, Value::from(first.as_str()));
            template.insert(name, value);
        }
        template
    }

    /// Where the role stands in a token.
    pub fn role_place(&self) -> Option<RolePlace> {
        let roles = self.roles.as_ref()?;
        let mut place = RolePlace::new(&roles.claim, roles.list);
        place.list |= place.of(&self.claims).is_some_and(Value::is_array);
        Some(place)
    }

    /// The first declared carrier that can hold a second token in the request in which this one holds the first.
    pub fn carrier_beside(&self, carrier: &Carrier) -> Option<&Carrier> {
        let is_beside =
            |other: &&Carrier| carrier.is_in_opening() && other.is_in_opening() && !other.is_same_place(carrier);
        self.carriers.iter().find(is_beside)
    }

    /// The claims without which the target may refuse a token: those that it names as required, those that another
    /// declaration asks for, and those that it has laid over the template itself, which it will have had a reason for.
    /// Empty, where it names none as required.
    pub fn needed_claims(&self) -> Vec<String> {
        if self.required_claims.is_empty() {
            return Vec::new();
        }
        let access_token: &[&str] = match self.profile {
            Some(TokenProfile::Rfc9068) => &["iss", "exp", "aud", "sub", "client_id", "iat", "jti"],
            _ => &[],
        };
        let asked_for = [
            ("aud", self.audience.is_some()),
            ("iss", self.issuer.is_some()),
            // A token without exp may be refused unless the opposite is promised.
            ("exp", self.require_exp != Some(false)),
            ("iat", self.max_token_age.is_some() || self.max_token_lifetime.is_some()),
            ("jti", self.jti_single_use),
            ("scope", self.required_scope.is_some()),
        ];
        let identity = self.identity_claims.iter().filter(|_| self.identity_fallback.is_none()).map(String::as_str);
        // By one of these a bearer is looked up, and nobody says which.
        let usual = USUAL_IDENTITY.into_iter().filter(|_| self.user_directory && self.identity_claims.is_empty());
        let own = self.claims.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str());
        let mut needed: Vec<String> = asked_for
            .into_iter()
            .filter_map(|(name, asked)| asked.then_some(name))
            .chain(access_token.iter().copied())
            .chain(identity)
            .chain(usual)
            .chain(own)
            .map(str::to_owned)
            .chain(self.role_place().into_iter().map(|place| place.name().to_owned()))
            .chain(self.required_claims.iter().cloned())
            .collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// The header of a valid token without its `alg`.
    pub fn header_template(&self) -> Map<String, Value> {
        let mut template = crate::token::default_header();
        let typ = match self.profile {
            Some(TokenProfile::Rfc9068) => Some("at+jwt"),
            _ => self.token_type.as_deref(),
        };
        if let Some(typ) = typ {
            template.insert("typ".to_owned(), Value::from(typ));
        }
        if let Some(kid) = &self.kid {
            template.insert("kid".to_owned(), Value::from(kid.as_str()));
        }
        lay_over(&mut template, &self.header);
        template
    }
}

/// Sets the members of `template` to those of `over`; `null` takes one away.
fn lay_over(template: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (name, value) in over {
        if value.is_null() {
            template.remove(name);
        } else {
            template.insert(name.clone(), value.clone());
        }
    }
}

/// Lays `over` upon `base`: objects are merged, everything else is replaced. A shape is either a text or JSON, so that one
/// of the other kind replaces it.
fn merge(base: &mut Value, over: &Value) {
    let shapes = (Shape::deserialize(&*base), Shape::deserialize(over));
    if matches!(shapes, (Ok(Shape::Text(_)), Ok(Shape::Json(_))) | (Ok(Shape::Json(_)), Ok(Shape::Text(_)))) {
        *base = over.clone();
        return;
    }
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                merge(base.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// The bundled presets: names and texts.
pub fn presets() -> &'static [(&'static str, &'static str)] {
    crate::bundled::PROFILES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(send: &str, token: &[u8]) -> String {
        let first = FirstMessage { send: send.to_owned(), ..FirstMessage::default() };
        String::from_utf8_lossy(&first.compose(token)).into_owned()
    }

    #[test]
    fn a_token_is_escaped_where_it_stands_in_a_json_string() {
        let odd = b"a\"b\\c\n";
        assert_eq!(told(r#"{"token":"{token}"}"#, b"a.b.c"), r#"{"token":"a.b.c"}"#);
        assert_eq!(told(r#"{"token":"{token}"}"#, odd), r#"{"token":"a\"b\\c\u000a"}"#);
        assert_eq!(told(r#"{"say":"\"{token}\""}"#, odd), r#"{"say":"\"a\"b\\c\u000a\""}"#);
        assert_eq!(told("AUTH {token}\r\n", odd), "AUTH a\"b\\c\n\r\n");
        assert_eq!(told(r#"CONNECT {"jwt":"{token}"} {token}"#, b"\""), r#"CONNECT {"jwt":"\""} ""#);
        let first = FirstMessage { send: r#"{"token":"{token}"}"#.to_owned(), ..FirstMessage::default() };
        assert_eq!(first.compose(b"\xff"), b"{\"token\":\"\xff\"}");
    }

    #[test]
    fn a_shape_over_one_of_the_other_kind_replaces_it() {
        let read = |reply: &str| {
            let text = format!("extends: shipvox\necho: {{ send: '{{message}}', reply: {reply} }}");
            Profile::from_yaml("p.yaml", &text).unwrap_or_else(|found| panic!("{found}")).echo.expect("an echo")
        };
        let echo = read(r#"{ text: "Echo: {message}" }"#);
        assert_eq!(echo.reply, Shape::Text("Echo: {message}".to_owned()));
        assert!(echo.broadcast, "what the profile does not say is the preset's");
        let Shape::Json(members) = read("{ json: { /type: echo } }").reply else { panic!("it is JSON") };
        assert_eq!(members.len(), 2, "{members:?}");
    }

    #[test]
    fn a_shape_is_like_its_example() {
        assert!(Shape::like(r#"{"type":"ok"}"#).fits(r#"{"more":1,"type":"ok"}"#));
        assert!(!Shape::like(r#"{"type":"ok","a":{"b":1}}"#).fits(r#"{"type":"ok","a":{"b":2}}"#));
        assert!(Shape::like("+OK\r\n").fits("+OK\r\n"));
    }

    #[test]
    fn a_message_between_quotes_is_a_string_of_json_both_ways() {
        let echo = Echo {
            send: r#"42["echo","{message}"]"#.to_owned(),
            reply: Shape::Text(r#"42["echo","{message}"]"#.to_owned()),
            broadcast: false,
        };
        let odd = "a\"b\\c\n\0 \u{1F600}";
        let said = echo.compose(odd);
        assert_eq!(said, r#"42["echo","a\"b\\c\u000a\u0000 \u{1F600}"]"#.replace("\\u{1F600}", "\u{1F600}"));
        assert_eq!(echo.reply.answered(&said), Some(odd.to_owned()));
        assert_eq!(echo.reply.answered(r#"42["echo","\n\ud83d\ude00"]"#), Some("\n\u{1F600}".to_owned()));
        // A server that puts the text between quotes as it is answers too.
        assert_eq!(echo.reply.answered("42[\"echo\",\"a\nb\"]"), Some("a\nb".to_owned()));
        let plain = Echo { send: "say {message}".to_owned(), ..echo };
        assert_eq!(plain.compose(odd), format!("say {odd}"));
    }

    #[test]
    fn messages_that_share_a_text_are_told_apart_by_what_ends_them() {
        let both = "{\"type\":6}\u{1e}{\"type\":3,\"result\":\"hello\"}\u{1e}";
        let echo = Echo {
            send: "{\"type\":1,\"arguments\":[\"{message}\"]}\u{1e}".to_owned(),
            reply: Shape::Json([("/result".to_owned(), Value::from("{message}"))].into()),
            broadcast: false,
        };
        assert_eq!(echo.reply.answered(both), Some("hello".to_owned()));
        assert_eq!(echo.reply.answered("{\"type\":6}\u{1e}"), None);
        assert_eq!(echo.reply.all_answered(&format!("{both}{{\"result\":\"again\"}}\u{1e}")), ["hello", "again"]);
        assert!(Shape::Text("{}".to_owned()).fits("{}\u{1e}"));
        assert!(Shape::Text("CONNECTED\n\n".to_owned()).fits("CONNECTED\n\n\0"));
        assert_eq!(echo.compose("a\"b"), "{\"type\":1,\"arguments\":[\"a\\\"b\"]}\u{1e}");
    }

    #[test]
    fn what_a_declaration_asks_for_is_needed_too() {
        let needed = |name: &str| Profile::preset(name).expect("a preset").needed_claims();
        assert_eq!(needed("shipvox"), ["sub"]);
        // Of the identity there is a fallback; of the role a default, which is refused.
        assert_eq!(needed("omni2"), ["exp", "role"]);
        // Its own plan stands in its own template.
        assert_eq!(needed("simutrador"), ["exp", "plan", "user_id"]);
        assert_eq!(needed("strict"), ["aud", "exp", "groups_role", "iat", "iss", "scope", "sub"]);
        assert!(needed("fastapi").is_empty());
    }

    #[test]
    fn places_are_the_same_whatever_the_case_of_a_header() {
        let header = |name: &str| Carrier::Header(name.to_owned());
        let offer = |list: &[&str]| Carrier::Subprotocol(list.iter().map(|one| (*one).to_owned()).collect());
        assert!(header("X-Token").is_same_place(&header("x-token")));
        assert!(!header("X-Token").is_same_place(&header("X-Other")));
        assert!(!Carrier::Cookie("a".to_owned()).is_same_place(&Carrier::Cookie("A".to_owned())));
        assert!(offer(&["x", "{token}"]).is_same_place(&offer(&["y", "{token}"])));
        assert!(!offer(&["{token}"]).is_same_place(&offer(&["bearer.{token}"])));
    }
}
