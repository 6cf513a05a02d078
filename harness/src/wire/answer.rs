//! The answer to an opening request: status line, headers and body, as they came.
//!
//! Reads what httparse can read and keeps the rest as bytes. It judges nothing: a 101 with a wrong accept value, a
//! status line without a reason phrase and a response without any header are all answers.

/// The most header lines that are looked at.
const MAX_HEADERS: usize = 256;

/// A status line and its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The minor version: 0 or 1.
    pub minor_version: u8,
    /// The status code.
    pub status: u16,
    /// The reason phrase, which may be empty.
    pub reason: String,
    /// Names and values in the order they came.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// The values of every line of this name, compared without case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// The first value of this name, as text; bytes that are no UTF-8 are replaced.
    pub fn header(&self, name: &str) -> Option<String> {
        self.all(name).next().map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Whether the connection is said to stay for another request (RFC 9112 §9.3).
    pub fn keeps_alive(&self) -> bool {
        let says = |word: &str| {
            let mut options = self.all("connection").flat_map(|value| value.split(|byte| *byte == b','));
            options.any(|option| option.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        };
        let by_default = self.minor_version >= 1 || says("keep-alive");
        by_default && !says("close") && self.body_length() != BodyLength::UntilClose
    }

    /// The values of every line of this name, as text.
    pub fn lines(&self, name: &str) -> Vec<String> {
        self.all(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// How the end of the body is told (RFC 9112 §6.3).
    pub fn body_length(&self) -> BodyLength {
        if self.status == 101 || self.status == 204 || self.status == 304 {
            return BodyLength::Exactly(0);
        }
        if self.header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked")) {
            return BodyLength::Chunked;
        }
        match self.header("content-length").map(|value| value.trim().parse()) {
            Some(Ok(length)) => BodyLength::Exactly(length),
            _ => BodyLength::UntilClose,
        }
    }
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// By `Content-Length`, in bytes.
    Exactly(usize),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// What the front of a buffer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Not yet a whole head.
    More,
    /// A head and the number of bytes it took.
    Head(Head, usize),
    /// Something that is not HTTP/1.
    NotHttp(String),
}

/// Reads a response head from the front of `bytes`.
pub fn read(bytes: &[u8]) -> Read {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Partial) => Read::More,
        Ok(httparse::Status::Complete(used)) => {
            let head = Head {
                minor_version: response.version.unwrap_or_default(),
                status: response.code.unwrap_or_default(),
                reason: response.reason.unwrap_or_default().to_owned(),
                headers: response.headers.iter().map(|line| (line.name.to_owned(), line.value.to_vec())).collect(),
            };
            Read::Head(head, used)
        }
        Err(error) => Read::NotHttp(error.to_string()),
    }
}

/// The values of every line of this name in the head of a request, as it was sent.
pub fn lines(request: &[u8], name: &str) -> Vec<String> {
    let head = String::from_utf8_lossy(request);
    head_lines(&head)
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

/// The lines of a head up to the empty one. By bytes: a search for two characters would be made ready for each head anew.
pub(crate) fn head_lines(head: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(head);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let end = text.match_indices('\n').map(|(at, _)| at).find(|at| text[..*at].ends_with('\r'));
        match end {
            Some(end) => {
                rest = Some(&text[end + 1..]);
                Some(&text[..end - 1])
            }
            None => Some(text),
        }
    })
    .take_while(|line| !line.is_empty())
}

/// The part of `bytes` that is the body, decoded, and whether it is complete.
pub fn body(bytes: &[u8], length: BodyLength) -> (Vec<u8>, bool) {
    match length {
        BodyLength::Exactly(length) => (bytes[..length.min(bytes.len())].to_vec(), bytes.len() >= length),
        BodyLength::UntilClose => (bytes.to_vec(), false),
        BodyLength::Chunked => dechunk(bytes),
    }
}

fn dechunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        match httparse::parse_chunk_size(bytes) {
            Ok(httparse::Status::Complete((_, 0))) => return (body, true),
            Ok(httparse::Status::Complete((start, size))) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                let rest = &bytes[start..];
                body.extend_from_slice(&rest[..size.min(rest.len())]);
                // Each chunk ends with CR LF, which is no part of it.
                match rest.get(size.saturating_add(2)..) {
                    Some(next) => bytes = next,
                    None => return (body, false),
                }
            }
            Ok(httparse::Status::Partial) | Err(_) => return (body, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(text: &str) -> Head {
        match read(text.as_bytes()) {
            Read::Head(head, _) => head,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_the_status_lines_that_real_servers_send() {
        for (line, status, reason) in [
            ("HTTP/1.1 403 Forbidden", 403, "Forbidden"),
            ("HTTP/1.1 403 ", 403, ""),
            ("HTTP/1.1 403", 403, ""),
            ("HTTP/1.1 403 Access denied", 403, "Access denied"),
            ("HTTP/1.0 401 Unauthorized", 401, "Unauthorized"),
        ] {
            let head = head(&format!("{line}\r\n\r\n"));
            assert_eq!((head.status, head.reason.as_str()), (status, reason), "{line}");
        }
    }

    #[test]
    fn a_body_ends_as_its_head_says() {
        let chunked = head("HTTP/1.1 401 x\r\ntransfer-encoding: chunked\r\n\r\n").body_length();
        assert_eq!(body(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", chunked), (b"abcde".to_vec(), true));
        assert_eq!(body(b"3\r\nabc\r\n2\r\nd", chunked), (b"abcd".to_vec(), false));
        let counted = head("HTTP/1.1 401 x\r\nContent-Length: 2\r\n\r\n").body_length();
        assert_eq!(body(b"abc", counted), (b"ab".to_vec(), true));
        assert_eq!(head("HTTP/1.1 401 x\r\n\r\n").body_length(), BodyLength::UntilClose);
    }

    #[test]
    fn a_connection_stays_unless_somebody_says_otherwise() {
        for (text, stays) in [
            ("HTTP/1.1 403 x\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.1 403 x\r\ncontent-length: 0\r\nConnection: upgrade, Close\r\n\r\n", false),
            ("HTTP/1.1 403 x\r\n\r\n", false),
            ("HTTP/1.0 403 x\r\ncontent-length: 0\r\n\r\n", false),
            ("HTTP/1.0 403 x\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n", true),
        ] {
            assert_eq!(head(text).keeps_alive(), stays, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = body(&bytes, BodyLength::Chunked);
        }
    }
}
