//! Keeps secrets out of every output: by value, and by the shape of a JWT.
//!
//! Every report and every message passes through here last, so that a new report cannot forget it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::secret::SecretBytes;

/// Replaces secrets in texts.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    needles: Vec<Needle>,
}

#[derive(Clone)]
struct Needle(String);

impl std::fmt::Debug for Needle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Redactor {
    /// Replaces this secret in the forms in which it is likely to be printed.
    ///
    /// A secret shorter than six bytes is not looked for: it would be found inside ordinary words.
    pub fn for_secret(secret: &SecretBytes) -> Self {
        let bytes = secret.expose();
        let mut needles = Vec::new();
        if bytes.len() >= 6 {
            if let Ok(text) = std::str::from_utf8(bytes) {
                needles.push(text.trim().to_owned());
                needles.push(text.trim().escape_debug().to_string());
            }
            needles.push(STANDARD.encode(bytes));
            needles.push(URL_SAFE_NO_PAD.encode(bytes));
            needles.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        // The longest first, so that no part of one is left beside its replacement.
        needles.retain(|needle| needle.len() >= 6);
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        needles.dedup();
        Self { needles: needles.into_iter().map(Needle).collect() }
    }

    /// The text without secrets and without whole tokens.
    pub fn clean(&self, text: &str) -> String {
        let mut text = jwts(text);
        for needle in &self.needles {
            if text.contains(&needle.0) {
                text = text.replace(&needle.0, "[secret]");
            }
        }
        text
    }

    /// Whether the secret stands in `bytes` in one of its forms.
    pub fn finds_secret_in(&self, bytes: &[u8]) -> bool {
        self.needles.iter().any(|needle| {
            let reversed: Vec<u8> = needle.0.bytes().rev().collect();
            contains(bytes, needle.0.as_bytes()) || contains(bytes, &reversed)
        })
    }
}

/// Whether `needle` stands in `haystack`.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|window| window == needle)
}

/// The text with the signature of everything that looks like a JWT replaced.
///
/// A JWS header is a JSON object, so its base64url begins with `eyJ`; what follows its second period is the part that
/// makes a copied token usable.
pub fn jwts(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("eyJ") {
        let (before, from) = rest.split_at(start);
        clean.push_str(before);
        let end = from.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        match word.split('.').collect::<Vec<_>>().as_slice() {
            [_, payload, ..] if payload.len() >= 8 => clean.push_str("[token]"),
            _ => clean.push_str(word),
        }
        rest = after;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_wherever_it_stands() {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";
        assert_eq!(jwts(&format!("GET /ws?token={token} HTTP/1.1")), "GET /ws?token=[token] HTTP/1.1");
        assert_eq!(jwts("eyJ is no token"), "eyJ is no token");
    }

    #[test]
    fn a_secret_is_replaced_in_each_of_its_forms() {
        let redactor = Redactor::for_secret(&SecretBytes::new("a-secret-of-some-length"));
        let text =
            "a-secret-of-some-length YS1zZWNyZXQtb2Ytc29tZS1sZW5ndGg= 612d7365637265742d6f662d736f6d652d6c656e677468";
        assert_eq!(redactor.clean(text), "[secret] [secret] [secret]");
        assert!(redactor.finds_secret_in(b"x htgnel-emos-fo-terces-a x"));
        assert!(!redactor.finds_secret_in(b"a-secret"));
    }
}
