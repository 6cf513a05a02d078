//! The little arithmetic on big-endian integers that broken signatures need: sums, differences, and one modular
//! power for RSA blocks that no library would sign. It is slow and not constant-time; it is used only with the
//! tester's own keys, to make tokens that must be refused.

use std::cmp::Ordering;

/// Without leading zero bytes.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// Padded with zero bytes in front to `len`; none when it does not fit.
pub(crate) fn fixed(bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    let bytes = trim(bytes);
    let zeros = len.checked_sub(bytes.len())?;
    Some([&vec![0; zeros][..], bytes].concat())
}

pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (trim(a), trim(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

pub(crate) fn add(a: &[u8], b: &[u8]) -> Vec<u8> {
    let len = a.len().max(b.len()) + 1;
    let mut out = vec![0; len];
    let mut carry = 0;
    for place in 0..len {
        let digit = |bytes: &[u8]| bytes.len().checked_sub(place + 1).map_or(0, |at| u16::from(bytes[at]));
        let sum = digit(a) + digit(b) + carry;
        out[len - 1 - place] = sum as u8;
        carry = sum >> 8;
    }
    trim(&out).to_vec()
}

/// `a - b`; zero when `b` is greater.
pub(crate) fn subtract(a: &[u8], b: &[u8]) -> Vec<u8> {
    if compare(a, b) == Ordering::Less {
        return Vec::new();
    }
    let mut out = a.to_vec();
    let mut borrow = 0;
    for place in 0..a.len() {
        let at = a.len() - 1 - place;
        let other = b.len().checked_sub(place + 1).map_or(0, |at| i16::from(b[at]));
        let difference = i16::from(a[at]) - other - borrow;
        borrow = i16::from(difference < 0);
        out[at] = difference.rem_euclid(256) as u8;
    }
    trim(&out).to_vec()
}

/// Little-endian limbs of 64 bits.
fn limbs(bytes: &[u8], count: usize) -> Vec<u64> {
    let mut out = vec![0; count];
    for (place, chunk) in bytes.rchunks(8).enumerate().take(count) {
        out[place] = chunk.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    }
    out
}

/// `base ^ exponent mod modulus` by Montgomery multiplication; none when the modulus is even or zero.
pub(crate) fn power(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Option<Vec<u8>> {
    let modulus_bytes = trim(modulus);
    if modulus_bytes.last().is_none_or(|byte| byte & 1 == 0) || compare(base, modulus_bytes) != Ordering::Less {
        return None;
    }
    let count = modulus_bytes.len().div_ceil(8);
    let modulus = limbs(modulus_bytes, count);
    // Newton's iteration for the inverse of the lowest limb modulo 2^64.
    let mut inverse: u64 = 1;
    for _ in 0..6 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(modulus[0].wrapping_mul(inverse)));
    }
    let field = Field { negative_inverse: inverse.wrapping_neg(), modulus };

    // R mod n and R^2 mod n, by doubling 1.
    let mut one = vec![0; count];
    one[0] = 1;
    for _ in 0..64 * count {
        field.double(&mut one);
    }
    let mut square = one.clone();
    for _ in 0..64 * count {
        field.double(&mut square);
    }

    let base = field.multiply(&limbs(base, count), &square);
    let mut result = one;
    for byte in exponent {
        for bit in (0..8).rev() {
            result = field.multiply(&result, &result);
            if byte >> bit & 1 == 1 {
                result = field.multiply(&result, &base);
            }
        }
    }
    let mut plain_one = vec![0; count];
    plain_one[0] = 1;
    let result = field.multiply(&result, &plain_one);
    let bytes: Vec<u8> = result.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
    fixed(&bytes, modulus_bytes.len())
}

struct Field {
    modulus: Vec<u64>,
    negative_inverse: u64,
}

impl Field {
    fn double(&self, value: &mut [u64]) {
        let mut carry = 0;
        for limb in value.iter_mut() {
            let next = *limb >> 63;
            *limb = *limb << 1 | carry;
            carry = next;
        }
        self.reduce(value, carry);
    }

    /// Subtracts the modulus once when the value is not below it.
    fn reduce(&self, value: &mut [u64], carry: u64) {
        let below = carry == 0 && value.iter().rev().lt(self.modulus.iter().rev());
        if below {
            return;
        }
        let mut borrow = false;
        for (limb, modulus) in value.iter_mut().zip(&self.modulus) {
            let (difference, first) = limb.overflowing_sub(*modulus);
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            *limb = difference;
            borrow = first || second;
        }
    }

    /// Montgomery product (CIOS).
    fn multiply(&self, a: &[u64], b: &[u64]) -> Vec<u64> {
        let count = self.modulus.len();
        let mut total = vec![0_u64; count + 2];
        let step = |sum: u128| (sum as u64, (sum >> 64) as u64);
        for digit in b {
            let mut carry = 0;
            for place in 0..count {
                let sum = u128::from(a[place]) * u128::from(*digit) + u128::from(total[place]) + u128::from(carry);
                (total[place], carry) = step(sum);
            }
            (total[count], total[count + 1]) = step(u128::from(total[count]) + u128::from(carry));
            let factor = total[0].wrapping_mul(self.negative_inverse);
            let (_, mut carry) = step(u128::from(factor) * u128::from(self.modulus[0]) + u128::from(total[0]));
            for place in 1..count {
                let sum =
                    u128::from(factor) * u128::from(self.modulus[place]) + u128::from(total[place]) + u128::from(carry);
                (total[place - 1], carry) = step(sum);
            }
            let (low, high) = step(u128::from(total[count]) + u128::from(carry));
            total[count - 1] = low;
            total[count] = total[count + 1] + high;
        }
        let carry = total[count];
        total.truncate(count);
        self.reduce(&mut total, carry);
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(mut value: u128) -> Vec<u8> {
        let mut out = Vec::new();
        while value > 0 {
            out.insert(0, value as u8);
            value >>= 8;
        }
        out
    }

    #[test]
    fn sums_and_differences() {
        for (a, b) in [(0, 0), (255, 1), (65_535, 65_535), (1 << 70, (1 << 70) - 1)] {
            assert_eq!(add(&number(a), &number(b)), number(a + b));
            assert_eq!(subtract(&number(a), &number(b)), number(a - b));
        }
        assert_eq!(fixed(&[0, 0, 5], 2), Some(vec![0, 5]));
        assert_eq!(fixed(&[1, 2, 3], 2), None);
    }

    #[test]
    fn powers_agree_with_small_arithmetic() {
        for modulus in [3_u128, 1_000_003, 4_294_967_291, (1 << 61) - 1] {
            for base in [0, 1, 2, 12_345] {
                let base = base % modulus;
                for exponent in [0_u32, 1, 2, 65_537] {
                    let mut expected = 1 % modulus;
                    for _ in 0..exponent {
                        expected = expected * base % modulus;
                    }
                    let result = power(&number(base), &exponent.to_be_bytes(), &number(modulus));
                    assert_eq!(trim(&result.expect("odd")), number(expected));
                }
            }
        }
        assert_eq!(power(&[1], &[1], &[4]), None);
    }
}
