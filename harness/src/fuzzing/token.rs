//! Forge and oracle: whatever a recipe asks for is forged or refused with a reason, the oracle answers whatever it is
//! given, and what it accepts a second check, written without either, accepts too.

use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::seen::{SECRET, harmless};
use crate::profile::{Profile, Roles};
use crate::target::{Target, Templates};
use crate::token::{
    Algorithm, Answer, Effect, Jwe, KeyKind, Keyring, Mint, Op, OpInfo, OtherIssuer, PrivateKey, Recipe, Rules, Token,
    forge, oracle,
};

/// The time of every token, in seconds since 1970.
const NOW: f64 = 1_790_000_000.25;
/// The most of what an operator may add; more shows no more, and takes long.
const MOST: usize = 4096;
/// The input is a recipe in JSON: this byte, which key, the text.
const RECIPE: u8 = b'{';
/// The input is text in the place of a token, or text to be signed in the place of claims: this byte, which, the text.
const RAW: u8 = b'"';

const ISSUER: &str = "https://issuer.example";
const OTHER_ISSUER: &str = "https://other.example";
const OTHER_SECRET: &str = "the secret of another issuer, 32 bytes";

static WORLDS: LazyLock<Vec<World>> = LazyLock::new(|| {
    [Algorithm::HS256, Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256, Algorithm::PS256]
        .into_iter()
        .map(World::of)
        .collect()
});
static SAMPLES: LazyLock<Vec<(Effect, Op)>> = LazyLock::new(|| {
    let rows = Op::catalogue();
    let read =
        |(row, sample): (&OpInfo, &str)| (row.effect, serde_json::from_str(sample).expect("a sample is an operator"));
    rows.iter().flat_map(|row| row.samples.iter().map(move |sample| (row, *sample))).map(read).collect()
});

/// The target's key of this kind, the same in every process, so that an input is the same token as far as its signature is
/// not random: for curves the scalar and the seed are one byte again and again.
fn key(kind: KeyKind) -> PrivateKey {
    PrivateKey::parse(&key_der(kind)).expect("a key")
}

fn key_der(kind: KeyKind) -> Vec<u8> {
    // RFC 5915: the version, the scalar, and the name of P-256. RFC 8410: the version, the name of Ed25519, and the seed.
    const SEC_1: ([u8; 7], [u8; 12]) = (
        [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20],
        [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
    );
    const PKCS_8: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    let number = [1; 32];
    match kind {
        KeyKind::P256 => [&SEC_1.0[..], &number, &SEC_1.1].concat(),
        KeyKind::Ed25519 => [&PKCS_8[..], &number].concat(),
        _ => include_bytes!("own.der").to_vec(),
    }
}

/// A target that declares as much as it can, and what it takes to forge for it.
struct World {
    target: Target,
    templates: Templates,
    rules: Rules,
}

impl World {
    fn of(algorithm: Algorithm) -> Self {
        let word = |text: &str| Some(text.to_owned());
        let profile = Profile {
            // With keys of more than one issuer a token must name its own.
            kid: word("own"),
            audience: word("us"),
            issuer: word(ISSUER),
            roles: Some(Roles {
                claim: "role".to_owned(),
                list: false,
                allowed: vec!["admin".to_owned()],
                default: None,
                denied: vec!["viewer".to_owned()],
            }),
            identity_claims: vec!["sub".to_owned()],
            jku_allowlist: vec!["https://keys.example".to_owned()],
            weak_secrets: vec!["dev-secret-key".to_owned()],
            refresh_marker: Map::from_iter([("token_use".to_owned(), json!("refresh"))]),
            leeway: Some(0),
            require_exp: Some(true),
            ..Profile::default()
        };
        let mut target = Target::from_profile(harmless(profile)).expect("a target");
        target.algorithm = algorithm;
        if algorithm.key_kind() != KeyKind::Secret {
            let mut keys = Keyring::new();
            keys.add_private(key(algorithm.key_kind()));
            target.keys = keys;
        }
        target.other_issuers = vec![OtherIssuer {
            issuer: OTHER_ISSUER.to_owned(),
            keys: Keyring::new().with_secret(OTHER_SECRET),
            algorithm: Algorithm::HS256,
            kid: word("other"),
        }];
        let rules = Rules { algorithms: Some(vec![algorithm]), ..Rules::of(&target) };
        let templates = Templates::of(&target.profile);
        Self { target, templates, rules }
    }

    fn mint(&self) -> Mint<'_> {
        let mint = self.target.mint(&self.templates, NOW, "gatecrash", 7);
        Mint { listener: Some("http://harness.example/0"), ..mint }
    }

    fn answer(&self, token: &[u8]) -> Answer {
        let judgement = oracle(token, &self.rules, NOW, 0.0);
        let worst = judgement.reasons.iter().map(|reason| reason.answer).max();
        assert_eq!(judgement.answer, worst.unwrap_or(Answer::Accept), "an answer without its reason: {judgement:?}");
        assert!(!judgement.should_refuse || judgement.answer == Answer::Either, "{judgement:?}");
        assert_eq!(oracle(token, &self.rules, NOW, 0.0), judgement, "another answer to the same");
        // No hour is too odd for an answer.
        for now in [0.0, f64::NAN, f64::INFINITY, -1e308] {
            let _ = oracle(token, &self.rules, now, 1e300);
        }
        if judgement.answer == Answer::Accept {
            accepted(self, token);
        }
        judgement.answer
    }
}

/// The body of the target `token`.
pub(super) fn token(input: &[u8]) {
    match input {
        [RECIPE, which, text @ ..] => {
            if let Ok(recipe) = serde_json::from_slice::<Recipe>(text) {
                any_recipe(world(*which), &recipe);
            }
        }
        [RAW, which, text @ ..] => raw(world(*which), *which, text),
        _ => drop(chosen(&mut Unstructured::new(input))),
    }
}

/// Every other world signs with a secret, which costs a thousandth of an RSA signature.
fn world(which: u8) -> &'static World {
    let worlds = &*WORLDS;
    if which.is_multiple_of(2) { &worlds[0] } else { &worlds[usize::from(which / 2) % worlds.len()] }
}

/// What can be written in a recipe is forged or refused with a reason, and what the check lets pass is no mistake.
fn any_recipe(world: &World, recipe: &Recipe) -> Option<Token> {
    let written = serde_json::to_value(recipe).expect("a recipe can be written");
    assert_eq!(serde_json::from_value::<Recipe>(written).ok().as_ref(), Some(recipe), "written otherwise");
    if !is_small(recipe, 4) {
        return None;
    }
    let checked = recipe.check();
    let forged = forge(recipe, &world.mint());
    let token = match (&checked, forged) {
        (Ok(()), Ok(token)) => token,
        (Err(why), Ok(_)) => panic!("forged in spite of {why}"),
        (_, Err(error)) => {
            assert!(!error.to_string().is_empty(), "refused without a reason");
            return None;
        }
    };
    let description = token.describe();
    let shown = format!("{token:?} {description:?}");
    let bytes = token.bytes().unwrap_or_default();
    let signature = bytes.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    if let Ok(signature) = std::str::from_utf8(signature) {
        // A signature that is the modulus stands in a key that the header brings along, which is shown.
        let header = bytes.split(|byte| *byte == b'.').next().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let is_public = String::from_utf8_lossy(&header.unwrap_or_default()).contains(signature);
        assert!(signature.len() < 32 || is_public || !shown.contains(signature), "the token is printed: {shown}");
    }
    world.answer(bytes);
    Some(token)
}

/// What takes long to make shows no more than what does not.
fn is_small(recipe: &Recipe, depth: usize) -> bool {
    let Recipe::Forge(ops) = recipe else { return true };
    let nested = |inner: &Recipe| depth > 0 && is_small(inner, depth - 1);
    depth > 0
        && ops.len() <= 12
        && ops.iter().all(|op| match op {
            Op::HeaderFiller(size)
            | Op::LongKid(size)
            | Op::ClaimsFiller(size)
            | Op::ExtraClaims(size)
            | Op::HeaderDepth(size)
            | Op::ClaimsDepth(size)
            | Op::OversizedJwk(size)
            | Op::Jwe(Jwe::Zip(size)) => *size <= MOST,
            Op::Nest(inner) | Op::SignatureOf(inner) => nested(inner),
            // Arithmetic of our own with a private RSA key: a second each under the fuzzer. `tests/token_laws.rs` has
            // every shape.
            Op::Pkcs1Padding(_) => false,
            _ => true,
        })
}

/// Operators of the table, some with a sample of theirs, over one of the keys.
fn chosen(u: &mut Unstructured<'_>) -> Result<()> {
    let world = world(u.arbitrary()?);
    let mut picked = Vec::new();
    for _ in 0..u.int_in_range(1..=4)? {
        picked.push(u.choose(&SAMPLES)?.clone());
    }
    let recipe = Recipe::Forge(picked.iter().map(|(_, op)| op.clone()).collect());
    let Some(token) = any_recipe(world, &recipe) else { return Ok(()) };
    let bytes = token.bytes().unwrap_or_default();
    let answer = world.answer(bytes);
    let count = |effect| picked.iter().filter(|(other, _)| *other == effect).count();
    let (breaking, benign) = (count(Effect::Breaking), count(Effect::Benign));
    if breaking == 1 && benign + 1 == picked.len() {
        assert_ne!(answer, Answer::Accept, "broken, and yet accepted: {picked:?}");
    }
    if picked.len() == 1 && breaking == 1 {
        assert_eq!(answer, Answer::Refuse, "broken, and yet not refused: {picked:?}");
    }
    if benign == picked.len() {
        assert_ne!(answer, Answer::Refuse, "nothing is broken, and yet it is refused: {picked:?}");
    }
    if answer == Answer::Accept {
        // One byte of a token that is accepted, changed, is another token.
        let place = u.int_in_range(0..=bytes.len().saturating_sub(1))?;
        let mut edited = bytes.to_vec();
        let byte: u8 = u.arbitrary()?;
        let changed = std::mem::replace(&mut edited[place], byte) != byte;
        assert!(!changed || world.answer(&edited) != Answer::Accept, "accepted with another byte at {place}");
    }
    Ok(())
}

/// Bytes of whoever, as a token and as signed claims.
fn raw(world: &World, which: u8, text: &[u8]) {
    if which & 0x80 == 0 {
        // The fuzzer has no key: it may hand in a token of a seed, which `answer` looks at again.
        world.answer(text);
        return;
    }
    let hex: String = text.iter().take(MOST).map(|byte| format!("{byte:02x}")).collect();
    for op in [Op::ClaimsHex(hex.clone()), Op::HeaderHex(hex)] {
        any_recipe(world, &Recipe::Forge(vec![op]));
    }
}

/// What is accepted is a JWS of three parts in the target's algorithm, rightly signed, not over, not early, and meant for it.
fn accepted(world: &World, token: &[u8]) {
    let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
    let &[header, claims, signature] = &parts[..] else { panic!("accepted in {} parts", parts.len()) };
    let read = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).expect("accepted, and yet no base64url");
    let json = |part: &[u8]| serde_json::from_slice::<Value>(&read(part)).expect("accepted, and yet no JSON");
    let (header, claims, signature) = (json(header), json(claims), read(signature));
    // A key vouches for its own issuer only.
    let (algorithm, secret) = match claims["iss"].as_str() {
        Some(OTHER_ISSUER) => (Algorithm::HS256, OTHER_SECRET),
        issuer => {
            assert_eq!(issuer, Some(ISSUER), "accepted from a stranger");
            (world.target.algorithm, SECRET)
        }
    };
    assert_eq!(header["alg"], algorithm.name(), "the algorithm is not the token's to choose");
    assert!(header.get("crit").is_none(), "an extension nobody understands");
    let end = token.iter().rposition(|byte| *byte == b'.').unwrap_or_default();
    assert!(is_signed(algorithm, secret, &token[..end], &signature), "accepted with a wrong signature");
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp > NOW), "accepted when it is over: {}", claims["exp"]);
    assert!(claims.get("nbf").is_none_or(|nbf| nbf.as_f64().is_some_and(|nbf| nbf <= NOW)), "accepted too early");
    let meant = |aud: &Value| aud == "us" || aud.as_array().is_some_and(|list| list.contains(&json!("us")));
    assert!(meant(&claims["aud"]), "accepted, and yet meant for another: {}", claims["aud"]);
    assert_eq!(claims["role"], "admin", "accepted in another role");
    assert!(claims["sub"].as_str().is_some_and(|sub| !sub.is_empty()), "accepted from nobody");
}

/// Whether the signature is that of the secret, or of [`key`]: read once more, by the library itself.
fn is_signed(algorithm: Algorithm, secret: &str, signed: &[u8], signature: &[u8]) -> bool {
    let number = [1; 32];
    let (verifier, public): (&dyn VerificationAlgorithm, Vec<u8>) = match algorithm {
        Algorithm::HS256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            return hmac::verify(&key, signed, signature).is_ok();
        }
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::from_seed_unchecked(&number).expect("a seed");
            (&signature::ED25519, pair.public_key().as_ref().to_vec())
        }
        Algorithm::ES256 => {
            let der = key_der(KeyKind::P256);
            let pair = EcdsaKeyPair::from_private_key_der(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &der);
            (&signature::ECDSA_P256_SHA256_FIXED, pair.expect("a key").public_key().as_ref().to_vec())
        }
        Algorithm::RS256 | Algorithm::PS256 => {
            // A private RSA key is looked at for long.
            static PUBLIC: LazyLock<Vec<u8>> = LazyLock::new(|| {
                let pair = RsaKeyPair::from_der(&key_der(KeyKind::Rsa)).expect("a key");
                pair.public_key().as_ref().to_vec()
            });
            let verifier: &dyn VerificationAlgorithm = match algorithm {
                Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                _ => &signature::RSA_PSS_2048_8192_SHA256,
            };
            (verifier, PUBLIC.clone())
        }
        other => panic!("no world of {}", other.name()),
    };
    UnparsedPublicKey::new(verifier, public).verify(signed, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::PublicKey;

    /// What fails in one process fails in another; but ES256 and PS256 have random signatures.
    #[test]
    fn keys_and_tokens_are_the_same_in_every_process() {
        let mut all = Vec::new();
        for world in WORLDS.iter() {
            all.extend(world.target.keys.public_keys().iter().flat_map(PublicKey::spki_der));
            if !matches!(world.target.algorithm, Algorithm::ES256 | Algorithm::PS256) {
                let token = forge(&Recipe::Valid, &world.mint()).expect("forged");
                all.extend_from_slice(token.bytes().unwrap_or_default());
            }
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &all);
        assert_eq!(
            crate::hex::write(digest.as_ref()),
            "0e30321c0c6be2c45f3d69c7273f1c15ce6e8a436190cdd336a0418484e0a085"
        );
    }

    #[test]
    fn the_valid_token_is_accepted() {
        for world in WORLDS.iter() {
            let token = forge(&Recipe::Valid, &world.mint()).expect("forged");
            let judgement = oracle(token.bytes().unwrap_or_default(), &world.rules, NOW, 0.0);
            assert_eq!(
                judgement.answer,
                Answer::Accept,
                "the laws of what is accepted speak of nothing: {judgement:?}"
            );
        }
    }
}
