//! The opening request (RFC 6455 §4.1) as bytes, with any deviation a case asks for.
//!
//! It checks nothing: a header may be missing, doubled or malformed, and the request line may say anything.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// An HTTP/1.1 request, byte for byte under the caller's control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The method, normally `GET`.
    pub method: String,
    /// The request target as it goes on the wire.
    pub target: Vec<u8>,
    /// The protocol version as written, normally `HTTP/1.1`.
    pub version: String,
    /// Names and values in the order they are sent.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What follows the empty line.
    pub body: Vec<u8>,
}

impl Opening {
    /// A complete and legal opening for `target` on `host`.
    pub fn websocket(host: &str, target: impl Into<Vec<u8>>, key: &str) -> Self {
        let mut opening = Self::http("GET", host, target);
        opening.add("Upgrade", "websocket");
        opening.add("Connection", "Upgrade");
        opening.add("Sec-WebSocket-Key", key);
        opening.add("Sec-WebSocket-Version", "13");
        opening
    }

    /// A plain HTTP request without a body.
    pub fn http(method: &str, host: &str, target: impl Into<Vec<u8>>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.into(),
            version: "HTTP/1.1".to_owned(),
            headers: vec![("Host".to_owned(), host.as_bytes().to_vec())],
            body: Vec::new(),
        }
    }

    /// Adds a header line after the others; a second line of the same name is a second line.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
    }

    /// Replaces every line of this name (compared without case) by one, in the place of the first.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        match self.headers.iter().position(|(other, _)| other.eq_ignore_ascii_case(name)) {
            None => self.add(name, value),
            Some(first) => {
                self.headers[first] = (name.to_owned(), value.as_ref().to_vec());
                let mut index = 0;
                self.headers.retain(|(other, _)| {
                    index += 1;
                    index <= first + 1 || !other.eq_ignore_ascii_case(name)
                });
            }
        }
    }

    /// Removes every line of this name.
    pub fn drop_header(&mut self, name: &str) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    }

    /// The bytes that go on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256 + self.target.len() + self.body.len());
        bytes.extend_from_slice(self.method.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(&self.target);
        bytes.push(b' ');
        bytes.extend_from_slice(self.version.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// The `Sec-WebSocket-Accept` that answers `key` (RFC 6455 §4.2.2 item 5).
pub fn accept_for(key: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(context.finish())
}

/// Percent-encodes every byte that is not unreserved (RFC 3986 §2.3).
pub fn percent_encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let is_unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let mut encoded = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        // A whole token at once, as a rule.
        let (plain, after) = rest.split_at(rest.iter().position(|byte| !is_unreserved(byte)).unwrap_or(rest.len()));
        encoded.push_str(str::from_utf8(plain).unwrap_or_default());
        rest = after;
        if let Some((byte, after)) = rest.split_first() {
            let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
            encoded.extend(['%', char::from(high), char::from(low)]);
            rest = after;
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_the_one_of_the_rfc() {
        assert_eq!(accept_for(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn setting_a_header_leaves_one_line_in_its_place() {
        let mut opening = Opening::websocket("h", "/", "k");
        opening.add("upgrade", "again");
        opening.set("UPGRADE", "h2c");
        let names: Vec<_> = opening.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Host", "UPGRADE", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"]);
    }

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(percent_encode(b"a-Z.0_~+/=\xff"), "a-Z.0_~%2B%2F%3D%FF");
    }
}
