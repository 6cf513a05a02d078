//! A token made of parts: the setting it is shown to, and what is otherwise about it than about a valid token there.
//!
//! The parts are read from the fuzzer's bytes, always from the front, so that [`Sketch::to_bytes`] can write any token
//! that a test, a seed or a strategy thinks of. Nothing here uses the gate's own code.

use arbitrary::{Arbitrary, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::settings::{Setting, Signing};

/// The most changes of one token. More would only make tokens that are refused for the first of them.
const MAX_CHANGES: usize = 16;
/// The most items of a list.
const MAX_ITEMS: usize = 4;

/// Names that headers and claims have, and a few they have not.
pub const NAMES: [&str; 32] = [
    "alg",
    "typ",
    "kid",
    "crit",
    "b64",
    "cty",
    "jwk",
    "jku",
    "x5u",
    "x5c",
    "zip",
    "enc",
    "exp",
    "nbf",
    "iat",
    "sub",
    "iss",
    "aud",
    "jti",
    "role",
    "scope",
    "email",
    "client_id",
    "token_use",
    "x",
    "EXP",
    "Alg",
    "roles",
    "alg ",
    "is_admin",
    "user_id",
    "",
];

/// Texts that mean something in a header or a claim, and texts that are nearly such a one.
pub const WORDS: [&str; 48] = [
    "HS256",
    "HS384",
    "HS512",
    "ES256",
    "EdDSA",
    "RS256",
    "none",
    "None",
    "hs256",
    " HS256",
    "JWT",
    "at+jwt",
    "application/at+jwt",
    "AT+JWT",
    "own",
    "partner",
    "alice",
    "bob",
    "ALICE",
    "",
    "admin",
    "Admin",
    " admin",
    "admin ",
    "superadmin",
    "adm",
    "viewer",
    "read_only",
    "https://issuer.example/",
    "https://issuer.example",
    "HTTPS://ISSUER.EXAMPLE/",
    "https://partner.example/",
    "https://ws.example",
    "https://ws.example.evil",
    "https://WS.example",
    "ws:connect",
    "ws:connect ws:other",
    "ws:connection",
    "refresh",
    "access",
    "true",
    "exp",
    "1800000300",
    "9999999999",
    "*",
    "alice@example.com",
    "\u{0}",
    "e\u{301}",
];

/// Algorithms a signature can be made with, whatever the header says.
pub const ALGORITHMS: [&str; 7] = ["HS256", "HS384", "HS512", "ES256", "EdDSA", "RS256", "none"];

/// A token in parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Sketch {
    /// Which setting it is shown to; taken modulo their number.
    pub setting: u8,
    /// What is otherwise about it, in this order.
    pub changes: Vec<Change>,
}

/// The name of a member.
#[derive(Debug, Clone, PartialEq)]
pub enum Name {
    /// One of [`NAMES`].
    Known(u8),
    /// Any other, as it stands between the quotes.
    Text(Vec<u8>),
}

/// The value of a member.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `false`, `true`, `{}`, `[]`, `0`, `-1`, `1e400`: whichever this chooses.
    Odd(u8),
    /// So many seconds from now, whole.
    Now(i16),
    /// So many seconds and a half from now.
    NowAndHalf(i16),
    /// So many seconds from now, as a text.
    NowText(i16),
    /// A number.
    Number(i32),
    /// One of [`WORDS`].
    Word(u8),
    /// A text, as it stands between the quotes.
    Text(Vec<u8>),
    /// Anything, as it stands in the JSON.
    Raw(Vec<u8>),
    /// A list.
    List(Vec<Value>),
}

/// Whose key makes the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The setting's own.
    Own,
    /// Somebody else's of the same kind.
    Stranger,
    /// The secret of last year.
    Retired,
    /// A secret of no bytes.
    Empty,
    /// The text of the first public key, used as a secret.
    PublicKey,
    /// The key of the other issuer.
    Partner,
}

impl Signer {
    const ALL: [Self; 6] = [Self::Own, Self::Stranger, Self::Retired, Self::Empty, Self::PublicKey, Self::Partner];
}

/// One thing that is otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A member of the header has this value.
    Header(Name, Value),
    /// A claim has this value.
    Claim(Name, Value),
    /// The header lacks a member.
    NoHeader(Name),
    /// A claim is missing.
    NoClaim(Name),
    /// The header has one more member of this name, behind the others.
    HeaderAgain(Name, Value),
    /// There is one more claim of this name, behind the others.
    ClaimAgain(Name, Value),
    /// There is one more claim of this name, before the others.
    ClaimBefore(Name, Value),
    /// The header is this text.
    HeaderText(Vec<u8>),
    /// The payload is this text.
    PayloadText(Vec<u8>),
    /// Another key makes the signature.
    By(Signer),
    /// The signature is one of this algorithm, and the header says so.
    Algorithm(u8),
    /// The signature is one of this algorithm, and the header says nothing of it.
    SignedAs(u8),
    /// The signature is made, and then cut to so many bytes, or filled up with zeros.
    SignatureLength(u8),
    /// One bit of the signature is turned.
    SignatureBit(u16),
    /// The signature is so many bytes of this value.
    SignatureFill(u8, u8),
    /// After the signature was made: a byte of the text becomes this one.
    Replace(u16, u8),
    /// After the signature was made: this byte comes in.
    Insert(u16, u8),
    /// After the signature was made: a byte goes.
    Remove(u16),
    /// After the signature was made: a segment is written in another way; see [`respelled`].
    Respell(u8, u8),
    /// A segment more or less; see [`reshaped`].
    Reshape(u8),
    /// The text before the signature was made has this byte in place of another: it is covered.
    ReplaceSigned(u16, u8),
}

/// A token and what is known about it.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its bytes.
    pub token: Vec<u8>,
    /// The setting it is for.
    pub setting: &'static Setting,
}

impl<'a> Arbitrary<'a> for Sketch {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let setting = byte(u);
        let mut changes = Vec::new();
        while !u.is_empty() && changes.len() < MAX_CHANGES {
            changes.push(change(u));
        }
        Ok(Self { setting, changes })
    }
}

// Read from the front, and zero where the input ends: `arbitrary` takes the lengths of lists from the end of the input,
// which no writer could follow.

pub(super) fn byte(u: &mut Unstructured<'_>) -> u8 {
    u.arbitrary().unwrap_or_default()
}

pub(super) fn pair(u: &mut Unstructured<'_>) -> u16 {
    u16::from_be_bytes([byte(u), byte(u)])
}

pub(super) fn text(u: &mut Unstructured<'_>) -> Vec<u8> {
    let length = usize::from(byte(u)).min(u.len());
    u.bytes(length).unwrap_or_default().to_vec()
}

fn name(u: &mut Unstructured<'_>) -> Name {
    match byte(u) {
        0xff => Name::Text(text(u)),
        known => Name::Known(known % NAMES.len() as u8),
    }
}

fn value(u: &mut Unstructured<'_>, depth: u8) -> Value {
    match byte(u) % 9 {
        0 => Value::Odd(byte(u)),
        1 => Value::Now(pair(u) as i16),
        2 => Value::NowAndHalf(pair(u) as i16),
        3 => Value::NowText(pair(u) as i16),
        4 => Value::Number((u32::from(pair(u)) << 16 | u32::from(pair(u))) as i32),
        5 => Value::Word(byte(u)),
        6 => Value::Text(text(u)),
        7 => Value::Raw(text(u)),
        _ if depth == 0 => Value::List(Vec::new()),
        _ => {
            let items = usize::from(byte(u)) % (MAX_ITEMS + 1);
            Value::List((0..items).map(|_| value(u, depth - 1)).collect())
        }
    }
}

/// How deep lists are nested by [`Value::List`]; deeper ones are [`Value::Raw`].
const DEPTH: u8 = 2;

fn change(u: &mut Unstructured<'_>) -> Change {
    match byte(u) % 21 {
        0 => Change::Header(name(u), value(u, DEPTH)),
        1 => Change::Claim(name(u), value(u, DEPTH)),
        2 => Change::NoHeader(name(u)),
        3 => Change::NoClaim(name(u)),
        4 => Change::HeaderAgain(name(u), value(u, DEPTH)),
        5 => Change::ClaimAgain(name(u), value(u, DEPTH)),
        6 => Change::ClaimBefore(name(u), value(u, DEPTH)),
        7 => Change::HeaderText(text(u)),
        8 => Change::PayloadText(text(u)),
        9 => Change::By(Signer::ALL[usize::from(byte(u)) % Signer::ALL.len()]),
        10 => Change::Algorithm(byte(u) % ALGORITHMS.len() as u8),
        11 => Change::SignedAs(byte(u) % ALGORITHMS.len() as u8),
        12 => Change::SignatureLength(byte(u)),
        13 => Change::SignatureBit(pair(u)),
        14 => Change::SignatureFill(byte(u), byte(u)),
        15 => Change::Replace(pair(u), byte(u)),
        16 => Change::Insert(pair(u), byte(u)),
        17 => Change::Remove(pair(u)),
        18 => Change::Respell(byte(u), byte(u)),
        19 => Change::Reshape(byte(u)),
        _ => Change::ReplaceSigned(pair(u), byte(u)),
    }
}

impl Sketch {
    /// A token for this setting that differs in this.
    pub fn new(setting: u8, changes: Vec<Change>) -> Self {
        Self { setting, changes }
    }

    /// Reads the fuzzer's bytes. Every input is some token.
    pub fn of(input: &[u8]) -> Self {
        Unstructured::new(input).arbitrary().unwrap_or(Self { setting: 0, changes: Vec::new() })
    }

    /// The bytes that are read as this token. Texts longer than 255 bytes are cut.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.setting];
        for change in &self.changes {
            write_change(change, &mut out);
        }
        out
    }

    /// Makes the token as of `now`, in seconds since 1970.
    pub fn make(&self, now: u64) -> Made {
        let setting = Setting::of(self.setting);
        let token = Draft::new(setting, now).with(&self.changes).sealed(&self.changes);
        Made { token, setting }
    }
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    let text = &text[..text.len().min(255)];
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

fn write_name(name: &Name, out: &mut Vec<u8>) {
    match name {
        Name::Known(known) => out.push(*known),
        Name::Text(text) => {
            out.push(0xff);
            write_text(text, out);
        }
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Odd(which) => out.extend([0, *which]),
        Value::Now(s) => out.extend([&[1][..], &s.to_be_bytes()].concat()),
        Value::NowAndHalf(s) => out.extend([&[2][..], &s.to_be_bytes()].concat()),
        Value::NowText(s) => out.extend([&[3][..], &s.to_be_bytes()].concat()),
        Value::Number(n) => out.extend([&[4][..], &n.to_be_bytes()].concat()),
        Value::Word(word) => out.extend([5, *word]),
        Value::Text(text) => {
            out.push(6);
            write_text(text, out);
        }
        Value::Raw(text) => {
            out.push(7);
            write_text(text, out);
        }
        Value::List(items) => {
            out.extend([8, items.len() as u8]);
            items.iter().for_each(|item| write_value(item, out));
        }
    }
}

fn write_change(change: &Change, out: &mut Vec<u8>) {
    let mut member = |op, name, value| {
        out.push(op);
        write_name(name, out);
        write_value(value, out);
    };
    match change {
        Change::Header(name, value) => member(0, name, value),
        Change::Claim(name, value) => member(1, name, value),
        Change::HeaderAgain(name, value) => member(4, name, value),
        Change::ClaimAgain(name, value) => member(5, name, value),
        Change::ClaimBefore(name, value) => member(6, name, value),
        Change::NoHeader(name) => {
            out.push(2);
            write_name(name, out);
        }
        Change::NoClaim(name) => {
            out.push(3);
            write_name(name, out);
        }
        Change::HeaderText(text) => {
            out.push(7);
            write_text(text, out);
        }
        Change::PayloadText(text) => {
            out.push(8);
            write_text(text, out);
        }
        Change::By(signer) => {
            let place = Signer::ALL.iter().position(|other| other == signer);
            out.extend([9, place.unwrap_or_default() as u8]);
        }
        Change::Algorithm(alg) => out.extend([10, *alg]),
        Change::SignedAs(alg) => out.extend([11, *alg]),
        Change::SignatureLength(length) => out.extend([12, *length]),
        Change::SignatureBit(bit) => out.extend([&[13][..], &bit.to_be_bytes()].concat()),
        Change::SignatureFill(length, byte) => out.extend([14, *length, *byte]),
        Change::Replace(at, byte) => out.extend([&[15][..], &at.to_be_bytes(), &[*byte]].concat()),
        Change::Insert(at, byte) => out.extend([&[16][..], &at.to_be_bytes(), &[*byte]].concat()),
        Change::Remove(at) => out.extend([&[17][..], &at.to_be_bytes()].concat()),
        Change::Respell(segment, how) => out.extend([18, *segment, *how]),
        Change::Reshape(how) => out.extend([19, *how]),
        Change::ReplaceSigned(at, byte) => out.extend([&[20][..], &at.to_be_bytes(), &[*byte]].concat()),
    }
}

/// A token on its way: JSON members as they will stand in the text.
struct Draft {
    setting: &'static Setting,
    now: u64,
    header: Vec<(Vec<u8>, Vec<u8>)>,
    claims: Vec<(Vec<u8>, Vec<u8>)>,
    header_text: Option<Vec<u8>>,
    payload_text: Option<Vec<u8>>,
    signer: Signer,
    algorithm: &'static str,
}

impl Draft {
    fn new(setting: &'static Setting, now: u64) -> Self {
        let own = |members: &[(&str, Value)]| {
            members.iter().map(|(name, value)| (quoted(name.as_bytes()), json(value, now))).collect()
        };
        Self {
            header: own(&setting.header),
            claims: own(&setting.claims),
            header_text: None,
            payload_text: None,
            signer: Signer::Own,
            algorithm: setting.algorithm,
            setting,
            now,
        }
    }

    /// What changes before there is a signature.
    fn with(mut self, changes: &[Change]) -> Self {
        for change in changes {
            match change {
                Change::Header(name, value) => set(&mut self.header, spelled(name), json(value, self.now)),
                Change::Claim(name, value) => set(&mut self.claims, spelled(name), json(value, self.now)),
                Change::NoHeader(name) => unset(&mut self.header, &spelled(name)),
                Change::NoClaim(name) => unset(&mut self.claims, &spelled(name)),
                Change::HeaderAgain(name, value) => self.header.push((spelled(name), json(value, self.now))),
                Change::ClaimAgain(name, value) => self.claims.push((spelled(name), json(value, self.now))),
                Change::ClaimBefore(name, value) => self.claims.insert(0, (spelled(name), json(value, self.now))),
                Change::HeaderText(text) => self.header_text = Some(text.clone()),
                Change::PayloadText(text) => self.payload_text = Some(text.clone()),
                Change::By(signer) => self.signer = *signer,
                Change::Algorithm(alg) => {
                    self.algorithm = ALGORITHMS[usize::from(*alg) % ALGORITHMS.len()];
                    set(&mut self.header, quoted(b"alg"), quoted(self.algorithm.as_bytes()));
                }
                Change::SignedAs(alg) => self.algorithm = ALGORITHMS[usize::from(*alg) % ALGORITHMS.len()],
                _ => {}
            }
        }
        self
    }

    /// Signed, and then what changes after that.
    fn sealed(self, changes: &[Change]) -> Vec<u8> {
        let header = self.header_text.unwrap_or_else(|| object(&self.header));
        let payload = self.payload_text.unwrap_or_else(|| object(&self.claims));
        let mut signed = URL_SAFE_NO_PAD.encode(header);
        signed.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut signed);
        let mut signed = signed.into_bytes();
        for change in changes {
            if let Change::ReplaceSigned(at, byte) = change {
                let at = usize::from(*at) % signed.len();
                signed[at] = *byte;
            }
        }
        let mut signature = self.setting.signature(Signing { by: self.signer, algorithm: self.algorithm }, &signed);
        for change in changes {
            match change {
                Change::SignatureLength(length) => signature.resize(usize::from(*length), 0),
                Change::SignatureBit(bit) if !signature.is_empty() => {
                    let at = usize::from(bit / 8) % signature.len();
                    signature[at] ^= 1 << (bit % 8);
                }
                Change::SignatureFill(length, byte) => signature = vec![*byte; usize::from(*length)],
                _ => {}
            }
        }
        let mut token = signed;
        token.push(b'.');
        token.extend_from_slice(URL_SAFE_NO_PAD.encode(signature).as_bytes());
        for change in changes {
            let length = token.len();
            match change {
                Change::Replace(at, byte) if length > 0 => token[usize::from(*at) % length] = *byte,
                Change::Insert(at, byte) => token.insert(usize::from(*at) % (length + 1), *byte),
                Change::Remove(at) if length > 0 => drop(token.remove(usize::from(*at) % length)),
                Change::Respell(segment, how) => token = respelled(&token, usize::from(*segment % 3), *how),
                Change::Reshape(how) => token = reshaped(&token, *how),
                _ => {}
            }
        }
        token
    }
}

fn spelled(name: &Name) -> Vec<u8> {
    match name {
        Name::Known(known) => quoted(NAMES[usize::from(*known) % NAMES.len()].as_bytes()),
        Name::Text(text) => quoted(text),
    }
}

/// Between quotes, as it is but for control characters, which no JSON text has: a text that breaks the JSON is
/// [`Value::Raw`].
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for &byte in text {
        match byte {
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            b'"' => out.extend_from_slice(b"\\\""),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    out
}

fn json(value: &Value, now: u64) -> Vec<u8> {
    const ODD: [&str; 8] = ["null", "false", "true", "{}", "[]", "0", "-1", "1e400"];
    let seconds = |offset: &i16| now.saturating_add_signed(i64::from(*offset));
    match value {
        Value::Odd(which) => ODD[usize::from(*which) % ODD.len()].into(),
        Value::Now(offset) => seconds(offset).to_string().into(),
        Value::NowAndHalf(offset) => format!("{}.5", seconds(offset)).into(),
        Value::NowText(offset) => format!("\"{}\"", seconds(offset)).into(),
        Value::Number(number) => number.to_string().into(),
        Value::Word(word) => quoted(WORDS[usize::from(*word) % WORDS.len()].as_bytes()),
        Value::Text(text) => quoted(text),
        Value::Raw(text) => text.clone(),
        Value::List(items) => {
            let items: Vec<Vec<u8>> = items.iter().map(|item| json(item, now)).collect();
            [&b"["[..], &items.join(&b','), b"]"].concat()
        }
    }
}

fn set(members: &mut Vec<(Vec<u8>, Vec<u8>)>, name: Vec<u8>, value: Vec<u8>) {
    match members.iter_mut().find(|(other, _)| *other == name) {
        Some(member) => member.1 = value,
        None => members.push((name, value)),
    }
}

fn unset(members: &mut Vec<(Vec<u8>, Vec<u8>)>, name: &[u8]) {
    members.retain(|(other, _)| other != name);
}

fn object(members: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let members: Vec<Vec<u8>> = members.iter().map(|(name, value)| [name, &b":"[..], value].concat()).collect();
    [&b"{"[..], &members.join(&b','), b"}"].concat()
}

/// A segment written as some decoders would still read it: padded, in the other alphabet, broken by whitespace, with
/// pad bits that are not zero, or one character longer.
fn respelled(token: &[u8], segment: usize, how: u8) -> Vec<u8> {
    let mut segments: Vec<Vec<u8>> = token.split(|&byte| byte == b'.').map(<[u8]>::to_vec).collect();
    if let Some(segment) = segments.get_mut(segment) {
        match how % 6 {
            0 => segment.resize(segment.len().next_multiple_of(4), b'='),
            1 => segment.push(b'='),
            2 => {
                if let Ok(bytes) = URL_SAFE_NO_PAD.decode(&*segment) {
                    *segment = STANDARD.encode(bytes).trim_end_matches('=').into();
                }
            }
            3 => segment.insert(segment.len() / 2, b'\n'),
            4 => {
                if let Some(last) = segment.last_mut() {
                    // The neighbour in the alphabet, for most of it: another value in the lowest bits.
                    *last ^= 1;
                }
            }
            _ => segment.push(b'A'),
        }
    }
    segments.join(&b'.')
}

/// The whole text in another shape.
fn reshaped(token: &[u8], how: u8) -> Vec<u8> {
    let segments: Vec<&[u8]> = token.split(|&byte| byte == b'.').collect();
    let rest = |from: usize| segments.get(from..).unwrap_or_default().to_vec();
    match how % 8 {
        0 => segments[..segments.len() - 1].join(&b'.'),
        1 => [token, b"."].concat(),
        2 => [token, b".AAAA"].concat(),
        3 => [&b"."[..], token].concat(),
        4 => [&b"\""[..], token, b"\""].concat(),
        5 => [vec![segments[0], b""], rest(2)].concat().join(&b'.'),
        6 => [vec![&b""[..]], rest(1)].concat().join(&b'.'),
        _ => [&segments[..segments.len() - 1], &[&b""[..]]].concat().join(&b'.'),
    }
}
