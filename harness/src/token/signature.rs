//! Broken signatures of the asymmetric algorithms: the values and encodings at which verifiers have failed.
//! Everything here must be refused, except the ECDSA twin, which is as valid as the original.

use aws_lc_rs::digest::{self, digest};

use super::algorithm::KeyKind;
use super::bignum;
use super::der;
use super::interpolate::ForgeError;
use super::keys::{PublicKey, coordinate_len};
use super::ops::{EcScalar, EcValues, EdShape, Pkcs1Shape, RsaValue, parse_hex};
use super::sign::hash_oid;

/// The order of the group (FIPS 186-5, SP 800-186 §3.2.1).
pub(crate) fn order(curve: KeyKind) -> Vec<u8> {
    let text = match curve {
        KeyKind::P384 => {
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"
        }
        KeyKind::P521 => concat!(
            "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409"
        ),
        _ => "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    };
    parse_hex(text).unwrap_or_default()
}

/// The order of Ed25519's group (RFC 8032 §5.1).
fn ed_order() -> Vec<u8> {
    parse_hex("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed").unwrap_or_default()
}

fn halves(curve: KeyKind, fixed: &[u8]) -> Result<(&[u8], &[u8]), ForgeError> {
    let len = coordinate_len(curve);
    if fixed.len() != 2 * len {
        return Err(ForgeError::Impossible("this signature has not the length of an ECDSA signature".into()));
    }
    Ok(fixed.split_at(len))
}

fn join(curve: KeyKind, r: &[u8], s: &[u8]) -> Result<Vec<u8>, ForgeError> {
    let len = coordinate_len(curve);
    let fit = |value| {
        bignum::fixed(value, len).ok_or_else(|| ForgeError::Impossible("this value does not fit the signature".into()))
    };
    Ok([fit(r)?, fit(s)?].concat())
}

/// (r, n - s), which verifies whenever (r, s) does.
pub(crate) fn twin(curve: KeyKind, fixed: &[u8]) -> Result<Vec<u8>, ForgeError> {
    let (r, s) = halves(curve, fixed)?;
    join(curve, r, &bignum::subtract(&order(curve), s))
}

/// Whether s lies in the upper half of its range: then this may be the twin of what the signer wrote.
pub(crate) fn is_high_s(curve: KeyKind, fixed: &[u8]) -> bool {
    halves(curve, fixed).is_ok_and(|(_, s)| bignum::compare(&bignum::add(s, s), &order(curve)).is_gt())
}

/// The twin with the smaller s. The forge always sends that one, so that the other can be told from it.
pub(crate) fn low_s(curve: KeyKind, fixed: Vec<u8>) -> Vec<u8> {
    if is_high_s(curve, &fixed) { twin(curve, &fixed).unwrap_or(fixed) } else { fixed }
}

/// ECDSA-Sig-Value in DER (RFC 3279 §2.2.3) from the fixed form of RFC 7518 §3.4.
pub(crate) fn ec_der(curve: KeyKind, fixed: &[u8]) -> Result<Vec<u8>, ForgeError> {
    let (r, s) = halves(curve, fixed)?;
    Ok(der::element(der::SEQUENCE, &[&der::integer(r), &der::integer(s)]))
}

/// The signature without a zero byte that one of its halves starts with; none when neither does.
pub(crate) fn without_leading_zero(curve: KeyKind, fixed: &[u8]) -> Result<Option<Vec<u8>>, ForgeError> {
    let (r, s) = halves(curve, fixed)?;
    // P-521 coordinates have 521 bits in 66 bytes, so a leading zero byte is the rule there; it still counts.
    Ok(match (r.strip_prefix(&[0]), s.strip_prefix(&[0])) {
        (Some(r), _) => Some([r, s].concat()),
        (None, Some(s)) => Some([r, s].concat()),
        (None, None) => None,
    })
}

pub(crate) fn ec_values(curve: KeyKind, fixed: &[u8], values: EcValues) -> Result<Vec<u8>, ForgeError> {
    let (r, s) = halves(curve, fixed)?;
    let n = order(curve);
    let value = |choice, real: &[u8]| match choice {
        EcScalar::Real => real.to_vec(),
        EcScalar::Zero => Vec::new(),
        EcScalar::One => vec![1],
        EcScalar::OrderMinusOne => bignum::subtract(&n, &[1]),
        EcScalar::Order => n.clone(),
        EcScalar::OrderPlusOne => bignum::add(&n, &[1]),
        EcScalar::AllOnes => vec![0xff; coordinate_len(curve)],
    };
    join(curve, &value(values.r, r), &value(values.s, s))
}

pub(crate) fn rsa_value(public: &PublicKey, real: &[u8], value: RsaValue) -> Result<Vec<u8>, ForgeError> {
    let PublicKey::Rsa { n, .. } = public else {
        return Err(ForgeError::Impossible("this signature is no RSA signature".into()));
    };
    let fit = |value: &[u8]| bignum::fixed(value, n.len()).unwrap_or_else(|| value.to_vec());
    Ok(match value {
        RsaValue::Zero => fit(&[]),
        RsaValue::One => fit(&[1]),
        RsaValue::ModulusMinusOne => fit(&bignum::subtract(n, &[1])),
        RsaValue::Modulus => fit(n),
        RsaValue::PlusModulus => fit(&bignum::add(real, n)),
        RsaValue::LeadingZero => [&[0], real].concat(),
        RsaValue::Short => real[..real.len().saturating_sub(1)].to_vec(),
    })
}

pub(crate) fn ed_shape(real: &[u8], shape: EdShape) -> Result<Vec<u8>, ForgeError> {
    if real.len() != 64 {
        return Err(ForgeError::Impossible("this signature is no Ed25519 signature".into()));
    }
    let (r, s) = real.split_at(32);
    Ok(match shape {
        EdShape::PlusOrder => {
            let big: Vec<u8> = s.iter().rev().copied().collect();
            let sum = bignum::fixed(&bignum::add(&big, &ed_order()), 32)
                .ok_or_else(|| ForgeError::Impossible("S plus the order does not fit".into()))?;
            [r.to_vec(), sum.into_iter().rev().collect()].concat()
        }
        EdShape::Identity => {
            let mut out = vec![0; 64];
            out[0] = 1;
            out
        }
        EdShape::Swapped => [s, r].concat(),
    })
}

/// A PKCS#1 v1.5 block of this shape (RFC 8017 §9.2 is the right one).
pub(crate) fn pkcs1_block(
    shape: Pkcs1Shape,
    hash: &'static digest::Algorithm,
    data: &[u8],
    len: usize,
) -> Result<Vec<u8>, ForgeError> {
    let hash = match shape {
        Pkcs1Shape::OtherHash if hash == &digest::SHA512 => &digest::SHA256,
        Pkcs1Shape::OtherHash => &digest::SHA512,
        _ => hash,
    };
    let value = digest(hash, data);
    let octets = der::element(der::OCTET_STRING, &[value.as_ref()]);
    let null = der::element(der::NULL, &[]);
    let oid = hash_oid(hash);
    let info = |parameters: &[u8], extra: &[u8]| {
        der::element(der::SEQUENCE, &[&der::element(der::SEQUENCE, &[&oid, parameters]), &octets, extra])
    };
    let plain = info(&null, &[]);
    let info = match shape {
        Pkcs1Shape::MissingNull => info(&[], &[]),
        Pkcs1Shape::GarbageParameters => info(&der::element(der::OCTET_STRING, &[&[0x5a; 16]]), &[]),
        Pkcs1Shape::ExtraElement => info(&null, &null),
        Pkcs1Shape::NoDigestInfo => value.as_ref().to_vec(),
        // 30 31 ... becomes 30 81 31 ...: BER allows it, DER does not (X.690 §10.1).
        Pkcs1Shape::LongFormLength => [&[plain[0], 0x81], &plain[1..]].concat(),
        // 30 31 ... becomes 30 80 ... 00 00, which BER allows too.
        Pkcs1Shape::IndefiniteLength => [&[plain[0], 0x80], &plain[2..], &[0, 0]].concat(),
        _ => plain,
    };
    let too_short = || ForgeError::Impossible("the modulus is too short for this block".into());
    let block = if shape == Pkcs1Shape::GarbageAfterDigest {
        let head = [&[0, 1][..], &[0xff; 8], &[0], &info].concat();
        let garbage = len.checked_sub(head.len()).ok_or_else(too_short)?;
        [head, vec![0x5a; garbage]].concat()
    } else {
        let padding = len.checked_sub(info.len() + 3).filter(|padding| *padding >= 8).ok_or_else(too_short)?;
        let mut block = [&[0, 1][..], &vec![0xff; padding], &[0], &info].concat();
        match shape {
            Pkcs1Shape::BlockType2 => block[1] = 2,
            Pkcs1Shape::BadPaddingByte => block[2 + padding / 2] = 0xfe,
            Pkcs1Shape::MissingZero => block[2 + padding] = 0xff,
            _ => {}
        }
        block
    };
    Ok(block)
}

/// The block raised to the private exponent: a signature for which the library has no name.
pub(crate) fn raw_rsa(block: &[u8], public: &PublicKey, d: &[u8]) -> Result<Vec<u8>, ForgeError> {
    match public {
        PublicKey::Rsa { n, .. } => bignum::power(block, d, n).ok_or(ForgeError::Crypto("the raw RSA operation")),
        _ => Err(ForgeError::Impossible("this key is no RSA key".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::keys::{Pair, PrivateKey};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::RSA_PKCS1_SHA256;

    /// The block that is "of another hash" than SHA-512 is the right one for SHA-256, so the raw operation on it
    /// must give the library's own signature: then every other shape differs only where it means to.
    #[test]
    fn the_raw_operation_agrees_with_the_library() {
        let key = PrivateKey::attacker(KeyKind::Rsa).expect("a key");
        let Pair::Rsa { pair, d } = &key.pair else { panic!("an RSA key") };
        let len = pair.public_modulus_len();
        let block = pkcs1_block(Pkcs1Shape::OtherHash, &digest::SHA512, b"data", len).expect("a block");
        let mut expected = vec![0; len];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"data", &mut expected).expect("signed");
        assert_eq!(raw_rsa(&block, key.public(), d).expect("signed"), expected);
    }

    #[test]
    fn twins_and_halves() {
        let mut fixed = vec![0x11; 64];
        fixed[32] = 0xff;
        fixed[33] = 0;
        assert!(is_high_s(KeyKind::P256, &fixed));
        let low = low_s(KeyKind::P256, fixed.clone());
        assert!(!is_high_s(KeyKind::P256, &low));
        assert_eq!(twin(KeyKind::P256, &low).expect("a twin"), fixed);
        assert_eq!(without_leading_zero(KeyKind::P256, &fixed).expect("64 bytes"), None);
        assert!(twin(KeyKind::P256, &[0; 3]).is_err());
        assert_eq!(order(KeyKind::P521).len(), 66);
    }
}
