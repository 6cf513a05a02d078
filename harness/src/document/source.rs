//! The text of a document and the arithmetic of places in it: bytes to lines and columns.
//!
//! Knows nothing of YAML beyond what ends a line.

use std::ops::Range;

/// Where something stands in a file: bytes from `start` to before `end`, and the line and column of `start`, both
/// counted from one, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
    /// The line of the first byte, from one.
    pub line: usize,
    /// The column of the first byte, in characters, from one.
    pub column: usize,
}

/// A named text with the offsets of its lines.
#[derive(Clone, Debug)]
pub(super) struct Source {
    name: String,
    text: String,
    lines: Vec<usize>,
    /// How many characters begin before each multiple of [`STRIDE`] bytes, so that the column of a place in a line of
    /// a megabyte costs no more than that of one in a short line.
    characters: Vec<usize>,
}

const STRIDE: usize = 1 << 12;

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut lines = vec![0];
        for (offset, byte) in bytes.iter().enumerate() {
            // YAML ends a line at LF, CRLF and a lone CR.
            if *byte == b'\n' || (*byte == b'\r' && bytes.get(offset + 1) != Some(&b'\n')) {
                lines.push(offset + 1);
            }
        }
        let mut characters = vec![0];
        let mut count = 0;
        for chunk in bytes.chunks(STRIDE) {
            count += begins(chunk);
            characters.push(count);
        }
        Self { name: name.to_owned(), text: text.to_owned(), lines, characters }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The place of a range, clamped to the text and to whole characters. The end of the text, after a last line
    /// end, belongs to the last line that says something: an empty line 41 of a file of 40 helps nobody.
    pub(super) fn place(&self, range: &Range<usize>) -> Place {
        let mut start = range.start;
        if start >= self.text.len() {
            start = self.text.trim_end().len();
        }
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = range.end.clamp(start, self.text.len());
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        let index = self.lines.partition_point(|line| *line <= start).saturating_sub(1);
        let line_start = self.lines.get(index).copied().unwrap_or(0);
        Place {
            start,
            end,
            line: index + 1,
            column: self.characters_before(start) - self.characters_before(line_start) + 1,
        }
    }

    fn characters_before(&self, offset: usize) -> usize {
        let stride = offset / STRIDE;
        let counted = self.characters.get(stride).copied().unwrap_or(0);
        let rest = self.text.as_bytes().get(stride * STRIDE..offset);
        counted + rest.map_or(0, begins)
    }

    /// The offset and the text, without its end, of a line counted from one.
    pub(super) fn line(&self, line: usize) -> (usize, &str) {
        let index = line.saturating_sub(1);
        let start = self.lines.get(index).copied().unwrap_or(self.text.len());
        let end = self.lines.get(index + 1).copied().unwrap_or(self.text.len());
        let text = self.text.get(start..end).unwrap_or_default();
        (start, text.trim_end_matches(['\n', '\r']))
    }

    /// The offset of a character counted from one on a line counted from one, as parsers report places.
    pub(super) fn offset(&self, line: usize, column: usize) -> usize {
        let (start, text) = self.line(line);
        start + text.char_indices().nth(column.saturating_sub(1)).map_or(text.len(), |(offset, _)| offset)
    }
}

/// How many characters begin in a piece of UTF-8.
fn begins(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}
