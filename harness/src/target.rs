//! The target: where the endpoint is, which key its tokens are signed with, and what it says about itself.

use std::fmt;

use serde_json::{Map, Value};

use crate::document::printable;
use crate::flaw::{self, Flaw};
use crate::login::{self, Flow};
use crate::profile::{Carrier, Issuer, Profile, TokenProfile};
use crate::secret::{self, SecretBytes, SecretError};
use crate::tls::Trust;
use crate::token::{
    Algorithm, Declared, IdentityRule, KeyKind, Keyring, Mint, OtherIssuer, PrivateKey, RolePlace, RoleRule, Rules,
    Token, TypRule, VerifyKey, Words,
};

/// A server to be judged.
#[derive(Debug, Clone)]
pub struct Target {
    /// What the server says about itself.
    pub profile: Profile,
    /// Where the endpoint is.
    pub endpoint: Endpoint,
    /// The keys its tokens are signed with, and those to attack it with.
    pub keys: Keyring,
    /// The algorithm of its valid tokens.
    pub algorithm: Algorithm,
    /// The keys of the further issuers it trusts, in the order of the profile.
    pub other_issuers: Vec<OtherIssuer>,
    /// The fixed token that opens the gate in development only.
    pub test_token: Option<String>,
    /// Where its valid tokens come from.
    pub tokens: Tokens,
    /// Everything that must not be printed: the secret, retired ones, private keys.
    pub secrets: Vec<SecretBytes>,
    /// Who may vouch for it, where the connection is encrypted.
    pub trust: Option<Trust>,
}

/// Where the valid tokens of a target come from.
#[derive(Debug, Clone, Default)]
pub enum Tokens {
    /// They are made: a key to sign with is known.
    #[default]
    Made,
    /// One was given.
    Given(Token),
    /// One is had by a login, and renewed.
    Had(Box<Flow>),
}

/// Where an endpoint is, taken from a URL with `{token}` in the place of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether the connection is encrypted (`wss`).
    pub tls: bool,
    /// The host, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path. With a path carrier, `{token}` stands in it.
    pub path: String,
    /// The query without the token's own parameter; may be empty.
    pub query: String,
    /// The carriers that the URL names by the place of `{token}`.
    pub carrier: Option<Carrier>,
}

/// Why there is no target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetError {
    /// The URL cannot be used; the text says what is wrong and how to write it.
    Url(String),
    /// The secret cannot be had.
    Secret(SecretError),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(why) => f.write_str(why),
            Self::Secret(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TargetError {}

impl Target {
    /// A target known by its URL and secret alone.
    ///
    /// The place of `{token}` in the URL is the carrier: `ws://host/ws/{token}` or `ws://host/ws?token={token}`.
    /// Without it the token rides in `Authorization: Bearer`. `secret` is written as [`crate::secret::read`] tells.
    pub fn new(url: &str, secret: &str) -> Result<Self, TargetError> {
        Self::from_profile(Profile { url: Some(url.to_owned()), secret: Some(secret.to_owned()), ..Profile::default() })
    }

    /// A target described by a profile, which must name a URL and a key to sign with.
    pub fn from_profile(profile: Profile) -> Result<Self, TargetError> {
        let Some(url) = &profile.url else {
            return Err(TargetError::Url(
                "no URL: give one on the command line or as `url:` in the profile".to_owned(),
            ));
        };
        let endpoint = Endpoint::parse(url)?;
        let mut secrets = Vec::new();
        let mut profile = profile;
        let tokens = tokens(&profile, &endpoint, &mut secrets)?;
        if !matches!(tokens, Tokens::Made) {
            (profile.secret, profile.keys.private) = (None, Vec::new());
        }
        let tls = match &tokens {
            Tokens::Had(flow) => endpoint.tls || flow.endpoints().any(|endpoint| endpoint.tls),
            _ => endpoint.tls,
        };
        // An authority that cannot be read is a mistake, whether it is needed or not.
        let trust = if tls || profile.ca.is_some() { Some(trust(profile.ca.as_deref())?) } else { None };
        // A token must not be given to whom nobody vouches for. On this machine there is no way in between to fear.
        let is_local = match &tokens {
            Tokens::Had(flow) => endpoint.is_local() && flow.endpoints().all(Endpoint::is_local),
            _ => endpoint.is_local(),
        };
        let trust = trust.map(|trust| trust.strict(!is_local));
        let keys = keyring(&profile, &mut secrets)?;
        let algorithm = match (&tokens, &profile.algorithm) {
            (Tokens::Given(token), None) => algorithm_of(token).unwrap_or(Algorithm::HS256),
            _ => algorithm(profile.algorithm.as_deref(), &keys)?,
        };
        let other_issuers = profile
            .other_issuers
            .iter()
            .map(|declared| other_issuer(declared, &mut secrets))
            .collect::<Result<_, _>>()?;
        let test_token = match &profile.test_token {
            Some(notation) => Some(String::from_utf8_lossy(read(notation, &mut secrets)?.expose()).into_owned()),
            None => None,
        };
        if profile.carriers.is_empty() {
            profile.carriers =
                vec![endpoint.carrier.clone().unwrap_or_else(|| Carrier::Authorization("Bearer".to_owned()))];
        }
        if profile.carriers.contains(&Carrier::Path) && endpoint.carrier != Some(Carrier::Path) {
            return Err(TargetError::Url(format!(
                "a token is to ride in the path, but {{token}} does not stand in the path of `{endpoint}`"
            )));
        }
        if let Some(Flaw { what, .. }) = flaw::find(&profile).into_iter().next() {
            return Err(TargetError::Url(what));
        }
        if profile.name.is_empty() {
            profile.name = format!("{}:{}", endpoint.host, endpoint.port);
        }
        Ok(Self { profile, endpoint, keys, algorithm, other_issuers, test_token, tokens, secrets, trust })
    }

    /// Whether its valid tokens are made: then there can be many, of every kind, for any user.
    pub fn makes_tokens(&self) -> bool {
        matches!(self.tokens, Tokens::Made)
    }

    /// Whether every valid token names the same user, so that limits for one user are to be respected.
    pub fn has_one_user(&self) -> bool {
        self.profile.user.is_some() || !self.makes_tokens()
    }

    /// The media type that `typ` must name, where that is promised.
    pub fn typ(&self) -> Option<&str> {
        match self.profile.profile {
            Some(TokenProfile::Rfc9068) => Some("at+jwt"),
            _ => self.profile.token_type.as_deref(),
        }
    }

    /// Whether a token of this algorithm is one of the target's own kind, or declared to be accepted.
    pub fn takes(&self, algorithm: Algorithm) -> bool {
        let declared = self.profile.algorithms.iter().flatten();
        algorithm == self.algorithm || declared.into_iter().any(|name| name == algorithm.name())
    }

    /// Whether the verification comes as far as the signature of this token. It does not where another algorithm stands
    /// in the header, or a `kid` by which no key can be found: libraries have an error of its own for that (PyJWT's
    /// `InvalidAlgorithmError` is no `InvalidSignatureError`), and a server may tell it as any class.
    pub fn comes_to_the_signature(&self, token: &Token) -> bool {
        let Some(header) = token.header() else { return true };
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name);
        let others = self.other_issuers.iter().filter_map(|other| other.kid.as_ref());
        // Where nobody says what the own key is called, each name may be its.
        let known: Vec<&String> =
            self.profile.kid.iter().flat_map(|own| [own].into_iter().chain(others.clone())).collect();
        let names_a_key = |kid: &Value| {
            kid.as_str()
                .is_some_and(|kid| !kid.trim().is_empty() && (known.is_empty() || known.iter().any(|one| *one == kid)))
        };
        algorithm.is_some_and(|algorithm| self.takes(algorithm)) && header.get("kid").is_none_or(names_a_key)
    }

    /// The numbers that the profile declares about tokens.
    pub fn declared(&self) -> Declared {
        let seconds = |value: Option<u64>| value.map(|seconds| seconds as f64);
        Declared {
            leeway: seconds(self.profile.leeway),
            max_token_age: seconds(self.profile.max_token_age),
            max_token_lifetime: seconds(self.profile.max_token_lifetime),
            // Two machines that both ask for the time may be seconds apart.
            skew: if self.endpoint.is_local() { 0.0 } else { 10.0 },
        }
    }

    /// What the forge is given for a token of this target.
    pub fn mint<'a>(&'a self, templates: &'a Templates, now: f64, user: &'a str, seed: u64) -> Mint<'a> {
        Mint {
            claims: &templates.claims,
            header: &templates.header,
            keys: &self.keys,
            algorithm: self.algorithm,
            now,
            user,
            seed,
            audience: self.profile.audience.as_deref(),
            issuer: self.profile.issuer.as_deref(),
            listener: None,
            jku_allowed: self.profile.jku_allowlist.first().map(String::as_str),
            declared: self.declared(),
            words: self.words(),
            role: templates.role.as_ref(),
            allowed_roles: self.profile.roles.as_ref().map_or(&[], |roles| &roles.allowed),
            needed_claims: &templates.needed,
            refresh_marker: Some(&self.profile.refresh_marker),
            other_issuers: &self.other_issuers,
            given: None,
        }
    }

    /// The words that the profile declares about tokens.
    fn words(&self) -> Words<'_> {
        let profile = &self.profile;
        let roles = profile.roles.as_ref();
        let other = self.other_issuers.first();
        Words {
            identity_claim: profile.identity_claims.first().map(String::as_str),
            role_claim: roles.map(|roles| roles.claim.as_str()).filter(|claim| !claim.starts_with('/')),
            allowed_role: roles.and_then(|roles| roles.allowed.first()).map(String::as_str),
            denied_role: roles.and_then(|roles| roles.refused().next()),
            default_role: roles.and_then(|roles| roles.default.as_deref()),
            required_scope: profile.required_scope.as_deref(),
            kid: profile.kid.as_deref(),
            other_issuer: other.map(|other| other.issuer.as_str()),
            other_kid: other.and_then(|other| other.kid.as_deref()),
            allowed_origin: profile.allowed_origins.first().map(String::as_str),
            weak_secret: profile.weak_secrets.first().map(String::as_str),
            test_token: self.test_token.as_deref(),
        }
    }
}

impl Rules {
    /// What a target promises about tokens.
    pub fn of(target: &Target) -> Self {
        let profile = &target.profile;
        let seconds = |value: Option<u64>| value.map(|seconds| seconds as f64);
        let declared = profile.algorithms.as_ref();
        let algorithms: Option<Vec<Algorithm>> =
            declared.map(|names| names.iter().filter_map(|name| Algorithm::from_name(name)).collect());
        // A public key may be declared to attack with alone: it is trusted where an algorithm of its kind is.
        let is_trusted = |kind: KeyKind| {
            kind == target.algorithm.key_kind()
                || algorithms.iter().flatten().any(|algorithm| algorithm.key_kind() == kind)
        };
        let own =
            VerifyKey::of_keyring(&target.keys).into_iter().filter(|key| is_trusted(key.kind())).map(|mut key| {
                if key.kind() == target.algorithm.key_kind() {
                    key.kid.clone_from(&profile.kid);
                }
                key
            });
        let others = target.other_issuers.iter().flat_map(|other| {
            VerifyKey::of_keyring(&other.keys).into_iter().map(|mut key| {
                key.algorithms = vec![other.algorithm];
                key.kid.clone_from(&other.kid);
                key.issuer = Some(other.issuer.clone());
                key
            })
        });
        let mut keys: Vec<VerifyKey> = own.chain(others).collect();
        // A key that is declared twice, as its issuer's and to attack with, is its issuer's.
        let bound: Vec<VerifyKey> = keys.iter().filter(|key| key.issuer.is_some()).cloned().collect();
        keys.retain(|key| key.issuer.is_some() || !bound.iter().any(|other| other.is_same_as(key)));
        Self {
            keys,
            algorithms,
            leeway: seconds(profile.leeway),
            require_exp: profile.require_exp,
            max_token_age: seconds(profile.max_token_age),
            max_token_lifetime: seconds(profile.max_token_lifetime),
            audience: profile.audience.clone(),
            issuer: profile.issuer.clone(),
            typ: match (profile.profile, &profile.token_type) {
                (Some(TokenProfile::Rfc9068), _) => TypRule::Rfc9068,
                (_, Some(typ)) => TypRule::Exactly(typ.clone()),
                _ => TypRule::Ignored,
            },
            required_claims: profile.required_claims.clone(),
            identity: IdentityRule {
                claims: profile.identity_claims.clone(),
                required: !profile.identity_claims.is_empty() && profile.identity_fallback.is_none(),
            },
            roles: profile.roles.as_ref().map(|roles| RoleRule {
                claim: roles.claim.clone(),
                list: profile.role_place().is_some_and(|place| place.list),
                allowed: roles.allowed.clone(),
                default: roles.default.clone(),
            }),
            required_scope: profile.required_scope.clone(),
            refresh_marker: profile.refresh_marker.clone(),
            single_use: profile.jti_single_use,
            known_bearer: profile.user.clone().filter(|_| profile.user_directory),
            ..Self::new(&target.keys, target.algorithm)
        }
    }
}

/// The claims and the header of a target's valid token, before anything is put in their `${...}`.
#[derive(Debug, Clone)]
pub struct Templates {
    /// The claims.
    pub claims: Map<String, Value>,
    /// The header, without `alg`.
    pub header: Map<String, Value>,
    /// The claims without which a token may be refused; empty, where the profile does not say.
    pub needed: Vec<String>,
    /// Where the role stands, if one is asked for.
    pub role: Option<RolePlace>,
}

impl Templates {
    /// Those that a profile describes.
    pub fn of(profile: &Profile) -> Self {
        let (claims, header) = (profile.claims_template(), profile.header_template());
        Self { claims, header, needed: profile.needed_claims(), role: profile.role_place() }
    }
}

/// Where the valid tokens come from: a key wins over `http.login`, and what is declared for the purpose wins over a key.
fn tokens(profile: &Profile, endpoint: &Endpoint, secrets: &mut Vec<SecretBytes>) -> Result<Tokens, TargetError> {
    let has_key = profile.secret.is_some() || !profile.keys.private.is_empty();
    let tokens = match (&profile.token, &profile.login) {
        (Some(_), Some(_)) => {
            return Err(TargetError::Url(
                "declare `token` or `login`, not both: which of them shall be used?".to_owned(),
            ));
        }
        (Some(notation), None) => {
            let given = secret::read(notation).map_err(TargetError::Secret)?;
            let token = login::usable(given.expose()).map_err(TargetError::Url)?;
            secrets.extend(token.bytes().map(SecretBytes::new));
            Tokens::Given(token)
        }
        (None, Some(login)) => Tokens::Had(Box::new(Flow::new(login, endpoint, secrets)?)),
        (None, None) if has_key => Tokens::Made,
        (None, None) => {
            let flow = match profile.http.get("login") {
                Some(login) => Flow::of_endpoint(login, endpoint, secrets)?,
                None => None,
            };
            let none = "no secret: tokens cannot be signed; use --secret-env NAME, --secret-file PATH, or `secret:` in the \
                        profile; or give a real token by --token-env NAME, or a `login:`";
            Tokens::Had(Box::new(flow.ok_or_else(|| TargetError::Url(none.to_owned()))?))
        }
    };
    if !matches!(tokens, Tokens::Made) && profile.jti_single_use {
        let why = "`jti_single_use`: each opening needs a token of its own, and without the key none can be made";
        return Err(TargetError::Url(why.to_owned()));
    }
    Ok(tokens)
}

/// The algorithm that a token names, where it names one that is known.
pub(crate) fn algorithm_of(token: &Token) -> Option<Algorithm> {
    let (header, _) = token.peek()?;
    Algorithm::from_name(header.get("alg")?.as_str()?)
}

/// The authorities of this machine and those of `ca`: a file, or certificates in PEM as they are.
fn trust(ca: Option<&str>) -> Result<Trust, TargetError> {
    let pem = match ca {
        Some(text) if text.contains("-----BEGIN ") => Some(text.as_bytes().to_vec()),
        Some(path) => Some(secret::file(path, "CA").map_err(TargetError::Secret)?),
        None => None,
    };
    Trust::new(pem.as_deref()).map_err(|why| TargetError::Url(format!("`ca` cannot be used: {why}")))
}

/// Reads every key that a profile names.
fn keyring(profile: &Profile, secrets: &mut Vec<SecretBytes>) -> Result<Keyring, TargetError> {
    let mut keys = Keyring::new();
    if let Some(notation) = &profile.secret {
        let secret = shared(notation, secrets)?;
        if secret.expose().is_empty() {
            return Err(TargetError::Url("the secret is empty: anyone could sign with it".to_owned()));
        }
        keys = keys.with_secret(secret.expose());
    }
    for notation in &profile.retired_secrets {
        keys = keys.with_retired_secret(shared(notation, secrets)?.expose());
    }
    for notation in &profile.keys.private {
        keys.add_private(private_key(notation, secrets)?);
    }
    for notation in &profile.keys.public {
        let text = secret::read(notation).map_err(TargetError::Secret)?;
        keys = keys
            .with_public_key(text.expose())
            .map_err(|error| TargetError::Url(format!("a key in `keys.public` cannot be read: {error}")))?;
    }
    Ok(keys)
}

fn read(notation: &str, secrets: &mut Vec<SecretBytes>) -> Result<SecretBytes, TargetError> {
    let secret = secret::read(notation).map_err(TargetError::Secret)?;
    secrets.push(secret.clone());
    Ok(secret)
}

/// The same of a secret that both sides have.
fn shared(notation: &str, secrets: &mut Vec<SecretBytes>) -> Result<SecretBytes, TargetError> {
    let secret = secret::shared(notation).map_err(TargetError::Secret)?;
    secrets.push(secret.clone());
    Ok(secret)
}

fn private_key(notation: &str, secrets: &mut Vec<SecretBytes>) -> Result<PrivateKey, TargetError> {
    let text = read(notation, secrets)?;
    // Each line of a PEM is a piece of the key by itself.
    let lines = text.expose().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let pieces: Vec<_> = lines.filter(|line| line.len() >= 16 && !line.starts_with(b"-----")).collect();
    secrets.extend(pieces.into_iter().map(SecretBytes::new));
    PrivateKey::parse(text.expose())
        .map_err(|error| TargetError::Url(format!("a private key of the profile cannot be read: {error}")))
}

/// The declared algorithm, or the natural one of the key.
fn algorithm(declared: Option<&str>, keys: &Keyring) -> Result<Algorithm, TargetError> {
    if let Some(name) = declared {
        return Algorithm::from_name(name).ok_or_else(|| {
            let known: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
            TargetError::Url(format!("no algorithm is called `{}`; there are {}", printable(name), known.join(", ")))
        });
    }
    let mut natural = [Algorithm::RS256].into_iter().chain(Algorithm::ECDSA).chain([Algorithm::EdDSA]);
    let by_key = natural.find(|algorithm| keys.private(algorithm.key_kind()).is_some());
    Ok(match (keys.secret(), by_key) {
        (None, Some(algorithm)) => algorithm,
        _ => Algorithm::HS256,
    })
}

fn other_issuer(declared: &Issuer, secrets: &mut Vec<SecretBytes>) -> Result<OtherIssuer, TargetError> {
    let mut keys = Keyring::new();
    if let Some(notation) = &declared.secret {
        keys = keys.with_secret(shared(notation, secrets)?.expose());
    }
    if let Some(notation) = &declared.private {
        keys.add_private(private_key(notation, secrets)?);
    }
    let algorithm = algorithm(declared.algorithm.as_deref(), &keys)?;
    if keys.secret().is_none() && keys.private(algorithm.key_kind()).is_none() {
        let issuer = printable(&declared.issuer);
        return Err(TargetError::Url(format!("the issuer `{issuer}` in `other_issuers` has no key to sign with")));
    }
    Ok(OtherIssuer { issuer: declared.issuer.clone(), keys, algorithm, kid: declared.kid.clone() })
}

impl Endpoint {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        // Neither a token nor a password that was pasted into it is repeated.
        let shown = match url.split_once("://").map(|(scheme, rest)| (scheme, rest, rest.find(['/', '?', '#']))) {
            Some((scheme, rest, end)) => match rest[..end.unwrap_or(rest.len())].rfind('@') {
                Some(at) => format!("{scheme}://[user]{}", &rest[at..]),
                None => url.to_owned(),
            },
            None => url.to_owned(),
        };
        let wrong = |why: &str| {
            TargetError::Url(format!("`{}` is no usable URL: {why}", printable(&crate::redact::jwts(&shown))))
        };
        if crate::redact::jwts(url) != url {
            return Err(wrong("a token stands in it; write {token} in its place, and gatecrash makes the tokens"));
        }
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| wrong("it has no scheme; write ws://HOST:PORT/PATH with {token} where the token goes"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err(wrong("the scheme must be ws, wss, http or https")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let path_start = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(path_start);
        if authority.contains('@') {
            return Err(wrong("user and password in a URL are not supported"));
        }
        let (host, port) = split_authority(authority).ok_or_else(|| wrong("the host or the port is not understood"))?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut carrier = None;
        let mut other = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some((name, "{token}")) => carrier = Some(Carrier::Query(name.to_owned())),
                _ if parameter.contains("{token}") => {
                    return Err(wrong(
                        "{token} in the query must be the whole value of a parameter, as in ?token={token}",
                    ));
                }
                _ => other.push(parameter),
            }
        }
        let path = if path.is_empty() { "/" } else { path };
        if path.contains("{token}") {
            if carrier.is_some() {
                return Err(wrong("{token} stands in it twice"));
            }
            carrier = Some(Carrier::Path);
        }
        if !path.bytes().chain(query.bytes()).all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("a space or another character that must be percent-encoded stands in it"));
        }
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host, port, path: path.to_owned(), query: other.join("&"), carrier })
    }

    /// The value of the `Host` header.
    pub fn host_header(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let default = if self.tls { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }

    /// The path without the token's segment, and without a slash at its end.
    pub fn bare_path(&self) -> String {
        let path = self.path.replace("{token}", "");
        let path = path.trim_end_matches('/');
        if path.is_empty() { "/".to_owned() } else { path.to_owned() }
    }

    /// Whether the host is this machine.
    pub fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.host_header(), self.path)?;
        let token = match &self.carrier {
            Some(Carrier::Query(name)) => format!("{name}={{token}}"),
            _ => String::new(),
        };
        let query: Vec<&str> = [self.query.as_str(), &token].into_iter().filter(|part| !part.is_empty()).collect();
        if !query.is_empty() {
            write!(f, "?{}", query.join("&"))?;
        }
        Ok(())
    }
}

fn split_authority(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':').or(if port.is_empty() { Some("") } else { None })?)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    if host.is_empty() || host.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return None;
    }
    let port = if port.is_empty() { None } else { Some(port.parse().ok().filter(|port| *port != 0)?) };
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(yaml: &str) -> String {
        match Profile::from_yaml("p", &format!("url: ws://h/ws\nsecret: {:x<40}\n{yaml}", "")) {
            Ok(profile) => {
                Target::from_profile(profile).map(|_| String::new()).unwrap_or_else(|error| error.to_string())
            }
            Err(found) => found.to_string(),
        }
    }

    #[test]
    fn what_could_not_be_judged_is_said_at_once() {
        let first = "first_message: { send: '{\"token\":\"{token}\"}' }";
        let reply = "first_message: { send: '{token}', reply: { text: ok } }";
        for (yaml, hint) in [
            ("carriers: [{ subprotocol: [app, bearer] }]".to_owned(), "{token}"),
            ("carriers: [{ first_message: { send: auth } }]".to_owned(), "{token}"),
            (format!("carriers: [{{ {first} }}]"), "first_message.reply"),
            (format!("carriers: [{{ {reply} }}, {{ query: token }}]"), "`welcome` or `echo`"),
            ("carriers: [{ body: token }]".to_owned(), "no body"),
            ("allowed_origins: [\"https://*.example\"]".to_owned(), "is no origin"),
            ("allowed_origins: [\"null\"]".to_owned(), "must have a scheme"),
            ("send_origin: true".to_owned(), "needs `allowed_origins`"),
            ("offer_subprotocol: true".to_owned(), "needs `subprotocol`"),
            ("known_gaps: [{ case: SIG-008, reason: \" \" }]".to_owned(), "`SIG-008` has no reason"),
        ] {
            assert!(refusal(&yaml).contains(hint), "{yaml}: {}", refusal(&yaml));
        }
        let welcome = "welcome: { text: hello }";
        for yaml in [
            format!("carriers: [{{ {reply} }}]"),
            format!("carriers: [{{ {first} }}]\n{welcome}"),
            format!("carriers: [{{ {reply} }}, {{ query: token }}]\n{welcome}"),
            "allowed_origins: [\"https://a\", \"null\"]\nsend_origin: true".to_owned(),
        ] {
            assert_eq!(refusal(&yaml), "", "{yaml}");
        }
    }

    /// As Keycloak writes roles, and as most identity providers do: in a list, and in a claim within another one.
    #[test]
    fn a_role_stands_where_the_profile_says_it_does() {
        use crate::token::{Answer, Op, Recipe, forge, oracle};
        let judged = |yaml: &str, ops: &str| {
            let secret = "x".repeat(40);
            let profile =
                Profile::from_yaml("p", &format!("url: ws://h/ws\nsecret: {secret}\n{yaml}")).expect("a profile");
            let target = Target::from_profile(profile).expect("a target");
            let ops: Vec<Op> = serde_json::from_str(ops).expect("operators");
            let templates = Templates::of(&target.profile);
            let token = forge(&Recipe::Forge(ops), &target.mint(&templates, 1e9, "u", 1)).expect("a token");
            let claims = token.peek().expect("a token").1;
            (claims, oracle(token.bytes().expect("bytes"), &Rules::of(&target), 1e9, 0.0).answer)
        };
        let nested = "roles: { claim: /realm_access/roles, list: true, allowed: [admin], denied: [viewer] }\n\
                      claims: { realm_access: { verify: true } }";
        let list = "roles: { claim: groups, allowed: [admin], denied: [viewer] }\nclaims: { groups: [admin, other] }";
        let plain = "roles: { claim: groups, allowed: [admin], denied: [viewer] }";
        let within = |roles: Value| serde_json::json!({ "verify": true, "roles": roles });
        for (yaml, ops, claim, value, answer) in [
            (nested, "[]", "realm_access", within(vec!["admin"].into()), Answer::Accept),
            (nested, r#"[{"role":"viewer"}]"#, "realm_access", within(vec!["viewer"].into()), Answer::Refuse),
            (nested, r#"[{"role":["x","admin"]}]"#, "realm_access", within(vec!["x", "admin"].into()), Answer::Accept),
            (nested, r#"["drop_role"]"#, "realm_access", serde_json::json!({ "verify": true }), Answer::Refuse),
            (list, "[]", "groups", vec!["admin", "other"].into(), Answer::Accept),
            (list, r#"[{"role":"viewer"}]"#, "groups", vec!["viewer"].into(), Answer::Refuse),
            (list, r#"[{"claims":{"groups":"admin"}}]"#, "groups", "admin".into(), Answer::Either),
            (plain, "[]", "groups", "admin".into(), Answer::Accept),
            (plain, r#"[{"role":["admin"]}]"#, "groups", vec!["admin"].into(), Answer::Refuse),
        ] {
            let (claims, judged) = judged(yaml, ops);
            assert_eq!((claims.get(claim), judged), (Some(&value), answer), "{yaml} {ops}");
        }
    }

    #[test]
    fn the_place_of_the_token_is_the_carrier() {
        let path = Endpoint::parse("ws://127.0.0.1:8000/ws/{token}").expect("a URL");
        assert_eq!((path.carrier.clone(), path.bare_path()), (Some(Carrier::Path), "/ws".to_owned()));
        let query = Endpoint::parse("wss://h/ws?a=1&access_token={token}&b=2").expect("a URL");
        assert_eq!(query.carrier, Some(Carrier::Query("access_token".to_owned())));
        assert_eq!((query.query.as_str(), query.port, query.tls), ("a=1&b=2", 443, true));
        assert_eq!(Endpoint::parse("http://h:81").expect("a URL").carrier, None);
    }

    #[test]
    fn a_url_prints_as_it_was_read() {
        for url in ["ws://127.0.0.1:8000/ws/{token}", "wss://h/ws?a=1&token={token}", "ws://[::1]:9/x"] {
            assert_eq!(Endpoint::parse(url).expect("a URL").to_string(), url);
        }
    }

    #[test]
    fn a_wrong_url_says_why() {
        for (url, why) in [
            ("127.0.0.1:8000/ws", "no scheme"),
            ("ftp://h/", "the scheme must be"),
            ("ws://h:99999/", "the host or the port"),
            ("ws://:80/", "the host or the port"),
            ("ws://u:p@h/", "user and password"),
            ("ws://h/{token}?token={token}", "twice"),
            ("ws://h/?token=x{token}", "the whole value"),
            ("ws://h/a b", "percent-encoded"),
            ("ws://h/?token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "write {token} in its place"),
        ] {
            let error = Endpoint::parse(url).expect_err(url).to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }
}
