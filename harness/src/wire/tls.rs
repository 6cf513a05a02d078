//! Greetings in old versions of TLS, byte for byte, and the first record of the answer.
//!
//! Pure, and without an opinion. rustls speaks TLS 1.2 and 1.3 only, so that it cannot ask whether a server still speaks
//! the versions before them; nothing but the greeting is needed for that.

use crate::case::OldTls;

/// The longest record there is (RFC 5246 §6.2.3), without its five bytes of header.
const MAX_RECORD_BYTES: usize = (1 << 14) + 2048;

/// The suites that servers of those versions speak: ECDHE, DHE and RSA with AES-CBC and 3DES (RFC 4492, RFC 5246).
const SUITES: [u16; 10] = [0xC009, 0xC00A, 0xC013, 0xC014, 0x0033, 0x0039, 0x002F, 0x0035, 0xC012, 0x000A];

/// What a server answered to a greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It agreed, and goes on in this version.
    ServerHello(u16),
    /// It refused, by an alert of this description (RFC 5246 §7.2).
    Alert(u8),
}

/// What stands at the start of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Too little to tell.
    More,
    /// An answer.
    Answer(Answer),
    /// No answer of TLS.
    NotTls,
}

impl OldTls {
    /// The number of the version on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Tls10 => 0x0301,
            Self::Tls11 => 0x0302,
        }
    }
}

/// The name of a version.
pub fn version_name(number: u16) -> String {
    match number {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301..=0x0304 => format!("TLS 1.{}", number - 0x0301),
        other => format!("a version of the number {other:#06x}"),
    }
}

/// The record of a ClientHello (RFC 5246 §7.4.1.2) that offers `version` and nothing newer. `host` is named unless it is
/// empty or an address; `random` makes it unlike the one before.
pub fn client_hello(version: OldTls, host: &str, random: u64) -> Vec<u8> {
    let mut body = version.number().to_be_bytes().to_vec();
    for step in 1..=4_u64 {
        body.extend_from_slice(&random.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(step)).to_be_bytes());
    }
    body.push(0);
    let suites: Vec<u8> = SUITES.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    body.extend_from_slice(&sized(&suites));
    body.extend_from_slice(&[1, 0]);

    let mut extensions = Vec::new();
    let mut add = |number: u16, content: &[u8]| {
        extensions.extend_from_slice(&number.to_be_bytes());
        extensions.extend_from_slice(&sized(content));
    };
    let is_name = host.bytes().any(|byte| byte.is_ascii_alphabetic()) && !host.contains(':') && host.len() < 256;
    if is_name {
        add(0, &sized(&[&[0][..], &sized(host.as_bytes())].concat()));
    }
    // supported_groups: x25519, secp256r1, secp384r1; ec_point_formats: uncompressed.
    add(10, &[0, 6, 0, 29, 0, 23, 0, 24]);
    add(11, &[1, 0]);
    // An empty renegotiation_info, without which some servers break off (RFC 5746 §3.4).
    add(0xFF01, &[0]);
    body.extend_from_slice(&sized(&extensions));

    let mut handshake = vec![1, 0];
    handshake.extend_from_slice(&sized(&body));
    [&[22, 3, 1][..], &sized(&handshake)].concat()
}

/// Bytes behind their length in two bytes. Nothing that is written here comes near the end of those.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()[..], bytes].concat()
}

/// Reads the first record of an answer. An alert that only warns is passed over.
pub fn read(bytes: &[u8]) -> Read {
    let mut rest = bytes;
    loop {
        let [kind, major, rest_of_it @ ..] = rest else {
            return match rest {
                [20..=23] | [] => Read::More,
                _ => Read::NotTls,
            };
        };
        if !matches!(kind, 20..=23) || *major != 3 {
            return Read::NotTls;
        }
        let [_, high, low, content @ ..] = rest_of_it else { return Read::More };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length > MAX_RECORD_BYTES {
            return Read::NotTls;
        }
        match (*kind, content) {
            // Only close_notify (0) of the warnings ends anything.
            (21, [1, description, ..]) if *description != 0 => rest = content.get(length..).unwrap_or_default(),
            (21, [_, description, ..]) => return Read::Answer(Answer::Alert(*description)),
            (22, [2, _, _, _, high, low, ..]) => {
                return Read::Answer(Answer::ServerHello(u16::from_be_bytes([*high, *low])));
            }
            (22, [2, ..] | []) | (21, [] | [_]) => return Read::More,
            _ => return Read::NotTls,
        }
    }
}

/// Whether some bytes look like the start of a TLS record, where another protocol was to be spoken.
pub fn looks_like_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [21 | 22, 3, 0..=4, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_as_long_as_it_says_and_names_the_host() {
        for host in ["gate.example", "127.0.0.1", "::1", ""] {
            let bytes = client_hello(OldTls::Tls10, host, 7);
            assert_eq!(&bytes[..3], &[22, 3, 1]);
            assert_eq!(usize::from(u16::from_be_bytes([bytes[3], bytes[4]])), bytes.len() - 5);
            assert_eq!(bytes[5..7], [1, 0]);
            assert_eq!(usize::from(u16::from_be_bytes([bytes[7], bytes[8]])), bytes.len() - 9);
            assert_eq!(bytes[9..11], [3, 1]);
            let named = bytes.windows(12).any(|part| part == b"gate.example");
            assert_eq!(named, host == "gate.example", "{host}");
        }
        assert_ne!(client_hello(OldTls::Tls11, "", 7), client_hello(OldTls::Tls11, "", 8));
    }

    #[test]
    fn the_first_record_tells() {
        let hello = [22, 3, 1, 0, 6, 2, 0, 0, 2, 3, 2, 9, 9];
        let cases: &[(&[u8], Read)] = &[
            (&hello, Read::Answer(Answer::ServerHello(0x0302))),
            (&hello[..10], Read::More),
            (&[], Read::More),
            (&[22], Read::More),
            (&[21, 3, 1, 0, 2, 2, 70], Read::Answer(Answer::Alert(70))),
            (&[21, 3, 1, 0, 2, 2], Read::More),
            // unrecognized_name as a warning (RFC 6066 §3), then the answer.
            (&[21, 3, 1, 0, 2, 1, 112, 21, 3, 1, 0, 2, 2, 40], Read::Answer(Answer::Alert(40))),
            (&[21, 3, 1, 0, 2, 1, 112], Read::More),
            (b"HTTP/1.1 400 Bad Request", Read::NotTls),
            (b"H", Read::NotTls),
            (&[22, 3, 1, 0xff, 0xff, 2], Read::NotTls),
            (&[23, 3, 3, 0, 1, 0], Read::NotTls),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read(bytes), *expected, "{bytes:?}");
        }
    }
}
