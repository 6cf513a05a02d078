//! Lines for a terminal: wrapped, aligned, and without a character that a terminal would obey.

/// How wide a line may get.
const WIDTH: usize = 100;

/// A text in the making.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// A heading, with an empty line before it unless it is the first.
    pub(super) fn heading(&mut self, words: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.line(0, words);
    }

    /// One thing to say; what does not fit goes on below, two columns further in.
    pub(super) fn line(&mut self, indent: usize, words: &str) {
        self.hang(indent, indent + 2, words);
    }

    /// A label and what it stands for, both aligned.
    pub(super) fn labelled(&mut self, indent: usize, label: &str, words: &str) {
        let width = LABEL.max(label.chars().count() + 1);
        self.hang(indent, indent + width, &format!("{label:width$}{words}"));
    }

    /// Text whose second and later lines begin in column `after`.
    fn hang(&mut self, first: usize, after: usize, words: &str) {
        for (number, line) in wrap(&printable(words), WIDTH - first, WIDTH - after).into_iter().enumerate() {
            let indent = if number == 0 { first } else { after };
            self.0.push_str(format!("{:indent$}{line}", "").trim_end());
            self.0.push('\n');
        }
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// The width of the labels that stand in one column.
const LABEL: usize = 11;

/// Cuts a text into lines: behind a space where there is one, behind a comma or the like where not, else anywhere.
fn wrap(text: &str, first: usize, after: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    let mut width = first;
    while rest.len() > width {
        let space = rest[..=width].iter().rposition(|character| *character == ' ').filter(|at| *at > width / 3);
        let mark = rest[..width].iter().rposition(|character| ",;&?".contains(*character)).filter(|at| *at > width / 3);
        let (end, next) = match (space, mark) {
            (Some(at), _) => (at, at + 1),
            (None, Some(at)) => (at + 1, at + 1),
            (None, None) => (width, width),
        };
        lines.push(rest[..end].iter().collect());
        rest.drain(..next);
        width = after;
    }
    lines.push(rest.into_iter().collect());
    lines
}

/// Control characters, and those that turn the direction of a line around, as escapes.
pub(super) fn printable(text: &str) -> String {
    let obeyed = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars()
        .map(|character| if obeyed(character) { character.escape_default().to_string() } else { character.to_string() })
        .collect()
}

/// Bytes as text; what is no UTF-8 as `\xNN`.
pub(super) fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&printable(chunk.valid()));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// A text without its middle, when it is long.
pub(super) fn shorten(text: &str) -> String {
    const KEPT: (usize, usize) = (300, 40);
    let length = text.chars().count();
    if length <= KEPT.0 + KEPT.1 + 40 {
        return text.to_owned();
    }
    let start: String = text.chars().take(KEPT.0).collect();
    let end: String = text.chars().skip(length - KEPT.1).collect();
    format!("{start} [{} more characters] {end}", length - KEPT.0 - KEPT.1)
}

/// Bytes in hexadecimal, with spaces.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_line_is_too_long_and_nothing_but_spaces_is_lost(words in "[ -~\u{e4}]{0,400}", indent in 0..20_usize) {
            let mut text = Text::default();
            text.line(indent, &words);
            let text = text.into_string();
            let kept = |text: &str| text.chars().filter(|character| !character.is_whitespace()).collect::<String>();
            prop_assert_eq!(kept(&text), kept(&words));
            for line in text.lines() {
                prop_assert!(line.chars().count() <= WIDTH, "{}", line);
            }
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(printable("a\u{1b}[2J\u{202e}\u{e9}"), "a\\u{1b}[2J\\u{202e}\u{e9}");
        assert_eq!(readable(b"a\xff\x00b"), "a\\xff\\u{0}b");
    }

    #[test]
    fn a_long_text_loses_its_middle_and_says_so() {
        let long = "x".repeat(1000);
        assert!(shorten(&long).contains("[660 more characters]"), "{}", shorten(&long));
        assert_eq!(shorten("short"), "short");
    }
}
