//! Loose verifiers of public-key signatures: what faults put in the place of the library's strict one.
//!
//! Each repeats a mistake that real verifiers made: a range not checked, a padding not parsed to its end, a form accepted
//! beside the one that RFC 7518 §3 names. They are only verifiers: which fault uses which is in `wrong`.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA384_ASN1, UnparsedPublicKey};

use super::keys::rsa_numbers;

/// The order of P-256 (FIPS 186-5, SP 800-186 §3.2.1.3).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of the base point of Ed25519, big-endian (RFC 8032 §5.1).
const ED25519_ORDER: [u8; 32] = [
    0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0xde, 0xf9, 0xde, 0xa2, 0xf7, 0x9c, 0xd6, 0x58, 0x12,
    0x63, 0x1a, 0x5c, 0xf5, 0xd3, 0xed,
];

/// `a - b` of two numbers of the same length, if it is not negative.
fn subtract(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; a.len()];
    let mut borrow = false;
    for at in (0..a.len()).rev() {
        let (rest, under) = a[at].overflowing_sub(b[at]);
        let (rest, under_again) = rest.overflowing_sub(u8::from(borrow));
        out[at] = rest;
        borrow = under || under_again;
    }
    (!borrow && a.len() == b.len()).then_some(out)
}

/// `number` with zeros in front, of this length, if it fits.
fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let first = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    let digits = &number[first..];
    let zeros = length.checked_sub(digits.len())?;
    Some([vec![0; zeros], digits.to_vec()].concat())
}

// RSA.

/// A signature of RSA brought back into the range that was not checked (RFC 8017 §5.2.2, step 1).
pub(super) fn rsa_reduced(key: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let (n, _) = rsa_numbers(key)?;
    let longer = padded(signature, n.len() + 1)?;
    let reduced = subtract(&longer, &padded(n, n.len() + 1)?).unwrap_or(longer);
    padded(&reduced, n.len())
}

/// `signature` raised to the public exponent: the block that was signed (RFC 8017 §5.2.2).
fn rsa_block(key: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let (n, e) = rsa_numbers(key)?;
    // The length and the range are checked here; that they are not is another mistake.
    let base = Some(signature).filter(|s| s.len() == n.len() && subtract(s, n).is_none())?;
    let n_limbs = limbs(n);
    let modulus = Montgomery::of(&n_limbs)?;
    let base = modulus.enter(limbs(base));
    let bits = e.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
    let mut bits = bits.skip_while(|bit| !bit);
    bits.next()?;
    let mut block = base.clone();
    for bit in bits {
        block = modulus.multiply(&block, &block);
        if bit {
            block = modulus.multiply(&block, &base);
        }
    }
    let bytes: Vec<u8> = modulus.leave(&block).iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
    padded(&bytes, n.len())
}

/// A number as limbs, the least first, with room for one more bit.
fn limbs(big_endian: &[u8]) -> Vec<u64> {
    let limb = |bytes: &[u8]| bytes.iter().fold(0, |limb, &byte| limb << 8 | u64::from(byte));
    let mut limbs: Vec<u64> = big_endian.rchunks(8).map(limb).collect();
    limbs.push(0);
    limbs
}

/// An odd modulus whose last limb is zero. Numbers are multiplied in their Montgomery form, that is times R, which is two
/// to the power of the modulus's bits (Montgomery 1985): the matrix verifies thousands of signatures.
struct Montgomery<'n> {
    n: &'n [u64],
    /// What the least limb has to be multiplied with so that that many n more make it zero.
    clears: u64,
}

impl<'n> Montgomery<'n> {
    fn of(n: &'n [u64]) -> Option<Self> {
        let least = *n.first().filter(|least| *least & 1 == 1)?;
        // Newton's iteration doubles the bits that are right, of which there is one at first.
        let inverse = (0..6).fold(1_u64, |x, _| x.wrapping_mul(2_u64.wrapping_sub(least.wrapping_mul(x))));
        Some(Self { n, clears: inverse.wrapping_neg() })
    }

    /// `a * R mod n`, for a below n.
    fn enter(&self, mut a: Vec<u64>) -> Vec<u64> {
        for _ in 0..64 * self.n.len() {
            let mut carry = 0;
            for limb in &mut a {
                (*limb, carry) = (*limb << 1 | carry, *limb >> 63);
            }
            self.reduce(&mut a);
        }
        a
    }

    fn leave(&self, a: &[u64]) -> Vec<u64> {
        let mut one = vec![0; self.n.len()];
        one[0] = 1;
        self.multiply(a, &one)
    }

    /// `a * b / R mod n`, for a and b below n.
    fn multiply(&self, a: &[u64], b: &[u64]) -> Vec<u64> {
        let mut sum = vec![0; self.n.len() + 1];
        for &limb in b {
            add_multiple(&mut sum, a, limb);
            let times = sum[0].wrapping_mul(self.clears);
            add_multiple(&mut sum, self.n, times);
            sum.rotate_left(1);
        }
        sum.pop();
        self.reduce(&mut sum);
        sum
    }

    /// `a mod n`, for a below 2 n.
    fn reduce(&self, a: &mut [u64]) {
        if a.iter().rev().lt(self.n.iter().rev()) {
            return;
        }
        let mut borrow = false;
        for (a, n) in a.iter_mut().zip(self.n) {
            let (rest, under) = a.overflowing_sub(*n);
            let (rest, under_again) = rest.overflowing_sub(u64::from(borrow));
            *a = rest;
            borrow = under || under_again;
        }
    }
}

/// Adds `times` a to a sum that has one limb more.
fn add_multiple(sum: &mut [u64], a: &[u64], times: u64) {
    let mut carry = 0_u128;
    for (sum, a) in sum.iter_mut().zip(a.iter().chain(&[0])) {
        carry += u128::from(*sum) + u128::from(*a) * u128::from(times);
        *sum = carry as u64;
        carry >>= 64;
    }
}

/// Whether the SHA-256 of `signed` stands anywhere in the block, whatever is around it (Bleichenbacher 2006).
pub(super) fn pkcs1_somehow(key: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let hash = digest::digest(&digest::SHA256, signed);
    rsa_block(key, signature).is_some_and(|block| block.windows(hash.as_ref().len()).any(|at| at == hash.as_ref()))
}

/// EMSA-PSS with SHA-256 and a salt of whatever length (RFC 8017 §9.1.2, without its step that knows the length).
pub(super) fn pss_any_salt(key: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    const HASH: usize = 32;
    let Some(block) = rsa_block(key, signature).filter(|block| block.len() > HASH + 1 && block.ends_with(&[0xbc]))
    else {
        return false;
    };
    let (masked, rest) = block.split_at(block.len() - HASH - 1);
    let hash = &rest[..HASH];
    let mask = (0_u32..).flat_map(|counter| {
        let digest = digest::digest(&digest::SHA256, &[hash, &counter.to_be_bytes()[..]].concat());
        digest.as_ref().to_vec()
    });
    let mut data: Vec<u8> = masked.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    // The modulus has a multiple of eight bits, so that the block has one bit less.
    data[0] &= 0x7f;
    let Some(one) = data.iter().position(|&byte| byte != 0).filter(|&at| data[at] == 1) else {
        return false;
    };
    let message = digest::digest(&digest::SHA256, signed);
    digest::digest(&digest::SHA256, &[&[0; 8], message.as_ref(), &data[one + 1..]].concat()).as_ref() == hash
}

// ECDSA on P-256.

/// r and s of a signature in DER, in the fixed form of RFC 7518 §3.4.
pub(super) fn ecdsa_fixed(der: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = rsa_numbers(der)?;
    Some([padded(r, 32)?, padded(s, 32)?].concat())
}

/// A signature in the fixed form as DER.
pub(super) fn ecdsa_der(fixed: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let first = half.iter().position(|&byte| byte != 0).unwrap_or(half.len());
        let sign: &[u8] = if half.get(first).is_none_or(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
        let digits = [sign, &half[first..]].concat();
        [&[0x02, digits.len() as u8], &digits[..]].concat()
    };
    let (r, s) = fixed.split_at(fixed.len() / 2);
    let both = [integer(r), integer(s)].concat();
    [&[0x30, both.len() as u8], &both[..]].concat()
}

/// Whether r and s are both zero modulo the order: then both sides of the last equation are zero (CVE-2022-21449).
pub(super) fn ecdsa_is_zero(fixed: &[u8]) -> bool {
    let zero = |half: &[u8]| half.iter().all(|&byte| byte == 0) || half == P256_ORDER;
    fixed.len() == 64 && fixed.chunks(32).all(zero)
}

/// A signature that lacks a leading zero, with the zero put back wherever it may have been.
pub(super) fn ecdsa_lengthened(short: &[u8]) -> [Vec<u8>; 2] {
    let (r, s) = short.split_at(short.len().min(32));
    [[&[0], short].concat(), [r, &[0], s].concat()]
}

/// Verifies on P-256 what a signature of ES384 covers.
pub(super) fn p256_with_sha384(point: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    signature.len() == 64
        && UnparsedPublicKey::new(&ECDSA_P256_SHA384_ASN1, point).verify(signed, &ecdsa_der(signature)).is_ok()
}

// Ed25519.

/// A signature whose S is brought back into the range that was not checked (RFC 8032 §5.1.7, step 1).
pub(super) fn eddsa_reduced(signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at_checked(32)?;
    let big: Vec<u8> = s.iter().rev().copied().collect();
    let reduced = subtract(&padded(&big, 32)?, &ED25519_ORDER)?;
    Some([r.to_vec(), reduced.into_iter().rev().collect()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_come_out_right() {
        // 7^3 mod 33 = 13: the key (n 33, e 3) in DER.
        let key = [0x30, 6, 2, 1, 33, 2, 1, 3];
        assert_eq!(rsa_block(&key, &[7]), Some(vec![13]));
        assert_eq!(rsa_block(&key, &[0, 7]), None, "another length");
        assert_eq!(rsa_block(&key, &[33]), None, "out of range");
        assert_eq!(rsa_reduced(&key, &[40]), Some(vec![7]));
        assert_eq!(subtract(&[1, 0], &[0, 1]), Some(vec![0, 255]));
        assert_eq!(subtract(&[0, 1], &[1, 0]), None);
    }

    #[test]
    fn der_and_fixed_form_are_the_same_signature() {
        let mut fixed = vec![0; 64];
        fixed[1] = 0x80;
        fixed[63] = 1;
        assert_eq!(ecdsa_fixed(&ecdsa_der(&fixed)), Some(fixed));
        assert!(ecdsa_fixed(&[0x30, 6, 2, 1, 0, 2, 1, 0]).is_some_and(|fixed| ecdsa_is_zero(&fixed)));
    }
}
