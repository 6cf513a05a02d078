//! The forge: a recipe and a mint in, the bytes of a token out. It works in layers: header and claims as JSON,
//! their segments, the signature over exactly the text so made, the signature's segment, then the finished
//! text. Each operator acts at its own layer. Sockets, clocks and randomness are absent; only ECDSA and PSS
//! signatures are random, inside the cryptographic library.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::algorithm::{Algorithm, KeyKind};
use super::document::Document;
use super::given::Given;
use super::interpolate::{ForgeError, Scope};
use super::jwe;
use super::keyring::{Keyring, noise};
use super::keys::{PrivateKey, PublicKey};
use super::mint::{Mint, RolePlace};
use super::minted::Token;
use super::ops::{At, AttackerKey, JsonSerialization, KeyChoice, Op, Part, PublicForm, Sign, parse_hex};
use super::recipe::Recipe;
use super::segment;
use super::sign::{self, Method, SigningKey};
use super::signature;
use super::x509;
use crate::secret::SecretBytes;

/// Makes the token that a recipe describes.
///
/// # Errors
///
/// When the recipe is wrong in itself, or when it asks for a key or a value that the profile does not give
/// ([`ForgeError::is_not_applicable`]).
pub fn forge(recipe: &Recipe, mint: &Mint<'_>) -> Result<Token, ForgeError> {
    match (recipe, mint.given) {
        (Recipe::Valid, Some(given)) => return Ok(Token::new(given.to_vec())),
        (_, Some(_)) if recipe.needs_signing_key() => return Err(ForgeError::NeedsKey(SIGNING_KEY.into())),
        _ => {}
    }
    match recipe {
        Recipe::Absent => Ok(Token::absent()),
        Recipe::Empty => Ok(Token::new(Vec::new())),
        Recipe::Literal(text) => Ok(Token::new(scope(mint, &[])?.text(text)?.into_bytes())),
        Recipe::Valid => Ok(Token::new(finish(&[], mint)?)),
        Recipe::Forge(ops) => Ok(Token::new(finish(ops, mint)?)),
    }
}

/// What is missing where a real token is given instead of the key.
pub(crate) const SIGNING_KEY: &str = "key to sign with";

/// How many tokens are made at most until one has the asked-for property, such as a `-` and a `_` in its
/// signature (about one HS256 signature in four).
const ATTEMPTS: usize = 4096;

/// A text that a case writes besides tokens, with every `${...}` replaced that tokens know; others are left.
///
/// # Errors
///
/// As [`forge`].
pub fn fill(text: &str, mint: &Mint<'_>) -> Result<String, ForgeError> {
    scope(mint, &[])?.known_text(text)
}

/// The keys to sign with: those of another issuer, where an operator asks for them.
fn signer<'a>(ops: &[Op], mint: &Mint<'a>) -> Result<Mint<'a>, ForgeError> {
    let chosen = ops.iter().rev().find_map(|op| match op {
        Op::ByIssuer(place) => Some(*place),
        _ => None,
    });
    let Some(place) = chosen else { return Ok(*mint) };
    let other = mint.other_issuers.get(place);
    let other = other.ok_or_else(|| ForgeError::NeedsKey(format!("key of the further issuer number {place}")))?;
    Ok(Mint { keys: &other.keys, algorithm: other.algorithm, ..*mint })
}

fn finish(ops: &[Op], mint: &Mint<'_>) -> Result<Vec<u8>, ForgeError> {
    let mint = &signer(ops, mint)?;
    let scope = scope(mint, ops)?;
    for op in ops {
        op.check()?;
    }
    // A token that was given is but one.
    let attempts = if mint.given.is_some() { 1 } else { ATTEMPTS };
    for attempt in 0..attempts {
        if let Some(draft) = Draft::make(ops, mint, &scope, attempt)? {
            return draft.text(ops, mint, &scope);
        }
    }
    Err(ForgeError::Impossible("no token with the asked-for property was found".into()))
}

/// The values behind `${...}` for this token.
fn scope<'a>(mint: &Mint<'a>, ops: &[Op]) -> Result<Scope<'a>, ForgeError> {
    let mut scope = Scope {
        now: mint.now,
        user: Cow::Borrowed(mint.user),
        algorithm: mint.algorithm,
        seed: mint.seed,
        audience: mint.audience,
        issuer: mint.issuer,
        listener: mint.listener,
        jku_allowed: mint.jku_allowed.map(|allowed| allowed.trim_end_matches('/')),
        words: mint.words,
        leeway: mint.declared.leeway,
        skew: mint.declared.skew,
        max_token_age: mint.declared.max_token_age,
        max_token_lifetime: mint.declared.max_token_lifetime,
    };
    for op in ops {
        if let Op::User(name) = op {
            scope.user = Cow::Owned(scope.text(name)?);
        }
    }
    Ok(scope)
}

/// Claims that commonly identify a user, beside those that the template fills with `${user}`.
const IDENTITY_CLAIMS: [&str; 5] = ["sub", "user_id", "username", "email", "name"];

/// The claims of this template that identify the user.
fn identity_claims(template: &Map<String, Value>) -> Vec<String> {
    template
        .iter()
        .filter(|(name, value)| {
            IDENTITY_CLAIMS.contains(&name.as_str()) || value.as_str().is_some_and(|text| text.contains("${user}"))
        })
        .map(|(name, _)| name.clone())
        .collect()
}

/// A text in which `-` and `_` occur once it is base64url, wherever it begins: runs of `>` and of `?` hold every
/// alignment of 62 and 63.
const BOTH_SPECIALS: &str = ">>>>>>??????";

/// A token before it becomes text.
struct Draft {
    header: Document,
    claims: Document,
    header_text: Vec<u8>,
    claims_text: Vec<u8>,
    signature: Vec<u8>,
    signature_text: Vec<u8>,
}

/// How the token is to be signed.
struct Signing {
    algorithm: Algorithm,
    key: SigningKey,
    method: Method,
}

impl Draft {
    /// None when this attempt lacks the asked-for property and another may have it.
    fn make(ops: &[Op], mint: &Mint<'_>, scope: &Scope<'_>, attempt: usize) -> Result<Option<Self>, ForgeError> {
        let given = mint.given.map(Given::read).transpose()?;
        let signing = choose_signing(ops, mint, scope)?;
        let header = make_header(ops, mint, scope, given.as_ref())?;
        let mut claims = make_claims(ops, mint, scope, given.as_ref())?;
        // White space behind the claims is legal and makes another token with the same meaning.
        claims.add_trailing(&" ".repeat(attempt));

        let untouched = given
            .as_ref()
            .map(|given| Ok((start_header(&[], mint, scope, Some(given))?, start_claims(mint, scope, Some(given))?)));
        let untouched = untouched.transpose()?;
        // What was given and not changed is written as it came.
        let as_it_came = |is: &Document, was: Option<&Document>, json: Option<&Vec<u8>>| {
            if was == Some(is) { json.cloned() } else { None }
        };
        let header_json = as_it_came(
            &header,
            untouched.as_ref().map(|(header, _)| header),
            given.as_ref().map(|given| &given.header_json),
        );
        let claims_json = as_it_came(
            &claims,
            untouched.as_ref().map(|(_, claims)| claims),
            given.as_ref().map(|given| &given.claims_json),
        );
        let header_text = make_segment(header_json.unwrap_or_else(|| header.bytes()), Part::Header, ops, scope)?;
        let claims_text = make_segment(claims_json.unwrap_or_else(|| claims.bytes()), Part::Claims, ops, scope)?;
        let (Some(header_text), Some(claims_text)) = (header_text, claims_text) else {
            return Err(ForgeError::Impossible("this segment has no `-` or no `_`".into()));
        };
        let signed = [&header_text[..], b".", &claims_text].concat();
        let genuine = match (&signing, &given) {
            (Some(signing), _) => sign::sign(&signing.key, signing.algorithm, signing.method, &signed)?,
            (None, Some(given)) => given.signature.clone(),
            (None, None) => return Err(ForgeError::NeedsKey(SIGNING_KEY.into())),
        };
        let Some(signature) = make_signature(signing.as_ref(), genuine, &signed, ops, mint)? else {
            return Ok(None);
        };
        let mut signature_text = segment::encode(&signature);
        for op in ops {
            if !deform_segment(&mut signature_text, Part::Signature, op, scope)? {
                return Ok(None);
            }
        }
        Ok(Some(Self { header, claims, header_text, claims_text, signature, signature_text }))
    }

    /// Header and claims as they are sent, when they were changed after signing.
    fn tampered(&self, ops: &[Op], scope: &Scope<'_>) -> Result<(Vec<u8>, Vec<u8>), ForgeError> {
        let mut changed = [None, None];
        for op in ops {
            let (part, document, map) = match op {
                Op::TamperHeader(map) => (0, &self.header, map),
                Op::TamperClaims(map) => (1, &self.claims, map),
                _ => continue,
            };
            changed[part].get_or_insert_with(|| document.clone()).set_all(scope.map(map)?);
        }
        let sent = |changed: Option<&Document>, signed: &[u8]| match changed
            .map(|document| segment::encode(&document.bytes()))
        {
            Some(text) if text == signed => {
                Err(ForgeError::Impossible("tampering changes nothing in this token".into()))
            }
            Some(text) => Ok(text),
            None => Ok(signed.to_vec()),
        };
        Ok((sent(changed[0].as_ref(), &self.header_text)?, sent(changed[1].as_ref(), &self.claims_text)?))
    }

    fn text(&self, ops: &[Op], mint: &Mint<'_>, scope: &Scope<'_>) -> Result<Vec<u8>, ForgeError> {
        let (header, claims) = self.tampered(ops, scope)?;
        let mut parts =
            vec![(Part::Header, header), (Part::Claims, claims), (Part::Signature, self.signature_text.clone())];
        for op in ops {
            change_parts(&mut parts, op)?;
        }
        let parts: Vec<&[u8]> = parts.iter().map(|(_, text)| &text[..]).collect();
        let mut text = parts.join(&b"."[..]);
        for op in ops {
            match op {
                Op::JsonSerialization(form) => text = self.json_serialization(*form, ops, scope)?,
                Op::Jwe(form) => {
                    let is_token = ops.iter().any(|op| matches!(op, Op::Nest(_)));
                    text = jwe::encrypt(*form, &self.claims.bytes(), is_token, mint)?;
                }
                _ => {}
            }
        }
        for op in ops {
            text = change_text(text, op, scope)?;
        }
        Ok(text)
    }

    /// The token in a JSON serialization (RFC 7515 §7.2).
    fn json_serialization(
        &self,
        form: JsonSerialization,
        ops: &[Op],
        scope: &Scope<'_>,
    ) -> Result<Vec<u8>, ForgeError> {
        let show = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let (header, claims) = (show(&self.header_text), show(&self.claims_text));
        let signature = show(&self.signature_text);
        let value = match form {
            JsonSerialization::Flattened => {
                json!({ "payload": claims, "protected": header, "signature": signature })
            }
            JsonSerialization::General => {
                let none = show(&segment::encode(br#"{"alg":"none"}"#));
                json!({ "payload": claims, "signatures": [
                    { "protected": none, "signature": "" },
                    { "protected": header, "signature": signature },
                ] })
            }
            JsonSerialization::Polyglot | JsonSerialization::PolyglotName => {
                // A reader that cuts at the periods takes the forged claims; one that reads JSON ignores the
                // unknown member that holds them.
                let mut forged = self.claims.clone();
                forged.set("gatecrash", json!("forged"));
                for op in ops {
                    if let Op::TamperClaims(map) = op {
                        forged.set_all(scope.map(map)?);
                    }
                }
                let forged = show(&segment::encode(&forged.bytes()));
                // A lenient reader of base64url passes over what stands before the header, as long as it is none.
                let (name, value) = match form {
                    JsonSerialization::PolyglotName => (format!("  {header}.{forged}."), String::new()),
                    _ => ("  ".to_owned(), format!("{header}.{forged}.{signature}")),
                };
                json!({ name: value, "payload": claims, "protected": header, "signature": signature })
            }
        };
        Ok(value.to_string().into_bytes())
    }
}

/// The algorithm of an attacker's key.
fn attacker_algorithm(kind: AttackerKey) -> Algorithm {
    match kind {
        AttackerKey::Rsa => Algorithm::RS256,
        AttackerKey::Ec => Algorithm::ES256,
        AttackerKey::Ed => Algorithm::EdDSA,
        AttackerKey::Oct => Algorithm::HS256,
    }
}

/// The algorithm that an operator of the header layer brings with it.
fn stated_algorithm(op: &Op) -> Option<Algorithm> {
    match op {
        Op::EmbedJwk(kind) | Op::EmbedX5c(kind) => Some(attacker_algorithm(*kind)),
        Op::EmbedJku(_) | Op::EmbedX5u(_) | Op::OversizedJwk(_) => Some(Algorithm::RS256),
        _ => None,
    }
}

/// HS256, where the signature is to be by a secret and the target's own algorithm has none.
fn secret_algorithm(op: &Op, mint: &Mint<'_>) -> Option<Algorithm> {
    let is_secret = |choice: &KeyChoice| {
        matches!(choice, KeyChoice::Empty | KeyChoice::Text(_) | KeyChoice::Hex(_) | KeyChoice::PublicKey(_))
    };
    let by_secret = matches!(op, Op::Sign(Sign { key: Some(choice), .. }) if is_secret(choice));
    (by_secret && mint.algorithm.key_kind() != KeyKind::Secret).then_some(Algorithm::HS256)
}

/// The algorithm of the target's own elliptic curve: it signs with it, or it has a key of it.
fn ecdsa_algorithm(mint: &Mint<'_>) -> Algorithm {
    let signs = |algorithm: &Algorithm| *algorithm == mint.algorithm;
    let has_key = |algorithm: &Algorithm| mint.keys.public(algorithm.key_kind()).is_some();
    let own = Algorithm::ECDSA.into_iter().find(signs);
    own.or_else(|| Algorithm::ECDSA.into_iter().find(has_key)).unwrap_or(Algorithm::ES256)
}

/// What the header says: `alg` wins over an embedded key, which wins over the target's own.
fn header_algorithm(ops: &[Op], mint: &Mint<'_>) -> Algorithm {
    let explicit = ops.iter().rev().find_map(|op| match op {
        Op::Alg(algorithm) => Some(*algorithm),
        Op::Ecdsa => Some(ecdsa_algorithm(mint)),
        _ => None,
    });
    let brought = || ops.iter().rev().find_map(|op| stated_algorithm(op).or_else(|| secret_algorithm(op, mint)));
    explicit.or_else(brought).unwrap_or(mint.algorithm)
}

/// The algorithm and the key: what `sign` says wins over what the header says. None where the signature of a token that
/// was given is to be kept.
fn choose_signing(ops: &[Op], mint: &Mint<'_>, scope: &Scope<'_>) -> Result<Option<Signing>, ForgeError> {
    let mut algorithm = header_algorithm(ops, mint);
    let mut choice =
        if ops.iter().any(|op| stated_algorithm(op).is_some()) { KeyChoice::Wrong } else { KeyChoice::Real };
    let mut method = Method::Plain;
    for op in ops {
        match op {
            Op::Sign(sign) => {
                algorithm = sign.with.unwrap_or(algorithm);
                choice = sign.key.clone().unwrap_or(choice);
            }
            Op::HashMismatch => method = Method::OtherHash,
            Op::SchemeMismatch => method = Method::OtherPadding,
            Op::PssSalt(salt) => method = Method::Salt(*salt),
            Op::Pkcs1Padding(shape) => method = Method::Block(*shape),
            _ => {}
        }
    }
    let keys = mint.keys;
    let kind = algorithm.key_kind();
    // A recipe that needs the key of a token that was given has been turned away before.
    let by_another = ops.iter().any(|op| matches!(op, Op::ByIssuer(_)));
    if choice == KeyChoice::Real && mint.given.is_some() && !by_another {
        return Ok(None);
    }
    let secret = |bytes: Vec<u8>| {
        if kind != KeyKind::Secret {
            return Err(ForgeError::Impossible(format!(
                "{} needs a key pair; this key is a secret, add `alg: HS256`",
                algorithm.name()
            )));
        }
        keys.foreign(SecretBytes::new(bytes), algorithm).map(SigningKey::Secret)
    };
    let key = match choice {
        KeyChoice::Empty => secret(Vec::new())?,
        KeyChoice::Text(text) => secret(scope.text(&text)?.into_bytes())?,
        KeyChoice::Hex(hex) => secret(parse_hex(&hex)?)?,
        KeyChoice::Retired(place) => {
            let retired = keys.retired_secrets().get(place);
            let retired = retired.ok_or_else(|| ForgeError::NeedsKey(format!("retired secret number {place}")))?;
            secret(retired.expose().to_vec())?
        }
        KeyChoice::PublicKey(form) => secret(spelled_key(keys, mint.algorithm, form)?)?,
        KeyChoice::Equivalent if kind == KeyKind::Secret => SigningKey::Secret(keys.equivalent_secret(algorithm)?),
        KeyChoice::Real if kind == KeyKind::Secret => SigningKey::Secret(keys.require_secret()?.clone()),
        KeyChoice::Wrong if kind == KeyKind::Secret => secret(Keyring::wrong_secret(mint.seed).expose().to_vec())?,
        KeyChoice::Equivalent => {
            return Err(ForgeError::Impossible("only an HMAC secret has equivalent spellings".into()));
        }
        KeyChoice::Real => SigningKey::Private(keys.require_private(kind)?.clone()),
        KeyChoice::Wrong => SigningKey::Private(attacker(kind)?.clone()),
    };
    Ok(Some(Signing { algorithm, key, method }))
}

fn attacker(kind: KeyKind) -> Result<&'static PrivateKey, ForgeError> {
    PrivateKey::attacker(kind).ok_or(ForgeError::Crypto("generating a key"))
}

/// The target's public key in this spelling: the key of its own algorithm before any other.
pub(crate) fn spelled_key(keys: &Keyring, algorithm: Algorithm, form: PublicForm) -> Result<Vec<u8>, ForgeError> {
    if keys.public_keys().is_empty() {
        return Err(ForgeError::NeedsKey("public key".into()));
    }
    if form == PublicForm::CertificatePem {
        return keys.certificate().map(<[u8]>::to_vec).ok_or_else(|| ForgeError::NeedsKey("certificate".into()));
    }
    if form == PublicForm::AsGiven {
        let given = keys.as_given(algorithm.key_kind());
        return given.map(<[u8]>::to_vec).ok_or_else(|| ForgeError::NeedsKey("public key as a text of its own".into()));
    }
    let own = keys.public(algorithm.key_kind());
    own.into_iter()
        .chain(keys.public_keys())
        .find_map(|key| key.spelled(form))
        .ok_or_else(|| ForgeError::Impossible("the target's public key has no such spelling".into()))
}

/// The header member in which an attacker's key travels.
fn embed(header: &mut Document, op: &Op, mint: &Mint<'_>, scope: &Scope<'_>) -> Result<(), ForgeError> {
    match op {
        Op::EmbedJwk(AttackerKey::Oct) => {
            let key = String::from_utf8_lossy(&segment::encode(Keyring::wrong_secret(mint.seed).expose())).into_owned();
            header.set("jwk", json!({ "kty": "oct", "k": key }));
        }
        Op::EmbedJwk(kind) => {
            header.set("jwk", attacker(attacker_algorithm(*kind).key_kind())?.public().jwk());
        }
        Op::EmbedX5c(kind) => {
            let certificate = x509::self_signed(attacker(attacker_algorithm(*kind).key_kind())?)?;
            header.set("x5c", json!([STANDARD.encode(certificate)]));
        }
        Op::EmbedJku(url) => header.set("jku", json!(scope.text(url)?)),
        Op::EmbedX5u(url) => header.set("x5u", json!(scope.text(url)?)),
        Op::OversizedJwk(bits) => {
            let mut n = noise("modulus", mint.seed, bits.div_ceil(8));
            // As long, or the power would be had by few multiplications, at any length.
            let mut e = noise("exponent", mint.seed, n.len());
            for number in [&mut n, &mut e] {
                // An odd number of exactly that many bits, or a verifier could refuse it for its form alone.
                if let Some(first) = number.first_mut() {
                    *first |= 0x80;
                }
                if let Some(last) = number.last_mut() {
                    *last |= 1;
                }
            }
            header.set("jwk", PublicKey::Rsa { n, e }.jwk());
        }
        _ => {}
    }
    Ok(())
}

/// The header before a recipe changes it.
fn start_header(ops: &[Op], mint: &Mint<'_>, scope: &Scope<'_>, given: Option<&Given>) -> Result<Document, ForgeError> {
    let mut header = Document::default();
    match given {
        Some(given) => {
            header.set_all(given.header.clone());
            if ops
                .iter()
                .any(|op| matches!(op, Op::Alg(_) | Op::Ecdsa | Op::ByIssuer(_)) || stated_algorithm(op).is_some())
            {
                header.set("alg", json!(header_algorithm(ops, mint).name()));
            }
        }
        None => {
            header.set("alg", json!(header_algorithm(ops, mint).name()));
            header.set_all(scope.map(mint.header)?);
        }
    }
    Ok(header)
}

/// The claims before a recipe changes them.
fn start_claims(mint: &Mint<'_>, scope: &Scope<'_>, given: Option<&Given>) -> Result<Document, ForgeError> {
    let mut claims = Document::default();
    if let Some(given) = given {
        claims.set_all(given.claims.clone());
        return Ok(claims);
    }
    claims.set_all(scope.map(mint.claims)?);
    if let Some(audience) = mint.audience {
        claims.set_default("aud", json!(audience));
    }
    if let Some(issuer) = mint.issuer {
        claims.set_default("iss", json!(issuer));
    }
    Ok(claims)
}

fn make_header(ops: &[Op], mint: &Mint<'_>, scope: &Scope<'_>, given: Option<&Given>) -> Result<Document, ForgeError> {
    let mut header = start_header(ops, mint, scope, given)?;
    for op in ops {
        embed(&mut header, op, mint, scope)?;
    }
    for op in ops {
        match op {
            Op::Header(map) => header.set_all(scope.map(map)?),
            Op::ByIssuer(place) => match mint.other_issuers.get(*place).and_then(|other| other.kid.as_ref()) {
                Some(kid) => header.set("kid", json!(kid)),
                None => header.remove("kid"),
            },
            Op::DropHeader(names) => scope.names(names)?.iter().for_each(|name| header.remove(name)),
            Op::RenameHeader(names) => names.iter().for_each(|(from, to)| header.rename(from, to)),
            Op::HeaderLiterals(map) => {
                for (name, text) in map {
                    header.set_literal(&scope.text(name)?, scope.text(text)?);
                }
            }
            Op::HeaderRaw(text) => header.add_raw(scope.text(text)?),
            Op::HeaderFirst(map) => header.add_first(scope.map(map)?),
            Op::HeaderLast(map) => header.add_last(scope.map(map)?),
            Op::HeaderStyle(style) => header.add_style(*style),
            Op::HeaderOrder(names) => header.set_order(names),
            Op::LongKid(len) => header.set("kid", json!("a".repeat(*len))),
            Op::HeaderFiller(len) => header.set("x-filler", json!("a".repeat(*len))),
            Op::HeaderDepth(depth) => {
                header.set_literal("x-depth", format!("{}{}", "[".repeat(*depth), "]".repeat(*depth)));
            }
            Op::HeaderSyntax(syntax) => header.set_syntax(*syntax),
            Op::HeaderTrailing(text) => header.add_trailing(&scope.text(text)?),
            Op::HeaderBom => header.set_bom(),
            Op::HeaderEncoding(encoding) => header.set_encoding(*encoding),
            Op::HeaderBadUtf8(name) => header.spoil_utf8(name),
            Op::HeaderText(text) => header.replace(scope.text(text)?.into_bytes()),
            Op::HeaderHex(hex) => header.replace(parse_hex(hex)?),
            Op::Nest(_) => header.set_default("cty", json!("JWT")),
            Op::UnencodedClaims => {
                header.set("b64", json!(false));
                header.set("crit", json!(["b64"]));
            }
            Op::StdAlphabet(Part::Header) => header.set("x", json!(BOTH_SPECIALS)),
            _ => {}
        }
    }
    Ok(header)
}

fn make_claims(ops: &[Op], mint: &Mint<'_>, scope: &Scope<'_>, given: Option<&Given>) -> Result<Document, ForgeError> {
    let mut claims = start_claims(mint, scope, given)?;
    let template = given.map_or(mint.claims, |given| &given.claims);
    for op in ops {
        match op {
            Op::Claims(map) => claims.set_all(scope.map(map)?),
            Op::DropClaims(names) => scope.names(names)?.iter().for_each(|name| claims.remove(name)),
            Op::RequiredClaimsOnly => {
                if mint.needed_claims.is_empty() {
                    return Err(ForgeError::Undeclared("required_claims"));
                }
                let dispensable = template.keys().filter(|name| !mint.needed_claims.contains(name));
                dispensable.for_each(|name| claims.remove(name));
            }
            Op::RenameClaims(names) => names.iter().for_each(|(from, to)| claims.rename(from, to)),
            Op::Identity(value) => {
                let value = scope.value(value)?;
                for name in require_identity(template)? {
                    claims.set(&name, value.clone());
                }
            }
            Op::Role(value) => set_role(&mut claims, mint, scope.value(value)?)?,
            Op::ForeignRole(value) => {
                let value = scope.value(value)?;
                if value.as_str().is_some_and(|role| mint.allowed_roles.iter().any(|allowed| allowed == role)) {
                    return Err(ForgeError::Impossible("this is a role that is let in".into()));
                }
                set_role(&mut claims, mint, value)?;
            }
            Op::DropRole => {
                let place = mint.role.ok_or(ForgeError::Undeclared("roles"))?;
                match place.without(&around_role(&claims, place)) {
                    Some((name, value)) => claims.set(&name, value),
                    None => claims.remove(place.name()),
                }
            }
            Op::RefreshMarker => {
                let marker = mint.refresh_marker.filter(|marker| !marker.is_empty());
                claims.set_all(scope.map(marker.ok_or(ForgeError::Undeclared("refresh_marker"))?)?);
            }
            Op::DropIdentity => require_identity(template)?.iter().for_each(|name| claims.remove(name)),
            Op::ClaimLiterals(map) => {
                for (name, text) in map {
                    claims.set_literal(&scope.text(name)?, scope.text(text)?);
                }
            }
            Op::ClaimsRaw(text) => claims.add_raw(scope.text(text)?),
            Op::ClaimsFirst(map) => claims.add_first(scope.map(map)?),
            Op::ClaimsLast(map) => claims.add_last(scope.map(map)?),
            Op::ClaimsStyle(style) => claims.add_style(*style),
            Op::ClaimsOrder(names) => claims.set_order(names),
            Op::ClaimsFiller(len) => claims.set("x-filler", json!("a".repeat(*len))),
            Op::ExtraClaims(count) => claims.set_all(extra_claims(*count)),
            Op::ClaimsDepth(depth) => {
                claims.set_literal("x-depth", format!("{}{}", "[".repeat(*depth), "]".repeat(*depth)));
            }
            Op::ClaimsSyntax(syntax) => claims.set_syntax(*syntax),
            Op::ClaimsTrailing(text) => claims.add_trailing(&scope.text(text)?),
            Op::ClaimsBom => claims.set_bom(),
            Op::ClaimsEncoding(encoding) => claims.set_encoding(*encoding),
            Op::ClaimsBadUtf8(name) => claims.spoil_utf8(name),
            Op::ClaimsText(text) => claims.replace(scope.text(text)?.into_bytes()),
            Op::ClaimsHex(hex) => claims.replace(parse_hex(hex)?),
            Op::Nest(recipe) => claims.replace(forge(recipe, mint)?.bytes().unwrap_or_default().to_vec()),
            Op::UnencodedClaims => claims.escape_periods(),
            Op::StdAlphabet(Part::Claims) => claims.set("x", json!(BOTH_SPECIALS)),
            _ => {}
        }
    }
    Ok(claims)
}

fn set_role(claims: &mut Document, mint: &Mint<'_>, role: Value) -> Result<(), ForgeError> {
    let place = mint.role.ok_or(ForgeError::Undeclared("roles"))?;
    let (name, value) = place.holding(&around_role(claims, place), role);
    claims.set(&name, value);
    Ok(())
}

/// The claim in which the role stands, by itself.
fn around_role(claims: &Document, place: &RolePlace) -> Map<String, Value> {
    claims.get(place.name()).map(|value| (place.name().to_owned(), value.clone())).into_iter().collect()
}

fn require_identity(template: &Map<String, Value>) -> Result<Vec<String>, ForgeError> {
    let names = identity_claims(template);
    if names.is_empty() {
        return Err(ForgeError::Impossible("no claim of the template identifies the user".into()));
    }
    Ok(names)
}

/// Unknown claims of every JSON type in turn.
fn extra_claims(count: usize) -> Map<String, Value> {
    let kinds = [
        json!(null),
        json!(true),
        json!(-1.5),
        json!("text"),
        json!([1, ["2", []], {}]),
        json!({ "a": { "b": null, "c": [] } }),
    ];
    (0..count).map(|place| (format!("x-extra-{place}"), kinds[place % kinds.len()].clone())).collect()
}

/// The text of header or claims; none when a property that another value would have is missing.
fn make_segment(mut bytes: Vec<u8>, part: Part, ops: &[Op], scope: &Scope<'_>) -> Result<Option<Vec<u8>>, ForgeError> {
    for op in ops {
        // Spaces behind the JSON are legal (RFC 8259 §2) and give the length that the deformation needs.
        match op {
            Op::Pad(chosen) | Op::PadBits(chosen) if *chosen == part => {
                while bytes.len().is_multiple_of(3) {
                    bytes.push(b' ');
                }
            }
            Op::Dangle(chosen) if *chosen == part => {
                while !bytes.len().is_multiple_of(3) {
                    bytes.push(b' ');
                }
            }
            _ => {}
        }
    }
    let raw = part == Part::Claims && ops.iter().any(|op| matches!(op, Op::UnencodedClaims));
    let mut text = if raw { bytes } else { segment::encode(&bytes) };
    for op in ops {
        if !deform_segment(&mut text, part, op, scope)? {
            return Ok(None);
        }
    }
    Ok(Some(text))
}

/// Applies one operator of the segment layer. False when the segment lacks what the operator needs.
fn deform_segment(text: &mut Vec<u8>, part: Part, op: &Op, scope: &Scope<'_>) -> Result<bool, ForgeError> {
    match op {
        Op::Pad(chosen) if *chosen == part => segment::pad(text),
        Op::StdAlphabet(chosen) if *chosen == part => return Ok(segment::to_standard(text)),
        Op::Insert(insert) if insert.part == part => {
            segment::insert(text, insert.at, scope.text(&insert.text)?.as_bytes());
        }
        Op::Wrap(chosen) if *chosen == part => segment::wrap(text),
        Op::Dangle(chosen) if *chosen == part => segment::dangle(text),
        Op::PadBits(chosen) if *chosen == part => segment::set_pad_bits(text)?,
        Op::EmptySegment(chosen) if *chosen == part => text.clear(),
        Op::SplitSegment(chosen) if *chosen == part => segment::insert(text, At::Middle, b"."),
        _ => {}
    }
    Ok(true)
}

/// The signature bytes; none when this signature lacks a property that another may have.
fn make_signature(
    signing: Option<&Signing>,
    mut signature: Vec<u8>,
    signed: &[u8],
    ops: &[Op],
    mint: &Mint<'_>,
) -> Result<Option<Vec<u8>>, ForgeError> {
    let own = mint.algorithm.key_kind();
    let curve = || match signing.map(|signing| &signing.key) {
        Some(SigningKey::Private(key)) if matches!(key.public(), PublicKey::Ec { .. }) => Ok(key.public().kind()),
        None if matches!(own, KeyKind::P256 | KeyKind::P384 | KeyKind::P521) => Ok(own),
        _ => Err(ForgeError::Impossible("only ECDSA signatures have this form".into())),
    };
    for op in ops {
        match op {
            Op::FlipBit(at) => {
                let position = segment::position(signature.len(), *at)?;
                signature[position] ^= 1;
            }
            Op::TruncateSignature(len) => {
                if *len >= signature.len() {
                    return Err(ForgeError::Impossible("the signature is no longer than that".into()));
                }
                signature.truncate(*len);
            }
            Op::ExtendSignature(hex) => signature.extend(parse_hex(hex)?),
            Op::SignatureHex(hex) => signature = parse_hex(hex)?,
            Op::ZeroSignature => signature.fill(0),
            Op::OnesSignature => signature.fill(0xff),
            Op::EmptySignature => signature.clear(),
            Op::PsychicSignature => signature = vec![0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00],
            Op::SignatureOf(recipe) => {
                let other = signature_of(recipe, mint)?;
                if other == signature {
                    return Err(ForgeError::Impossible("the other token is the same token".into()));
                }
                signature = other;
            }
            Op::DerSignature => signature = signature::ec_der(curve()?, &signature)?,
            Op::TwinSignature => signature = signature::twin(curve()?, &signature)?,
            Op::EcdsaValues(values) => signature = signature::ec_values(curve()?, &signature, *values)?,
            Op::ShortSignature => {
                let curve = curve()?;
                let signing = signing.ok_or_else(|| ForgeError::NeedsKey(SIGNING_KEY.into()))?;
                // ECDSA is random: signing the same text again gives another signature.
                let mut short = signature::without_leading_zero(curve, &signature)?;
                for _ in 0..ATTEMPTS {
                    if short.is_some() {
                        break;
                    }
                    let again = sign::sign(&signing.key, signing.algorithm, signing.method, signed)?;
                    short = signature::without_leading_zero(curve, &again)?;
                }
                let Some(short) = short else { return Ok(None) };
                signature = short;
            }
            Op::RsaValue(value) => match signing.map(|signing| &signing.key) {
                // What is out of range is so by the target's modulus, whoever signs.
                Some(SigningKey::Private(key)) => {
                    let public = mint.keys.public(KeyKind::Rsa).unwrap_or(key.public());
                    signature = signature::rsa_value(public, &signature, *value)?;
                }
                None if own == KeyKind::Rsa => {
                    signature = signature::rsa_value(mint.keys.require_public(own)?, &signature, *value)?;
                }
                Some(SigningKey::Secret(_)) | None => {
                    return Err(ForgeError::Impossible("this signature is no RSA signature".into()));
                }
            },
            Op::EddsaShape(shape) => signature = signature::ed_shape(&signature, *shape)?,
            Op::OversizedJwk(bits) => signature = noise("signature", mint.seed, bits.div_ceil(8)),
            _ => {}
        }
    }
    Ok(Some(signature))
}

/// The signature bytes of another token of the same mint.
fn signature_of(recipe: &Recipe, mint: &Mint<'_>) -> Result<Vec<u8>, ForgeError> {
    let ops: &[Op] = match recipe {
        Recipe::Valid => &[],
        Recipe::Forge(ops) => ops,
        Recipe::Absent | Recipe::Empty | Recipe::Literal(_) => {
            return Err(ForgeError::Contradiction("only a forged token has a signature to borrow".into()));
        }
    };
    let scope = scope(mint, ops)?;
    let draft = Draft::make(ops, mint, &scope, 0)?;
    draft
        .map(|draft| draft.signature)
        .ok_or_else(|| ForgeError::Impossible("the other token has no such signature".into()))
}

/// Applies one operator that works on whole segments after signing.
fn change_parts(parts: &mut Vec<(Part, Vec<u8>)>, op: &Op) -> Result<(), ForgeError> {
    let find = |parts: &[(Part, Vec<u8>)], part: Part| {
        parts
            .iter()
            .position(|(own, _)| *own == part)
            .ok_or_else(|| ForgeError::Contradiction("this segment was dropped before".into()))
    };
    match op {
        Op::DropSegment(part) => {
            let place = find(parts, *part)?;
            parts.remove(place);
        }
        Op::KeepSegment(part) => {
            let place = find(parts, *part)?;
            *parts = vec![parts.swap_remove(place)];
        }
        Op::DuplicateSegment(part) => {
            let place = find(parts, *part)?;
            parts.insert(place, parts[place].clone());
        }
        Op::SwapSegments((first, second)) => {
            let (first, second) = (find(parts, *first)?, find(parts, *second)?);
            parts.swap(first, second);
        }
        Op::DeleteChar(character) => {
            let place = find(parts, character.part)?;
            let text = &mut parts[place].1;
            text.remove(segment::position(text.len(), character.at)?);
        }
        Op::InsertChar(character) => {
            let place = find(parts, character.part)?;
            let text = &mut parts[place].1;
            let position = match character.at {
                At::Last => text.len(),
                at => segment::position(text.len(), at)?,
            };
            text.insert(position, b'A');
        }
        Op::ChangeChar(character) => {
            let place = find(parts, character.part)?;
            let text = &mut parts[place].1;
            let position = segment::position(text.len(), character.at)?;
            text[position] = segment::change_char(text[position]);
        }
        Op::FlipCase(part) => {
            let place = find(parts, *part)?;
            let letter = parts[place].1.iter_mut().find(|byte| byte.is_ascii_alphabetic());
            let letter = letter.ok_or_else(|| ForgeError::Impossible("this segment has no letter".into()))?;
            *letter ^= 0x20;
        }
        _ => {}
    }
    Ok(())
}

/// Applies one operator that works on the whole text.
fn change_text(mut text: Vec<u8>, op: &Op, scope: &Scope<'_>) -> Result<Vec<u8>, ForgeError> {
    match op {
        Op::UpperCase => text.make_ascii_uppercase(),
        Op::LowerCase => text.make_ascii_lowercase(),
        Op::FullWidth => {
            // U+FF01 to U+FF5E mirror U+0021 to U+007E.
            text = text
                .iter()
                .map(|byte| if byte.is_ascii_alphanumeric() { 0xfee0 + u32::from(*byte) } else { u32::from(*byte) })
                .filter_map(char::from_u32)
                .collect::<String>()
                .into_bytes();
        }
        Op::PercentEncode => text = text.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect(),
        Op::Quote => {
            text.insert(0, b'"');
            text.push(b'"');
        }
        Op::Append(more) => text.extend_from_slice(scope.text(more)?.as_bytes()),
        Op::AppendHex(hex) => text.extend(parse_hex(hex)?),
        Op::Prefix(more) => segment::insert(&mut text, At::First, scope.text(more)?.as_bytes()),
        _ => {}
    }
    Ok(text)
}
