//! The flat list of operators: every way in which a recipe may change a token, each with a sentence, a layer,
//! an effect and samples. The enum and its table come from one macro, so an operator without a row does not
//! compile. What an operator does is in `forge`; this file only names it and checks its parameters.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::interpolate::{ForgeError, check_map, check_text, check_value};
use super::recipe::Recipe;
use crate::hex;

/// The part of the token on which an operator acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The header's JSON, signed again.
    Header,
    /// The claims' JSON, signed again.
    Claims,
    /// The text of a segment; header and claims are signed again.
    Segment,
    /// The key, the algorithm and the bytes of the signature.
    Signature,
    /// The finished text; nothing is signed again.
    Text,
    /// Another serialization or another kind of token.
    Structure,
}

/// What an operator does to the verdict on an otherwise valid token, when it acts alone with its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A correct verifier refuses the token.
    Breaking,
    /// A correct verifier still accepts the token.
    Benign,
    /// It depends on the parameters, or both answers are right.
    Open,
}

/// The kind of target key for which an operator's samples make sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Suits {
    /// Any key.
    Any,
    /// Targets that publish a public key.
    Public,
    /// RS256, RS384, RS512.
    Rsa,
    /// PS256, PS384, PS512.
    Pss,
    /// ES256, ES384, ES512.
    Ec,
    /// EdDSA.
    Ed,
}

/// A row of the operator table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpInfo {
    /// The name as it stands in a recipe.
    pub name: String,
    /// What it does, in a sentence.
    pub doc: String,
    /// Where it acts.
    pub layer: Layer,
    /// What it does to the verdict.
    pub effect: Effect,
    /// For which target its samples make sense.
    pub suits: Suits,
    /// Examples, as they stand in a recipe.
    pub samples: &'static [&'static str],
}

/// A part of the compact serialization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The first segment.
    Header,
    /// The second segment.
    Claims,
    /// The third segment.
    Signature,
}

impl Part {
    /// Its place in the compact serialization.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Header => 0,
            Self::Claims => 1,
            Self::Signature => 2,
        }
    }
}

/// Where in a text or in a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// Before the first character, or the first byte.
    First,
    /// In the middle.
    Middle,
    /// After the last character, or the last byte.
    Last,
}

/// Ways of writing the same JSON (RFC 8259 §2, §7): all of them legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// Spaces around every token.
    Spaced,
    /// Line feeds and two spaces.
    Pretty,
    /// Carriage return, line feed and a space after each comma, as in the example of RFC 7519 §3.1.
    Crlf,
    /// Line feeds and tabs.
    Tabs,
    /// Members in reverse order.
    Reversed,
    /// The first character of every name as a `\u` escape.
    EscapeNames,
    /// Every character of every string value as a `\u` escape.
    EscapeValues,
    /// A backslash before every `/`.
    EscapeSlashes,
}

/// Ways of writing what only lenient parsers take for JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Syntax {
    /// A `//` comment.
    LineComment,
    /// A `/* */` comment.
    BlockComment,
    /// A comma after the last member.
    TrailingComma,
    /// Strings in single quotes.
    SingleQuotes,
    /// Names without quotes.
    UnquotedNames,
    /// A raw line feed inside a string.
    RawControl,
    /// No closing brace.
    Unclosed,
}

/// Unicode encodings other than UTF-8, which RFC 7515 §5.2 and RFC 7519 §7.2 demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "JsonEncoding")]
pub enum Encoding {
    /// UTF-16, little endian, no byte order mark.
    Utf16le,
    /// UTF-16, big endian, no byte order mark.
    Utf16be,
    /// UTF-16, little endian, with a byte order mark.
    Utf16leBom,
    /// UTF-16, big endian, with a byte order mark.
    Utf16beBom,
    /// UTF-32, little endian, no byte order mark.
    Utf32le,
}

/// Text put into a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Insert {
    /// Which segment. Header and claims are signed again over the changed text.
    pub part: Part,
    /// Where in it.
    pub at: At,
    /// What to put there.
    pub text: String,
}

/// One character of a segment, after signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Character {
    /// Which segment.
    pub part: Part,
    /// Which character of it.
    pub at: At,
}

/// How a token is signed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Sign {
    /// With which key; the target's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyChoice>,
    /// With which algorithm, whatever the header says; the target's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<Algorithm>,
}

/// A key to sign with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyChoice {
    /// The target's own key.
    Real,
    /// A fresh key of the kind that the algorithm needs, which the target has never seen.
    Wrong,
    /// The empty HMAC key.
    Empty,
    /// The target's secret in another spelling that is the same HMAC key: not a forgery (RFC 2104 §2).
    Equivalent,
    /// This text as the HMAC key.
    Text(String),
    /// These bytes, in hexadecimal, as the HMAC key.
    Hex(String),
    /// The retired secret of this position in the profile.
    Retired(usize),
    /// The target's public key, in this spelling, as the HMAC key.
    PublicKey(PublicForm),
}

/// Spellings of a public key which a confused verifier may take for an HMAC secret (RFC 8725 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PublicForm {
    /// SubjectPublicKeyInfo in PEM, as it is usually found in a file.
    SpkiPem,
    /// The same without the last line feed.
    SpkiPemNoNewline,
    /// The same with CR LF.
    SpkiPemCrlf,
    /// The same with its body on one line.
    SpkiPemOneLine,
    /// The same with an empty line in front, as a text between quotes begins with.
    SpkiPemAfterNewline,
    /// The same without any line feed.
    SpkiPemFlat,
    /// The same with `\n` written for each line feed, as a variable of the environment has it.
    SpkiPemEscaped,
    /// Its body alone, base64 on one line.
    SpkiBase64,
    /// SubjectPublicKeyInfo in DER.
    SpkiDer,
    /// RSAPublicKey (PKCS#1) in PEM.
    Pkcs1Pem,
    /// The same without the last line feed.
    Pkcs1PemNoNewline,
    /// RSAPublicKey in PEM with its body on one line.
    Pkcs1PemOneLine,
    /// RSAPublicKey (PKCS#1) in DER.
    Pkcs1Der,
    /// JWK as compact JSON.
    Jwk,
    /// The RSA modulus as bytes.
    Modulus,
    /// The uncompressed point of an EC key, `04 || x || y`.
    Point,
    /// The coordinates of an EC key, `x || y`.
    Coordinates,
    /// The 32 bytes of an Ed25519 key.
    Raw,
    /// A line of an OpenSSH `authorized_keys` file, without a comment.
    Openssh,
    /// The same with a line feed.
    OpensshNewline,
    /// The certificate in PEM, exactly as the profile gives it.
    CertificatePem,
    /// The file or text of `keys.public`, byte for byte: what a server that loads the same file has in its hand.
    AsGiven,
}

/// The kind of the attacker's key in an embedded header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttackerKey {
    /// RSA, signing with RS256.
    Rsa,
    /// P-256, signing with ES256.
    Ec,
    /// Ed25519, signing with EdDSA.
    Ed,
    /// A symmetric key, signing with HS256. Only `embed_jwk` can carry it.
    Oct,
}

/// Values of r and s at the edges of their range (FIPS 186-5 §6.4.2 step 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EcScalar {
    /// The value of the genuine signature.
    Real,
    /// 0.
    Zero,
    /// 1.
    One,
    /// n - 1.
    OrderMinusOne,
    /// n.
    Order,
    /// n + 1.
    OrderPlusOne,
    /// As many ff bytes as fit.
    AllOnes,
}

/// The two halves of an ECDSA signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct EcValues {
    /// The first half.
    pub r: EcScalar,
    /// The second half.
    pub s: EcScalar,
}

/// RSA signature integers that a verifier must refuse before any arithmetic (RFC 8017 §5.2.2 step 1, §8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RsaValue {
    /// 0.
    Zero,
    /// 1.
    One,
    /// n - 1.
    ModulusMinusOne,
    /// n.
    Modulus,
    /// The genuine value plus n, one byte longer when it does not fit.
    PlusModulus,
    /// One zero byte in front.
    LeadingZero,
    /// The last byte missing.
    Short,
}

/// PSS salts other than the one RFC 7518 §3.5 demands (as long as the hash).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PssSalt {
    /// No salt.
    Zero,
    /// Twenty bytes, as SHA-1 has and as old libraries take for granted.
    Twenty,
    /// As long as the modulus allows.
    Max,
}

/// Shapes of a PKCS#1 v1.5 block that only a lenient verifier takes (RFC 8017 §8.2.2, RFC 7518 §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pkcs1Shape {
    /// A short run of ff, the digest, then garbage (Bleichenbacher 2006).
    GarbageAfterDigest,
    /// Garbage inside the DigestInfo, as algorithm parameters.
    GarbageParameters,
    /// The NULL parameters left out.
    MissingNull,
    /// Lengths in BER long form.
    LongFormLength,
    /// The outer sequence in BER indefinite length, ended by two zero bytes.
    IndefiniteLength,
    /// The bare digest without DigestInfo.
    NoDigestInfo,
    /// Block type 2 instead of 1.
    #[serde(rename = "block-type-2")]
    BlockType2,
    /// A padding byte other than ff.
    BadPaddingByte,
    /// No zero byte between padding and DigestInfo.
    MissingZero,
    /// The DigestInfo of another hash.
    OtherHash,
    /// An extra element after the digest, inside the sequence.
    ExtraElement,
}

/// Ed25519 signatures that a verifier must refuse (RFC 8032 §5.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EdShape {
    /// S plus the group order: not canonical.
    PlusOrder,
    /// R the identity, S zero.
    Identity,
    /// The halves exchanged.
    Swapped,
}

/// JSON serializations (RFC 7515 §7.2), which RFC 7519 §3 does not allow for a JWT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JsonSerialization {
    /// `{"payload","protected","signature"}`.
    Flattened,
    /// Two signatures: one of alg none, one genuine.
    General,
    /// A genuine flattened JWS whose text, cut at the periods, shows other claims (those of `tamper_claims`).
    Polyglot,
    /// The same with the text in the name of a member, in the midst of which both a reader of JSON and one that cuts at the
    /// periods find what they look for.
    PolyglotName,
}

/// Encrypted tokens (RFC 7516), which a target that promises signed ones must refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Jwe {
    /// `dir` and A256GCM with the shared secret as the key, or its SHA-256 when it has not 32 bytes.
    Dir,
    /// RSA-OAEP-256 and A256GCM for the target's public RSA key: anyone can make one.
    #[serde(rename = "rsa-oaep-256")]
    RsaOaep256,
    /// The same by RSA-OAEP with SHA-1, which every library has that has any.
    #[serde(rename = "rsa-oaep")]
    RsaOaep,
    /// The same by RSAES-PKCS1-v1_5.
    #[serde(rename = "rsa1_5")]
    Rsa15,
    /// ECDH-ES and A256GCM for the target's public key on a curve: anyone can make one of these as well.
    #[serde(rename = "ecdh-es")]
    EcdhEs,
    /// PBES2-HS256+A128KW with the target's public key, in this spelling, as the password.
    Password(PublicForm),
    /// PBES2-HS256+A128KW whose header asks for this many iterations; the rest is noise of the right length.
    Pbes2(u64),
    /// As `dir`, with `zip: DEF`: claims that grow to this many bytes when they are inflated (RFC 7516 §4.1.3).
    Zip(usize),
}

macro_rules! ops {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident $(($parameter:ty))?, $name:literal, $layer:ident, $effect:ident, $suits:ident, [$($sample:literal),+ $(,)?];
    )+) => {
        /// One change to a token.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub enum Op {
            $(
                $(#[doc = $doc])+
                #[serde(rename = $name)]
                $variant $(($parameter))?,
            )+
        }

        impl Op {
            /// Every operator, in the order of the layers: the table of the documentation, and what the laws
            /// in the tests walk over.
            #[must_use]
            pub fn catalogue() -> Vec<OpInfo> {
                vec![$(
                    OpInfo {
                        name: $name.to_owned(),
                        doc: concat!($($doc),+).trim().to_owned(),
                        layer: Layer::$layer,
                        effect: Effect::$effect,
                        suits: Suits::$suits,
                        samples: &[$($sample),+],
                    },
                )+]
            }

            /// Where it acts.
            fn layer(&self) -> Layer {
                match self {
                    $(ops!(@pattern $variant $(($parameter))?) => Layer::$layer,)+
                }
            }
        }
    };
    (@pattern $variant:ident ($parameter:ty)) => { Self::$variant(_) };
    (@pattern $variant:ident) => { Self::$variant };
}

ops! {
    // ---- header ----
    /// Sets header members; a name that exists keeps its place.
    Header(Map<String, Value>), "header", Header, Open, Any, [r#"{"header":{"x-trace":"1","foo":{"a":[1]}}}"#];
    /// Signs with another algorithm and says so in the header: an honest token of that algorithm.
    Alg(Algorithm), "alg", Header, Open, Any, [r#"{"alg":"HS384"}"#];
    /// Signs with the ECDSA algorithm of the target's elliptic curve, and says so in the header.
    Ecdsa, "ecdsa", Header, Open, Ec, [r#""ecdsa""#];
    /// Removes header members.
    DropHeader(Vec<String>), "drop_header", Header, Open, Any, [r#"{"drop_header":["typ"]}"#];
    /// Renames header members, value and place kept.
    RenameHeader(BTreeMap<String, String>), "rename_header", Header, Breaking, Any, [r#"{"rename_header":{"alg":"ALG"}}"#];
    /// Sets header members to JSON text written exactly as given, valid or not.
    HeaderLiterals(BTreeMap<String, String>), "header_literals", Header, Open, Any, [r#"{"header_literals":{"kid":"\"\\ud800\""}}"#];
    /// Writes this text as further members behind all others.
    HeaderRaw(String), "header_raw", Header, Open, Any, [r#"{"header_raw":"\"alg\":\"none\""}"#];
    /// Writes these members before all others, even when the name occurs again later.
    HeaderFirst(Map<String, Value>), "header_first", Header, Open, Any, [r#"{"header_first":{"alg":"none"}}"#];
    /// Writes these members behind all others, even when the name occurred before.
    HeaderLast(Map<String, Value>), "header_last", Header, Breaking, Any, [r#"{"header_last":{"alg":"none"}}"#];
    /// Writes the header in another legal way; may be given several times.
    HeaderStyle(Style), "header_style", Header, Benign, Any, [
        r#"{"header_style":"spaced"}"#, r#"{"header_style":"pretty"}"#, r#"{"header_style":"crlf"}"#,
        r#"{"header_style":"tabs"}"#, r#"{"header_style":"reversed"}"#, r#"{"header_style":"escape_names"}"#,
        r#"{"header_style":"escape_values"}"#, r#"{"header_style":"escape_slashes"}"#];
    /// Puts these header members first, in this order.
    HeaderOrder(Vec<String>), "header_order", Header, Benign, Any, [r#"{"header_order":["typ","alg"]}"#];
    /// Adds an unknown header member of arrays nested this deep.
    HeaderDepth(usize), "header_depth", Header, Open, Any, [r#"{"header_depth":500}"#];
    /// Writes a kid of this many characters, which names no key.
    LongKid(usize), "long_kid", Header, Open, Any, [r#"{"long_kid":200}"#];
    /// Adds an unknown header member of this many characters.
    HeaderFiller(usize), "header_filler", Header, Benign, Any, [r#"{"header_filler":200}"#];
    /// Writes the header in a way that only lenient parsers read.
    HeaderSyntax(Syntax), "header_syntax", Header, Breaking, Any, [
        r#"{"header_syntax":"line_comment"}"#, r#"{"header_syntax":"block_comment"}"#,
        r#"{"header_syntax":"trailing_comma"}"#, r#"{"header_syntax":"single_quotes"}"#,
        r#"{"header_syntax":"unquoted_names"}"#, r#"{"header_syntax":"raw_control"}"#,
        r#"{"header_syntax":"unclosed"}"#];
    /// Writes text behind the header's JSON.
    HeaderTrailing(String), "header_trailing", Header, Breaking, Any, [r#"{"header_trailing":"{\"alg\":\"none\"}"}"#];
    /// Writes a UTF-8 byte order mark before the header's JSON.
    HeaderBom, "header_bom", Header, Open, Any, [r#""header_bom""#];
    /// Encodes the header in another Unicode encoding.
    HeaderEncoding(Encoding), "header_encoding", Header, Breaking, Any, [
        r#"{"header_encoding":"utf16le"}"#, r#"{"header_encoding":"utf16be"}"#,
        r#"{"header_encoding":"utf16le_bom"}"#, r#"{"header_encoding":"utf16be_bom"}"#,
        r#"{"header_encoding":"utf32le"}"#];
    /// Puts a byte ff, which no UTF-8 contains, into the value of this header member, added when missing.
    HeaderBadUtf8(String), "header_bad_utf8", Header, Breaking, Any, [r#"{"header_bad_utf8":"kid"}"#];
    /// Replaces the whole header by this text.
    HeaderText(String), "header_text", Header, Breaking, Any, [
        r#"{"header_text":"HS256"}"#, r#"{"header_text":"[\"alg\",\"HS256\"]"}"#, r#"{"header_text":"null"}"#];
    /// Replaces the whole header by these bytes, in hexadecimal.
    HeaderHex(String), "header_hex", Header, Breaking, Any, [r#"{"header_hex":"ff00"}"#];
    /// Puts the attacker's public key into `jwk` and signs with the attacker's private key.
    EmbedJwk(AttackerKey), "embed_jwk", Header, Breaking, Any, [
        r#"{"embed_jwk":"rsa"}"#, r#"{"embed_jwk":"ec"}"#, r#"{"embed_jwk":"ed"}"#, r#"{"embed_jwk":"oct"}"#];
    /// Puts a self-signed certificate of the attacker into `x5c` and signs with its key.
    EmbedX5c(AttackerKey), "embed_x5c", Header, Breaking, Any, [r#"{"embed_x5c":"rsa"}"#, r#"{"embed_x5c":"ec"}"#];
    /// Points `jku` at this address and signs with the attacker's RSA key.
    EmbedJku(String), "embed_jku", Header, Breaking, Any, [r#"{"embed_jku":"http://127.0.0.1:9/jwks.json"}"#];
    /// Points `x5u` at this address and signs with the attacker's RSA key.
    EmbedX5u(String), "embed_x5u", Header, Breaking, Any, [r#"{"embed_x5u":"http://127.0.0.1:9/cert.pem"}"#];
    /// Puts an RSA key of this many bits into `jwk` and signs with noise: costly to verify, never genuine.
    OversizedJwk(usize), "oversized_jwk", Header, Breaking, Any, [r#"{"oversized_jwk":16384}"#];
    /// Changes header members after signing: the signature no longer covers the header.
    TamperHeader(Map<String, Value>), "tamper_header", Header, Breaking, Any, [r#"{"tamper_header":{"x":1}}"#];

    // ---- claims ----
    /// Sets claims; a name that exists keeps its place.
    Claims(Map<String, Value>), "claims", Claims, Open, Any, [r#"{"claims":{"exp":"${now-3600}"}}"#];
    /// Removes claims.
    DropClaims(Vec<String>), "drop_claims", Claims, Open, Any, [r#"{"drop_claims":["exp"]}"#];
    /// Renames claims, value and place kept.
    RenameClaims(BTreeMap<String, String>), "rename_claims", Claims, Open, Any, [r#"{"rename_claims":{"exp":"EXP"}}"#];
    /// Makes the token another user's: `${user}` in the template means this name.
    User(String), "user", Claims, Benign, Any, [r#"{"user":"bob"}"#];
    /// Sets every claim that identifies the user to this value, of any JSON type.
    Identity(Value), "identity", Claims, Open, Any, [r#"{"identity":""}"#, r#"{"identity":1}"#];
    /// Removes every claim that identifies the user.
    DropIdentity, "drop_identity", Claims, Open, Any, [r#""drop_identity""#];
    /// Removes every claim of the valid token that the profile does not declare to be needed.
    RequiredClaimsOnly, "required_claims_only", Claims, Open, Any, [r#""required_claims_only""#];
    /// Sets claims to JSON text written exactly as given, valid or not.
    ClaimLiterals(BTreeMap<String, String>), "claim_literals", Claims, Open, Any, [
        r#"{"claim_literals":{"exp":"1e400"}}"#, r#"{"claim_literals":{"exp":"NaN"}}"#,
        r#"{"claim_literals":{"sub":"\"\\ud800\""}}"#];
    /// Writes this text as further members behind all others.
    ClaimsRaw(String), "claims_raw", Claims, Open, Any, [r#"{"claims_raw":"\"exp\":1e400"}"#];
    /// Writes these claims before all others, even when the name occurs again later.
    ClaimsFirst(Map<String, Value>), "claims_first", Claims, Open, Any, [r#"{"claims_first":{"role":"admin"}}"#];
    /// Writes these claims behind all others, even when the name occurred before.
    ClaimsLast(Map<String, Value>), "claims_last", Claims, Open, Any, [r#"{"claims_last":{"exp":"${now-3600}"}}"#];
    /// Writes the claims in another legal way; may be given several times.
    ClaimsStyle(Style), "claims_style", Claims, Benign, Any, [
        r#"{"claims_style":"spaced"}"#, r#"{"claims_style":"pretty"}"#, r#"{"claims_style":"crlf"}"#,
        r#"{"claims_style":"tabs"}"#, r#"{"claims_style":"reversed"}"#, r#"{"claims_style":"escape_names"}"#,
        r#"{"claims_style":"escape_values"}"#, r#"{"claims_style":"escape_slashes"}"#];
    /// Puts these claims first, in this order.
    ClaimsOrder(Vec<String>), "claims_order", Claims, Benign, Any, [r#"{"claims_order":["exp","sub"]}"#];
    /// Adds an unknown claim of this many characters.
    ClaimsFiller(usize), "claims_filler", Claims, Benign, Any, [r#"{"claims_filler":4096}"#];
    /// Adds this many unknown claims of every JSON type.
    ExtraClaims(usize), "extra_claims", Claims, Benign, Any, [r#"{"extra_claims":40}"#];
    /// Adds an unknown claim of arrays nested this deep.
    ClaimsDepth(usize), "claims_depth", Claims, Open, Any, [r#"{"claims_depth":500}"#];
    /// Writes the claims in a way that only lenient parsers read.
    ClaimsSyntax(Syntax), "claims_syntax", Claims, Breaking, Any, [
        r#"{"claims_syntax":"line_comment"}"#, r#"{"claims_syntax":"block_comment"}"#,
        r#"{"claims_syntax":"trailing_comma"}"#, r#"{"claims_syntax":"single_quotes"}"#,
        r#"{"claims_syntax":"unquoted_names"}"#, r#"{"claims_syntax":"raw_control"}"#,
        r#"{"claims_syntax":"unclosed"}"#];
    /// Writes text behind the claims' JSON.
    ClaimsTrailing(String), "claims_trailing", Claims, Breaking, Any, [r#"{"claims_trailing":"X"}"#];
    /// Writes a UTF-8 byte order mark before the claims' JSON.
    ClaimsBom, "claims_bom", Claims, Open, Any, [r#""claims_bom""#];
    /// Encodes the claims in another Unicode encoding.
    ClaimsEncoding(Encoding), "claims_encoding", Claims, Breaking, Any, [
        r#"{"claims_encoding":"utf16le"}"#, r#"{"claims_encoding":"utf16be"}"#,
        r#"{"claims_encoding":"utf16le_bom"}"#, r#"{"claims_encoding":"utf16be_bom"}"#,
        r#"{"claims_encoding":"utf32le"}"#];
    /// Puts a byte ff, which no UTF-8 contains, into the value of this claim, added when missing.
    ClaimsBadUtf8(String), "claims_bad_utf8", Claims, Breaking, Any, [r#"{"claims_bad_utf8":"sub"}"#];
    /// Replaces all claims by this text.
    ClaimsText(String), "claims_text", Claims, Breaking, Any, [
        r#"{"claims_text":"hello"}"#, r#"{"claims_text":"[1]"}"#, r#"{"claims_text":"true"}"#];
    /// Replaces all claims by these bytes, in hexadecimal.
    ClaimsHex(String), "claims_hex", Claims, Breaking, Any, [r#"{"claims_hex":"ff00"}"#];
    /// Sets the claim that carries the role, whatever the target calls it.
    Role(Value), "role", Claims, Open, Any, [r#"{"role":"gatecrash-nobody"}"#];
    /// As `role`, for a value that must not be a role that is let in: where it is one, the token cannot be made.
    ForeignRole(Value), "foreign_role", Claims, Open, Any, [r#"{"foreign_role":"superuser"}"#];
    /// Removes the claim that carries the role.
    DropRole, "drop_role", Claims, Open, Any, [r#""drop_role""#];
    /// Lays the claims over the others that make a token of this target a refresh token.
    RefreshMarker, "refresh_marker", Claims, Open, Any, [r#""refresh_marker""#];
    /// Makes another token the payload and sets `cty` to `JWT` (RFC 7519 §5.2).
    Nest(Box<Recipe>), "nest", Claims, Breaking, Any, [
        r#"{"nest":{"forge":[{"header":{"alg":"none"}},"empty_signature"]}}"#];
    /// Changes claims after signing: the signature no longer covers them.
    TamperClaims(Map<String, Value>), "tamper_claims", Claims, Breaking, Any, [r#"{"tamper_claims":{"x":1}}"#];

    // ---- segments: header and claims are signed again over the changed text ----
    /// Adds base64 padding; white space is added to the JSON where it would need none.
    Pad(Part), "pad", Segment, Breaking, Any, [r#"{"pad":"header"}"#, r#"{"pad":"claims"}"#, r#"{"pad":"signature"}"#];
    /// Writes `+` and `/` for `-` and `_`, and sees to it that both occur.
    StdAlphabet(Part), "std_alphabet", Segment, Breaking, Any, [
        r#"{"std_alphabet":"header"}"#, r#"{"std_alphabet":"claims"}"#, r#"{"std_alphabet":"signature"}"#];
    /// Puts text into a segment.
    Insert(Insert), "insert", Segment, Breaking, Any, [
        r#"{"insert":{"part":"claims","at":"middle","text":" "}}"#, r#"{"insert":{"part":"header","at":"last","text":"!!"}}"#,
        r#"{"insert":{"part":"signature","at":"middle","text":"*"}}"#];
    /// Wraps a segment with CR LF after every 20 characters.
    Wrap(Part), "wrap", Segment, Breaking, Any, [r#"{"wrap":"signature"}"#, r#"{"wrap":"claims"}"#];
    /// Appends `A` until the length is 1 modulo 4, which no bytes encode to.
    Dangle(Part), "dangle", Segment, Breaking, Any, [
        r#"{"dangle":"header"}"#, r#"{"dangle":"claims"}"#, r#"{"dangle":"signature"}"#];
    /// Sets unused bits of the last character: another spelling of the same bytes.
    PadBits(Part), "pad_bits", Segment, Open, Any, [r#"{"pad_bits":"claims"}"#];
    /// Leaves the segment empty.
    EmptySegment(Part), "empty_segment", Segment, Breaking, Any, [
        r#"{"empty_segment":"header"}"#, r#"{"empty_segment":"claims"}"#, r#"{"empty_segment":"signature"}"#];
    /// Puts a period into the middle of the segment.
    SplitSegment(Part), "split_segment", Segment, Breaking, Any, [
        r#"{"split_segment":"claims"}"#, r#"{"split_segment":"signature"}"#];
    /// Sends the claims unencoded with `b64: false` and `crit: ["b64"]` (RFC 7797).
    UnencodedClaims, "unencoded_claims", Segment, Breaking, Any, [r#""unencoded_claims""#];

    // ---- signature ----
    /// Chooses the key and the algorithm of the signature without touching the header; where a secret is chosen and the target's algorithm takes none, the header says HS256.
    Sign(Sign), "sign", Signature, Open, Any, [r#"{"sign":{"key":"wrong"}}"#, r#"{"sign":{"key":{"text":"dev-secret-key"},"with":"HS256"}}"#];
    /// Signs with the key of the further issuer at this place of the profile, its `alg` and its `kid` in the header. The
    /// claims stay: `iss` is not changed.
    ByIssuer(usize), "by_issuer", Signature, Open, Any, [r#"{"by_issuer":0}"#];
    /// Signs with another hash than the header names.
    HashMismatch, "hash_mismatch", Signature, Breaking, Any, [r#""hash_mismatch""#];
    /// Signs with the other RSA padding than the header names.
    SchemeMismatch, "scheme_mismatch", Signature, Breaking, Rsa, [r#""scheme_mismatch""#];
    /// Flips one bit of the signature.
    FlipBit(At), "flip_bit", Signature, Breaking, Any, [r#"{"flip_bit":"first"}"#, r#"{"flip_bit":"middle"}"#, r#"{"flip_bit":"last"}"#];
    /// Keeps only the first bytes of the signature.
    TruncateSignature(usize), "truncate_signature", Signature, Breaking, Any, [r#"{"truncate_signature":16}"#, r#"{"truncate_signature":1}"#];
    /// Appends bytes, in hexadecimal, to the signature.
    ExtendSignature(String), "extend_signature", Signature, Breaking, Any, [r#"{"extend_signature":"00"}"#];
    /// Replaces the signature by these bytes, in hexadecimal.
    SignatureHex(String), "signature_hex", Signature, Breaking, Any, [r#"{"signature_hex":"00"}"#];
    /// Zero bytes, as many as the signature has.
    ZeroSignature, "zero_signature", Signature, Breaking, Any, [r#""zero_signature""#];
    /// Bytes ff, as many as the signature has.
    OnesSignature, "ones_signature", Signature, Breaking, Any, [r#""ones_signature""#];
    /// No signature bytes; both periods stay.
    EmptySignature, "empty_signature", Signature, Breaking, Any, [r#""empty_signature""#];
    /// The signature of another token.
    SignatureOf(Box<Recipe>), "signature_of", Signature, Breaking, Any, [r#"{"signature_of":{"forge":[{"claims":{"jti":"another"}}]}}"#];
    /// The DER form of an ECDSA signature of zeros, as in CVE-2022-21449.
    PsychicSignature, "psychic_signature", Signature, Breaking, Any, [r#""psychic_signature""#];
    /// The ECDSA signature in DER instead of the fixed form of RFC 7518 §3.4.
    DerSignature, "der_signature", Signature, Breaking, Ec, [r#""der_signature""#];
    /// An ECDSA signature whose leading zero byte is left out.
    ShortSignature, "short_signature", Signature, Breaking, Ec, [r#""short_signature""#];
    /// The other valid ECDSA signature, (r, n - s).
    TwinSignature, "twin_signature", Signature, Open, Ec, [r#""twin_signature""#];
    /// Chosen values of r and s.
    EcdsaValues(EcValues), "ecdsa_values", Signature, Breaking, Ec, [
        r#"{"ecdsa_values":{"r":"zero","s":"zero"}}"#, r#"{"ecdsa_values":{"r":"order","s":"real"}}"#,
        r#"{"ecdsa_values":{"r":"one","s":"order_minus_one"}}"#, r#"{"ecdsa_values":{"r":"all_ones","s":"order_plus_one"}}"#];
    /// Degenerate RSA signature integers.
    RsaValue(RsaValue), "rsa_value", Signature, Breaking, Rsa, [
        r#"{"rsa_value":"zero"}"#, r#"{"rsa_value":"one"}"#, r#"{"rsa_value":"modulus_minus_one"}"#,
        r#"{"rsa_value":"modulus"}"#, r#"{"rsa_value":"plus_modulus"}"#, r#"{"rsa_value":"leading_zero"}"#,
        r#"{"rsa_value":"short"}"#];
    /// A PSS salt of the wrong length.
    PssSalt(PssSalt), "pss_salt", Signature, Breaking, Pss, [
        r#"{"pss_salt":"zero"}"#, r#"{"pss_salt":"twenty"}"#, r#"{"pss_salt":"max"}"#];
    /// A malformed PKCS#1 v1.5 block, signed with the genuine RSA key.
    Pkcs1Padding(Pkcs1Shape), "pkcs1_padding", Signature, Breaking, Rsa, [
        r#"{"pkcs1_padding":"garbage_after_digest"}"#, r#"{"pkcs1_padding":"garbage_parameters"}"#,
        r#"{"pkcs1_padding":"missing_null"}"#, r#"{"pkcs1_padding":"long_form_length"}"#,
        r#"{"pkcs1_padding":"indefinite_length"}"#,
        r#"{"pkcs1_padding":"no_digest_info"}"#, r#"{"pkcs1_padding":"block-type-2"}"#,
        r#"{"pkcs1_padding":"bad_padding_byte"}"#, r#"{"pkcs1_padding":"missing_zero"}"#,
        r#"{"pkcs1_padding":"other_hash"}"#, r#"{"pkcs1_padding":"extra_element"}"#];
    /// An Ed25519 signature that is not canonical or trivial.
    EddsaShape(EdShape), "eddsa_shape", Signature, Breaking, Ed, [
        r#"{"eddsa_shape":"plus_order"}"#, r#"{"eddsa_shape":"identity"}"#, r#"{"eddsa_shape":"swapped"}"#];

    // ---- text: nothing is signed again ----
    /// Leaves a segment and its period out.
    DropSegment(Part), "drop_segment", Text, Breaking, Any, [
        r#"{"drop_segment":"header"}"#, r#"{"drop_segment":"claims"}"#, r#"{"drop_segment":"signature"}"#];
    /// Leaves only this segment, without periods.
    KeepSegment(Part), "keep_segment", Text, Breaking, Any, [r#"{"keep_segment":"claims"}"#];
    /// Writes a segment twice.
    DuplicateSegment(Part), "duplicate_segment", Text, Breaking, Any, [r#"{"duplicate_segment":"claims"}"#];
    /// Exchanges two segments.
    SwapSegments((Part, Part)), "swap_segments", Text, Breaking, Any, [
        r#"{"swap_segments":["header","claims"]}"#, r#"{"swap_segments":["claims","signature"]}"#];
    /// Removes one character of a segment.
    DeleteChar(Character), "delete_char", Text, Breaking, Any, [r#"{"delete_char":{"part":"claims","at":"middle"}}"#];
    /// Puts one more character of the alphabet into a segment.
    InsertChar(Character), "insert_char", Text, Breaking, Any, [
        r#"{"insert_char":{"part":"header","at":"last"}}"#, r#"{"insert_char":{"part":"claims","at":"middle"}}"#,
        r#"{"insert_char":{"part":"signature","at":"first"}}"#];
    /// Replaces one character of a segment by another of the alphabet.
    ChangeChar(Character), "change_char", Text, Breaking, Any, [
        r#"{"change_char":{"part":"header","at":"middle"}}"#, r#"{"change_char":{"part":"signature","at":"first"}}"#];
    /// Changes the case of the first letter of a segment.
    FlipCase(Part), "flip_case", Text, Breaking, Any, [r#"{"flip_case":"header"}"#, r#"{"flip_case":"claims"}"#];
    /// Writes the whole token in upper case.
    UpperCase, "upper_case", Text, Breaking, Any, [r#""upper_case""#];
    /// Writes the whole token in lower case.
    LowerCase, "lower_case", Text, Breaking, Any, [r#""lower_case""#];
    /// Writes every letter and digit in its full_width form (U+FF01 to U+FF5E).
    FullWidth, "full_width", Text, Breaking, Any, [r#""full_width""#];
    /// Writes every character as a percent escape.
    PercentEncode, "percent_encode", Text, Breaking, Any, [r#""percent_encode""#];
    /// Puts the token in double quotes.
    Quote, "quote", Text, Breaking, Any, [r#""quote""#];
    /// Appends text.
    Append(String), "append", Text, Breaking, Any, [r#"{"append":".foo"}"#, r#"{"append":"\u0000junk"}"#, r#"{"append":"😀"}"#];
    /// Appends bytes, in hexadecimal.
    AppendHex(String), "append_hex", Text, Breaking, Any, [r#"{"append_hex":"ff"}"#];
    /// Writes text before the token.
    Prefix(String), "prefix", Text, Breaking, Any, [r#"{"prefix":"."}"#, r#"{"prefix":"Bearer "}"#];

    // ---- structure ----
    /// Writes the token in a JSON serialization.
    JsonSerialization(JsonSerialization), "json_serialization", Structure, Breaking, Any, [
        r#"{"json_serialization":"flattened"}"#, r#"{"json_serialization":"general"}"#, r#"{"json_serialization":"polyglot"}"#,
        r#"{"json_serialization":"polyglot_name"}"#];
    /// Encrypts the claims instead of signing them.
    Jwe(Jwe), "jwe", Structure, Breaking, Any, [
        r#"{"jwe":"dir"}"#, r#"{"jwe":{"pbes2":2000000}}"#, r#"{"jwe":{"zip":10000000}}"#];
}

impl Op {
    /// Whether the bytes it makes can be made by nobody but the target and its issuer, whoever signs.
    pub(crate) fn rests_on_secret(&self) -> bool {
        match self {
            Self::User(_) | Self::Jwe(Jwe::Dir | Jwe::Zip(_)) => true,
            Self::Nest(recipe) | Self::SignatureOf(recipe) => recipe.needs_signing_key(),
            Self::Sign(Sign { key: Some(KeyChoice::Equivalent), .. }) => true,
            _ => false,
        }
    }

    /// Whether these sign with another key than the target's.
    pub(crate) fn sign_as_another(ops: &[Self]) -> bool {
        let chosen = ops.iter().rev().find_map(|op| match op {
            Self::Sign(sign) => sign.key.as_ref(),
            _ => None,
        });
        match chosen {
            Some(key) => !matches!(key, KeyChoice::Real | KeyChoice::Equivalent),
            None => ops.iter().any(|op| {
                matches!(
                    op,
                    Self::EmbedJwk(_)
                        | Self::EmbedX5c(_)
                        | Self::EmbedJku(_)
                        | Self::EmbedX5u(_)
                        | Self::OversizedJwk(_)
                        | Self::ByIssuer(_)
                )
            }),
        }
    }

    /// Whether the target's key must sign what these make of a token that is signed already.
    pub(crate) fn sign_as_target(ops: &[Self]) -> bool {
        // A signature of an unusual kind is the target's own as well.
        let unusual = |op: &Self| {
            matches!(
                op,
                Self::HashMismatch
                    | Self::SchemeMismatch
                    | Self::PssSalt(_)
                    | Self::Pkcs1Padding(_)
                    | Self::ShortSignature
                    | Self::Sign(Sign { with: Some(_), .. })
            )
        };
        let replaced = |op: &Self| {
            matches!(
                op,
                Self::ZeroSignature
                    | Self::OnesSignature
                    | Self::EmptySignature
                    | Self::SignatureHex(_)
                    | Self::SignatureOf(_)
                    | Self::PsychicSignature
                    | Self::EmptySegment(Part::Signature)
                    | Self::DropSegment(Part::Signature)
                    | Self::KeepSegment(Part::Header | Part::Claims)
                    | Self::Jwe(_)
            )
        };
        !ops.iter().any(replaced) && ops.iter().any(|op| unusual(op) || op.changes_what_is_signed())
    }

    /// Whether header or claims are other bytes than before, and are to be signed again.
    fn changes_what_is_signed(&self) -> bool {
        match self {
            Self::Pad(part)
            | Self::StdAlphabet(part)
            | Self::Wrap(part)
            | Self::Dangle(part)
            | Self::PadBits(part)
            | Self::EmptySegment(part)
            | Self::SplitSegment(part) => *part != Part::Signature,
            Self::Insert(insert) => insert.part != Part::Signature,
            // What is changed after signing is not signed again.
            Self::TamperHeader(_) | Self::TamperClaims(_) => false,
            other => matches!(other.layer(), Layer::Header | Layer::Claims | Layer::Segment),
        }
    }

    /// Checks the parameters without keys and without a clock.
    pub(crate) fn check(&self) -> Result<(), ForgeError> {
        match self {
            Self::Header(map)
            | Self::HeaderFirst(map)
            | Self::HeaderLast(map)
            | Self::TamperHeader(map)
            | Self::Claims(map)
            | Self::ClaimsFirst(map)
            | Self::ClaimsLast(map)
            | Self::TamperClaims(map) => check_map(map),
            Self::HeaderLiterals(map) | Self::ClaimLiterals(map) => {
                map.iter().try_for_each(|(name, text)| check_text(name).and_then(|()| check_text(text)))
            }
            Self::DropHeader(names) | Self::DropClaims(names) => names.iter().try_for_each(|name| check_text(name)),
            Self::HeaderRaw(text)
            | Self::HeaderTrailing(text)
            | Self::HeaderText(text)
            | Self::EmbedJku(text)
            | Self::EmbedX5u(text)
            | Self::User(text)
            | Self::ClaimsRaw(text)
            | Self::ClaimsTrailing(text)
            | Self::ClaimsText(text)
            | Self::Append(text)
            | Self::Prefix(text) => check_text(text),
            Self::Insert(insert) => check_text(&insert.text),
            Self::Identity(value) | Self::Role(value) | Self::ForeignRole(value) => check_value(value),
            Self::HeaderHex(hex)
            | Self::ClaimsHex(hex)
            | Self::ExtendSignature(hex)
            | Self::SignatureHex(hex)
            | Self::AppendHex(hex) => parse_hex(hex).map(|_| ()),
            Self::Nest(recipe) | Self::SignatureOf(recipe) => match **recipe {
                Recipe::Absent => Err(ForgeError::Contradiction("a token inside a token cannot be absent".into())),
                _ => recipe.check(),
            },
            Self::Sign(sign) => match &sign.key {
                Some(KeyChoice::Text(text)) => check_text(text),
                Some(KeyChoice::Hex(hex)) => parse_hex(hex).map(|_| ()),
                _ => Ok(()),
            },
            Self::HeaderFiller(size) | Self::LongKid(size) | Self::ClaimsFiller(size) => {
                limit("filler", *size, 16 << 20)
            }
            Self::ExtraClaims(count) => limit("extra claims", *count, 100_000),
            Self::HeaderDepth(depth) | Self::ClaimsDepth(depth) => limit("depth", *depth, 1_000_000),
            Self::Jwe(Jwe::Zip(size)) => limit("inflated size", *size, 128 << 20),
            Self::OversizedJwk(bits) => limit("key size", *bits, 1 << 20),
            Self::EmbedX5c(AttackerKey::Oct) => {
                Err(ForgeError::Contradiction("a certificate cannot carry a symmetric key".into()))
            }
            _ => Ok(()),
        }
    }
}

/// A stranger's scenario must not exhaust the machine that runs it.
fn limit(what: &str, value: usize, most: usize) -> Result<(), ForgeError> {
    if value <= most {
        return Ok(());
    }
    Err(ForgeError::Contradiction(format!("a {what} of {value} is more than the allowed {most}")))
}

/// Bytes from hexadecimal digits.
pub(crate) fn parse_hex(text: &str) -> Result<Vec<u8>, ForgeError> {
    hex::read(text).ok_or_else(|| ForgeError::BadHex(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_reads_checks_and_prints_as_it_stands() {
        for info in Op::catalogue() {
            assert!(info.doc.ends_with('.'), "{}: the sentence ends with a period", info.name);
            for sample in info.samples {
                let op: Op = serde_json::from_str(sample).unwrap_or_else(|error| panic!("{sample}: {error}"));
                op.check().unwrap_or_else(|error| panic!("{sample}: {error}"));
                let printed = serde_json::to_value(&op).expect("prints");
                assert_eq!(printed, serde_json::from_str::<Value>(sample).expect("JSON"));
                let name = match &printed {
                    Value::String(name) => name.clone(),
                    Value::Object(map) => map.keys().next().cloned().unwrap_or_default(),
                    other => panic!("{other}"),
                };
                assert_eq!(name, info.name, "a sample stands under its own operator");
            }
        }
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let error = serde_json::from_str::<Op>(r#"{"clams":{}}"#).expect_err("unknown");
        assert!(error.to_string().contains("`claims`"), "{error}");
        let error = serde_json::from_str::<Op>(r#"{"sign":{"kez":"real"}}"#).expect_err("unknown");
        assert!(error.to_string().contains("`key`"), "{error}");
        assert!(serde_json::from_str::<Op>(r#"{"flip_bit":"frist"}"#).is_err());
        assert!(Op::ClaimsFiller(usize::MAX).check().is_err());
    }
}
