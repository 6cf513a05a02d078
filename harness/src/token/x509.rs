//! One self-signed certificate for the attacker's key (RFC 5280 §4.1), for `x5c`, and what a listener serves
//! where `jku` and `x5u` point. Only what makes it a certificate that a careless verifier would read: no
//! extensions, fixed dates.

use serde_json::{Value, json};

use super::algorithm::{Algorithm, KeyKind};
use super::der;
use super::interpolate::ForgeError;
use super::keys::{PrivateKey, PublicKey, to_pem};
use super::sign::{Method, SigningKey, sign};
use super::signature;

/// The certificate in DER.
pub(crate) fn self_signed(key: &PrivateKey) -> Result<Vec<u8>, ForgeError> {
    let public = key.public();
    let (algorithm, identifier) = match public {
        PublicKey::Rsa { .. } => {
            let oid = der::element(der::OBJECT, &[der::SHA256_WITH_RSA]);
            (Algorithm::RS256, der::element(der::SEQUENCE, &[&oid, &der::element(der::NULL, &[])]))
        }
        PublicKey::Ec { .. } => {
            let oid = der::element(der::OBJECT, &[der::ECDSA_WITH_SHA256]);
            (Algorithm::ES256, der::element(der::SEQUENCE, &[&oid]))
        }
        PublicKey::Ed25519(_) => {
            let oid = der::element(der::OBJECT, &[der::ED25519]);
            (Algorithm::EdDSA, der::element(der::SEQUENCE, &[&oid]))
        }
    };
    let common_name = der::element(
        der::SEQUENCE,
        &[&der::element(der::OBJECT, &[der::COMMON_NAME]), &der::element(der::UTF8_STRING, &[b"gatecrash attacker"])],
    );
    let name = der::element(der::SEQUENCE, &[&der::element(der::SET, &[&common_name])]);
    let validity = der::element(
        der::SEQUENCE,
        &[&der::element(der::UTC_TIME, &[b"200101000000Z"]), &der::element(der::UTC_TIME, &[b"491231235959Z"])],
    );
    let version = der::element(0xa0, &[&der::integer(&[2])]);
    let body = der::element(
        der::SEQUENCE,
        &[&version, &der::integer(&[1]), &identifier, &name, &validity, &name, &public.spki_der()],
    );
    let fixed = sign(&SigningKey::Private(key.clone()), algorithm, Method::Plain, &body)?;
    let value = match public {
        PublicKey::Ec { curve, .. } => signature::ec_der(*curve, &fixed)?,
        _ => fixed,
    };
    Ok(der::element(der::SEQUENCE, &[&body, &identifier, &der::bit_string(&value)]))
}

/// The key set that belongs behind an `embed_jku` address: the attacker's public keys.
///
/// Each has the members by which libraries choose among the keys of a set (RFC 7517 §4.2, §4.4, §4.5), as an attacker
/// would write them: without a `kid` many pass a key over. Its name is `attacker-` and the algorithm.
///
/// # Errors
///
/// When the library cannot make a key.
pub fn attacker_jwks() -> Result<Value, ForgeError> {
    let of = [(KeyKind::Rsa, "RS256"), (KeyKind::P256, "ES256"), (KeyKind::Ed25519, "EdDSA")];
    let keys = of.map(|(kind, alg)| {
        let key = PrivateKey::attacker(kind).ok_or(ForgeError::Crypto("generating a key"))?;
        let mut jwk = key.public().jwk();
        jwk["kid"] = format!("attacker-{alg}").into();
        jwk["use"] = "sig".into();
        jwk["alg"] = alg.into();
        Ok(jwk)
    });
    Ok(json!({ "keys": keys.into_iter().collect::<Result<Vec<_>, ForgeError>>()? }))
}

/// The certificate that belongs behind an `embed_x5u` address, in PEM: the attacker's RSA key, self-signed.
///
/// # Errors
///
/// When the library cannot make a key or sign with it.
pub fn attacker_certificate() -> Result<String, ForgeError> {
    let key = PrivateKey::attacker(KeyKind::Rsa).ok_or(ForgeError::Crypto("generating a key"))?;
    Ok(to_pem("CERTIFICATE", &self_signed(key)?))
}
