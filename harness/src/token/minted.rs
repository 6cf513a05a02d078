//! The made token, and what may be told about it. A token is a credential: `Debug` and `describe` show the
//! decoded header and claims, and of the signature no more than its length and a short hash.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::hex;

/// A token as it goes on the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    bytes: Option<Vec<u8>>,
}

impl Token {
    pub(crate) fn absent() -> Self {
        Self { bytes: None }
    }

    /// A token that came from elsewhere, such as a login.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Some(bytes) }
    }

    /// The header and the claims, unverified, when both are base64url of JSON objects.
    #[must_use]
    pub fn peek(&self) -> Option<(Map<String, Value>, Map<String, Value>)> {
        Some((self.object(0)?, self.object(1)?))
    }

    /// The header, unverified, when it is base64url of a JSON object, whatever stands behind it.
    #[must_use]
    pub fn header(&self) -> Option<Map<String, Value>> {
        self.object(0)
    }

    fn object(&self, segment: usize) -> Option<Map<String, Value>> {
        let segment = self.bytes()?.split(|byte| *byte == b'.').nth(segment)?;
        serde_json::from_slice(&LENIENT.decode(segment).ok()?).ok()
    }

    /// The bytes to send; none when the recipe asks for no credential at all.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    /// The text to send, when it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Whether no credential is sent.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.bytes.is_none()
    }

    /// What reports may show.
    #[must_use]
    pub fn describe(&self) -> Description {
        let Some(bytes) = &self.bytes else {
            return Description { length: None, segments: Vec::new() };
        };
        let pieces: Vec<&[u8]> = bytes.split(|byte| *byte == b'.').collect();
        // Only a text of two or more segments has a header and claims; only the first two may be shown, since
        // whatever follows can be the genuine signature.
        let shown = if pieces.len() >= 2 { 2 } else { 1 };
        let segments = pieces.iter().enumerate().map(|(place, piece)| SegmentShape::of(piece, place < shown)).collect();
        Description { length: Some(bytes.len()), segments }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.describe())
    }
}

/// What reports may show of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Its length in bytes; none when no credential is sent.
    pub length: Option<usize>,
    /// Its parts, cut at the periods.
    pub segments: Vec<SegmentShape>,
}

/// One part of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentShape {
    /// Nothing between two periods.
    Empty,
    /// Base64url of this text.
    Decoded(String),
    /// Anything else, and every signature: its length in characters and the start of its SHA-256.
    Opaque {
        /// How many characters it has.
        characters: usize,
        /// How many bytes it decodes to, when it does.
        bytes: Option<usize>,
        /// The first eight hexadecimal digits of the SHA-256 of its characters.
        sha256: String,
    },
}

/// Lenient on purpose: it only has to show what a broken segment holds.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl SegmentShape {
    fn of(text: &[u8], may_show: bool) -> Self {
        if text.is_empty() {
            return Self::Empty;
        }
        let decoded = LENIENT.decode(text).ok();
        if may_show && let Some(decoded) = &decoded {
            let readable = String::from_utf8_lossy(decoded);
            // A segment that is no JSON may be a signature that was moved to the front.
            if readable.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']) {
                return Self::Decoded(readable.into_owned());
            }
        }
        let hash = digest::digest(&digest::SHA256, text);
        Self::Opaque {
            characters: text.len(),
            bytes: decoded.map(|decoded| decoded.len()),
            sha256: hex::write(&hash.as_ref()[..4]),
        }
    }
}

impl fmt::Display for SegmentShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("(empty)"),
            // Token text is hostile to terminals: control characters are shown, not sent.
            Self::Decoded(text) => text.chars().try_for_each(|character| {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())
                } else {
                    write!(f, "{character}")
                }
            }),
            Self::Opaque { characters, bytes: Some(bytes), sha256 } => {
                write!(f, "({bytes} bytes in {characters} characters, sha256 {sha256}…)")
            }
            Self::Opaque { characters, bytes: None, sha256 } => {
                write!(f, "({characters} characters, not base64url, sha256 {sha256}…)")
            }
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            None => f.write_str("no token"),
            Some(0) => f.write_str("an empty token"),
            Some(_) => {
                for (place, segment) in self.segments.iter().enumerate() {
                    if place > 0 {
                        f.write_str(" . ")?;
                    }
                    write!(f, "{segment}")?;
                }
                Ok(())
            }
        }
    }
}
