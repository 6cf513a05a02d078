//! Hexadecimal digits, read and written in one place.

/// The bytes that an even number of hexadecimal digits stands for; white space may stand between them.
pub(crate) fn read(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> =
        text.chars().filter(|character| !character.is_whitespace()).map(|character| character.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    digits.chunks(2).map(|pair| u8::try_from(pair.iter().fold(0, |byte, digit| byte * 16 + digit)).ok()).collect()
}

/// The bytes as digits in lower case.
pub(crate) fn write(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Sixteen digits that stand for a text: the beginning of its SHA-256. They change with every version of the text, and
/// never with a version of this crate.
pub(crate) fn fingerprint(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    write(digest.as_ref().get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_beginning_of_the_sha_256() {
        // FIPS 180-4, the example of one block.
        assert_eq!(fingerprint("abc"), "ba7816bf8f01cfea");
    }

    #[test]
    fn pairs_of_digits_are_bytes_and_nothing_else_is() {
        assert_eq!(read("00fF 80\n"), Some(vec![0, 255, 128]));
        assert_eq!(read(""), Some(Vec::new()));
        for text in ["0", "+1", "0x", "g0", "00f", "٣٣"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(write(&[0, 255, 16]), "00ff10");
    }
}
