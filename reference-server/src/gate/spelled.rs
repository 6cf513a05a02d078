//! A public key in every form in which a server may keep it: what a fault takes for the secret of a MAC.
//!
//! The harness spells the same forms by code of its own, so that a slip in one of the two shows in the matrix.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::Algorithm;

use super::keys::{Key, bare_jwk, rsa_numbers};

/// As PEM: SubjectPublicKeyInfo as it was configured, RSAPublicKey, and what becomes of these in a variable of the
/// environment or a file of another system.
pub(super) fn pems(key: &Key) -> Vec<Vec<u8>> {
    let pkcs1 = key.bytes().filter(|bytes| rsa_numbers(bytes).is_some()).map(|bytes| {
        let body = STANDARD.encode(bytes);
        let lines: Vec<_> = body.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n", lines.join("\n"))
    });
    let forms = key.pem.iter().cloned().chain(pkcs1).flat_map(|pem| {
        let (body, dashes): (Vec<_>, Vec<_>) = pem.lines().partition(|line| !line.starts_with("-----"));
        let long = format!("{}\n{}\n{}\n", dashes.first().unwrap_or(&""), body.concat(), dashes.last().unwrap_or(&""));
        let breaks = ["\r\n", "", "\\n"].map(|other| pem.replace('\n', other));
        breaks.into_iter().chain([pem.trim_end().to_owned(), format!("\n{pem}"), long, pem])
    });
    forms.map(String::into_bytes).collect()
}

/// In any other form: the body of a PEM, DER, the numbers of RSA, the modulus alone, a point, its coordinates, a JWK, a line
/// of OpenSSH.
pub(super) fn others(key: &Key) -> Vec<Vec<u8>> {
    let (Some(pem), Some(bytes)) = (&key.pem, key.bytes()) else { return Vec::new() };
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let modulus = rsa_numbers(bytes).map(|(n, _)| n.to_vec());
    let jwk = bare_jwk(key.algorithm, bytes).map(|jwk| jwk.to_string().into_bytes());
    let openssh = openssh(key.algorithm, bytes);
    [
        STANDARD.decode(&body).ok(),
        Some(body.into_bytes()),
        Some(bytes.to_vec()),
        modulus,
        bytes.strip_prefix(&[4]).map(<[u8]>::to_vec),
        jwk,
    ]
    .into_iter()
    .flatten()
    .chain(openssh.into_iter().flat_map(|line| [format!("{line}\n").into_bytes(), line.into_bytes()]))
    .collect()
}

/// As in `authorized_keys`: the name of the kind, and the base64 of length-prefixed fields (RFC 4253 §6.6, RFC 5656
/// §3.1, RFC 8709 §4).
fn openssh(algorithm: Algorithm, bytes: &[u8]) -> Option<String> {
    let (name, fields): (_, Vec<Vec<u8>>) = match algorithm {
        Algorithm::ES256 => ("ecdsa-sha2-nistp256", vec![b"nistp256".to_vec(), bytes.to_vec()]),
        Algorithm::ES384 => ("ecdsa-sha2-nistp384", vec![b"nistp384".to_vec(), bytes.to_vec()]),
        Algorithm::EdDSA => ("ssh-ed25519", vec![bytes.to_vec()]),
        _ => {
            let (n, e) = rsa_numbers(bytes)?;
            // A number whose first bit is set would be negative.
            let number = |digits: &[u8]| {
                [&vec![0; usize::from(digits.first().is_some_and(|first| first & 0x80 != 0))], digits].concat()
            };
            ("ssh-rsa", vec![number(e), number(n)])
        }
    };
    let mut blob = Vec::new();
    for field in [name.as_bytes()].into_iter().chain(fields.iter().map(Vec::as_slice)) {
        blob.extend((field.len() as u32).to_be_bytes());
        blob.extend(field);
    }
    Some(format!("{name} {}", STANDARD.encode(blob)))
}
