//! Secrets: where they are found, how they are read, and that they are never printed.
//!
//! The only room outside `run` that may look at the environment or at a file, and only where a notation says so.

use std::fmt;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::hex;

/// Secret bytes. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves, for signing and for finding them in an output.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Why a secret cannot be had. Never holds a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretError(String);

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SecretError {}

/// Reads a secret by its notation.
///
/// `env:NAME` and `file:PATH` say where it is, `hex:`, `base64:` and `base64url:` how it is written; the two combine,
/// as in `base64:env:JWT_SECRET`. Anything else is the text itself. Bytes of a variable or a file are taken as they
/// are, a trailing newline included, because a server that reads the same file may or may not strip it.
pub fn read(notation: &str) -> Result<SecretBytes, SecretError> {
    let (decode, place): (Decode, &str) = match notation.split_once(':') {
        Some(("hex", rest)) => (from_hex, rest),
        Some(("base64", rest)) => (from_base64, rest),
        Some(("base64url", rest)) => (from_base64url, rest),
        _ => (|bytes| Ok(bytes.to_vec()), notation),
    };
    let bytes = match place.split_once(':') {
        Some(("env", name)) => from_environment(name)?,
        Some(("file", path)) => file(path, "secret")?,
        _ => place.as_bytes().to_vec(),
    };
    decode(&bytes).map(SecretBytes).map_err(|how| SecretError(format!("the secret is not {how}")))
}

/// The text of a secret whose notation asks to decode it, before that; none where it does not ask.
///
/// # Errors
///
/// When the text cannot be had.
pub fn undecoded(notation: &str) -> Result<Option<SecretBytes>, SecretError> {
    match notation.split_once(':') {
        Some(("hex" | "base64" | "base64url", rest)) => read(rest).map(Some),
        _ => Ok(None),
    }
}

type Decode = fn(&[u8]) -> Result<Vec<u8>, &'static str>;

fn from_environment(name: &str) -> Result<Vec<u8>, SecretError> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Err(SecretError(format!("the environment variable `{name}` is empty"))),
        Ok(text) => Ok(text.into_bytes()),
        Err(std::env::VarError::NotPresent) => Err(SecretError(format!(
            "the environment variable `{name}` is not set; set it to the secret the target verifies with"
        ))),
        Err(std::env::VarError::NotUnicode(_)) => Err(SecretError(format!(
            "the environment variable `{name}` is not UTF-8; put the secret in a file and use `file:PATH`"
        ))),
    }
}

/// The most bytes that are taken for a secret or a certificate; a device may never end.
const MAX_SECRET_BYTES: u64 = 1 << 20;

/// The bytes of a file that a profile names, which `what` it is called in errors.
pub(crate) fn file(path: &str, what: &str) -> Result<Vec<u8>, SecretError> {
    let wrong = |error: std::io::Error| SecretError(format!("cannot read the {what} file `{path}`: {error}"));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(wrong)?;
    file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.is_empty() {
        return Err(SecretError(format!("the {what} file `{path}` is empty")));
    }
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(SecretError(format!("`{path}` is larger than {MAX_SECRET_BYTES} bytes and no {what}")));
    }
    Ok(bytes)
}

/// Reads the secret of a symmetric algorithm, as [`read`] does.
///
/// # Errors
///
/// Also when it is a file that holds a key or a certificate in PEM (RFC 7468): every token would be signed by HMAC with its
/// text, and refused.
pub fn shared(notation: &str) -> Result<SecretBytes, SecretError> {
    let secret = read(notation)?;
    match notation.strip_prefix("file:") {
        Some(path) if is_pem(secret.expose()) => Err(SecretError(format!(
            "`{path}` holds a key or a certificate in PEM, and no shared secret: declare it in a profile, as \
             `keys: {{ private: [\"file:{path}\"] }}` or `public:`, beside its `algorithm`. A target that takes these very \
             bytes for an HMAC secret is given them by `env:NAME`"
        ))),
        _ => Ok(secret),
    }
}

fn is_pem(text: &[u8]) -> bool {
    let begins = |line: &[u8]| line.starts_with(b"-----BEGIN ") && line.trim_ascii_end().ends_with(b"-----");
    text.split(|byte| *byte == b'\n').any(begins)
}

fn from_base64(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    STANDARD.decode(text.trim_ascii()).map_err(|_| "standard base64, as `base64:` promises")
}

fn from_base64url(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let text = text.trim_ascii();
    let unpadded = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    URL_SAFE_NO_PAD.decode(&text[..unpadded]).map_err(|_| "base64url, as `base64url:` promises")
}

fn from_hex(digits: &[u8]) -> Result<Vec<u8>, &'static str> {
    let read = std::str::from_utf8(digits).ok().and_then(hex::read);
    read.ok_or("an even number of hex digits, as `hex:` promises")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(notation: &str) -> Result<Vec<u8>, String> {
        read(notation).map(|secret| secret.expose().to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_notation_gives_its_bytes() {
        assert_eq!(bytes("a:b plain"), Ok(b"a:b plain".to_vec()));
        assert_eq!(bytes("hex:00fF"), Ok(vec![0, 255]));
        assert_eq!(bytes("base64:+/8="), Ok(vec![0xfb, 0xff]));
        assert_eq!(bytes("base64url:-_8"), Ok(vec![0xfb, 0xff]));
        assert_eq!(bytes("base64url:-_8="), Ok(vec![0xfb, 0xff]));
    }

    #[test]
    fn a_secret_that_is_not_there_says_what_to_do() {
        let message = bytes("base64:env:GATECRASH_NO_SUCH_VARIABLE").expect_err("not set");
        assert!(message.contains("`GATECRASH_NO_SUCH_VARIABLE` is not set"), "{message}");
        assert!(bytes("file:/no/such/file").expect_err("no file").starts_with("cannot read the secret file"));
    }

    #[test]
    fn a_key_in_pem_is_known_by_its_first_line() {
        let pem = "-----BEGIN PRIVATE KEY-----\r\nMC4CAQAwBQYDK2VwBCIEIA==\r\n-----END PRIVATE KEY-----\r\n";
        assert!(is_pem(pem.as_bytes()));
        assert!(is_pem(format!("a comment\n{pem}").as_bytes()));
        assert!(!is_pem(b"-----BEGIN of a secret"));
        assert!(!is_pem(b"a secret -----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn an_error_never_quotes_the_secret() {
        for notation in ["hex:zz-top-secret", "base64:top secret!", "base64url:top+secret"] {
            assert!(!bytes(notation).expect_err("not decodable").contains("secret!"), "{notation}");
            assert!(!bytes(notation).expect_err("not decodable").contains("top"), "{notation}");
        }
    }

    #[test]
    fn debug_does_not_show_it() {
        assert_eq!(format!("{:?}", SecretBytes::new("x")), "[redacted]");
    }
}
