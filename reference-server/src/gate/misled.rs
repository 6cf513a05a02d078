//! Where a header leads a gate that takes more from it than a name: a file, a row of a table, a command, a key.
//!
//! Each repeats how real servers look a key up. They are only readers: which fault uses which is in `wrong`. No file is
//! opened, no query asked and no command run: what this machine would answer stands in a table or is computed.

use std::path::{Component, Path};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::json::Object;
use super::jws;

/// The folder in which such a server keeps its keys.
const KEYS: &str = "/srv/chat/keys";

/// Files that are on nearly every Linux, and what is in them.
const FILES: [(&str, &[u8]); 2] = [("/dev/null", b""), ("/proc/sys/kernel/randomize_va_space", b"2\n")];

/// The bytes of the file that `kid` names, from the folder of keys on.
pub(super) fn file(kid: &str) -> Option<&'static [u8]> {
    let kid = percent_decoded(kid)?;
    // A path from the root takes the place of the folder, as it does in most languages.
    let mut path = Vec::new();
    for part in Path::new(KEYS).join(kid).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name.to_str()?.to_owned()),
            _ => {}
        }
    }
    let path = format!("/{}", path.join("/"));
    FILES.iter().find(|(name, _)| *name == path).map(|(_, bytes)| *bytes)
}

fn percent_decoded(text: &str) -> Option<String> {
    String::from_utf8(crate::carrier::percent_decode(text)?).ok()
}

/// What a table of keys answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// No row has such a name.
    None,
    /// This text, as the key.
    Key(String),
    /// That this is no SQL.
    Error,
}

/// What comes of `SELECT key FROM keys WHERE kid = '...'` with `kid` written into it. Of the quotes, the query uses the
/// one that the name brings along.
pub(super) fn query(kid: &str) -> Row {
    let Some(at) = kid.find(['\'', '"']) else { return Row::None };
    // Behind the quote that ends the name: another SELECT, of a text, and of the rest a comment.
    let behind = kid[at + 1..].trim_start();
    let behind = behind.strip_prefix(';').unwrap_or(behind).trim_start();
    let behind = behind.strip_prefix("UNION ").unwrap_or(behind).trim_start();
    let selected = behind.strip_prefix("SELECT '").and_then(|text| text.split_once('\''));
    match selected {
        Some((key, rest)) if rest.trim_start_matches([';', ' ']).starts_with("--") => Row::Key(key.to_owned()),
        _ => Row::Error,
    }
}

/// Whether a document store or a directory fails on a filter of this name: the one wants a text, the other has brackets
/// and stars of its own.
pub(super) fn breaks_filter(kid: &Value) -> bool {
    kid.as_str().is_none_or(|kid| kid.contains(['*', '(', ')']))
}

/// Whether this name cannot be sent as the value of an HTTP header.
pub(super) fn breaks_header(kid: &str) -> bool {
    kid.len() > 2 * 1024 || kid.contains(char::is_control)
}

/// For how long a shell is busy with `cat keys/....pem`, where the name brings a `sleep` along that it runs.
pub(crate) fn shell(kid: &str) -> Option<Duration> {
    let behind = [";", "|", "`", "$("].iter().find_map(|mark| kid.split_once(mark))?.1;
    let seconds = behind.trim_start().strip_prefix("sleep ")?;
    let end = seconds.find(|c: char| !c.is_ascii_digit()).unwrap_or(seconds.len());
    seconds[..end].parse().ok().map(Duration::from_secs)
}

/// The public key in `jwk`.
pub(super) fn embedded_key(header: &Object) -> Option<DecodingKey> {
    let jwk = header.get("jwk").filter(|jwk| jwk.get("kty").is_some_and(|kty| kty != "oct"))?;
    DecodingKey::from_jwk(&serde_json::from_value::<Jwk>(jwk.clone()).ok()?).ok()
}

/// The shared secret in `jwk`.
pub(super) fn embedded_secret(header: &Object) -> Option<Vec<u8>> {
    jws::decode(header.get("jwk")?.get("k")?.as_str()?.as_bytes()).ok()
}

/// The key of the first certificate in `x5c`, for this algorithm.
pub(super) fn certified_key(header: &Object, algorithm: Algorithm) -> Option<DecodingKey> {
    let certificate = header.get("x5c")?.get(0)?.as_str()?;
    STANDARD.decode(certificate).ok()?;
    let pem = format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n");
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem.as_bytes()),
        _ => DecodingKey::from_rsa_pem(pem.as_bytes()),
    }
    .ok()
}

/// How long it takes to verify with the RSA key in `jwk`, by arithmetic without a limit: a squaring or more for each bit
/// of the exponent, of five microseconds for 2048 bits and with the square of the length.
pub(crate) fn exponentiation(header: &Object) -> Option<Duration> {
    let bits = |name| Some(header.get("jwk")?.get(name)?.as_str()?.len() as f64 * 6.0);
    let (modulus, exponent): (f64, f64) = (bits("n")?, bits("e")?);
    Duration::try_from_secs_f64(1.5 * exponent * (modulus / 2048.0).powi(2) * 5e-6).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_out_of_its_folder() {
        for kid in ["/dev/null", "../../../dev/null", "../../../../../../../dev/null", "..%2f..%2f..%2fdev%2fnull"] {
            assert_eq!(file(kid), Some(&b""[..]), "{kid}");
        }
        for kid in ["", "key-1", "dev/null", "../dev/null", "%", "null"] {
            assert_eq!(file(kid), None, "{kid}");
        }
    }

    #[test]
    fn a_quote_ends_the_name() {
        for kid in ["x' UNION SELECT 'a'-- ", "x\" UNION SELECT 'a'-- ", "x'; SELECT 'a';-- "] {
            assert_eq!(query(kid), Row::Key("a".to_owned()), "{kid}");
        }
        assert_eq!(query("key-1"), Row::None);
        for kid in ["'", "it's", "x' UNION SELECT 'a'", "x' UNION SELECT a--"] {
            assert_eq!(query(kid), Row::Error, "{kid}");
        }
    }

    #[test]
    fn a_shell_runs_what_stands_behind_its_marks() {
        for kid in ["|sleep 7", "$(sleep 7)", "`sleep 7`", "x; sleep 7 #"] {
            assert_eq!(shell(kid), Some(Duration::from_secs(7)), "{kid}");
        }
        for kid in ["", "sleep 7", "x;", "x; ls", "|sleep", "$(sleep x)"] {
            assert_eq!(shell(kid), None, "{kid}");
        }
    }

    #[test]
    fn a_long_exponent_takes_long() {
        let took = |n: usize, e: usize| {
            let header = json!({ "jwk": { "n": "A".repeat(n), "e": "A".repeat(e) } });
            header.as_object().and_then(exponentiation).unwrap_or_default()
        };
        assert!(took(342, 4) < Duration::from_millis(1));
        assert!(took(2731, 2731) > Duration::from_secs(5));
    }
}
