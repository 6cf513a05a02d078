//! What is wrong with a document, where, and how to mend it.
//!
//! A [`Diagnostic`] keeps its own copy of the one or two lines it points at, already made safe to print, so it
//! outlives the document and can't send control characters from a stranger's file to a terminal. The code of each
//! kind of mistake is stable and stands in one list, [`Code`]. Nothing here decides what is a mistake.

use std::error::Error;
use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};

use super::source::{Place, Source};

/// How many characters of a line are shown; the rest is cut, with the caret kept in view.
const SHOWN_LINE: usize = 110;
/// How many characters of a message or hint are shown: each quotes words from the file, and those have no limit.
const SHOWN_MESSAGE: usize = 400;
/// How far apart two places may be to be shown in one picture.
const SHOWN_LINES: usize = 100;
/// How many diagnostics one file yields before the rest are only counted.
pub(super) const SHOWN_DIAGNOSTICS: usize = 50;

/// One line per kind of mistake; documentation, [`Code::ALL`] and the printed code all come from here.
macro_rules! codes {
    ($($variant:ident = $code:literal, $about:literal;)*) => {
        /// The kinds of mistake a document can hold. Codes are stable: never renumbered, never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!("`", $code, "`: ", $about, ".")] $variant,)*
        }

        impl Code {
            /// Every code, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code as it is printed, `GC1003`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// One line on what the code stands for.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about),* }
            }
        }
    };
}

codes! {
    NotYaml = "GC1001", "the text isn't YAML";
    BeyondLimits = "GC1002", "the file is larger, deeper or more repetitive than a document may be";
    UnknownKey = "GC1003", "a mapping holds a key that has no meaning there";
    MissingKey = "GC1004", "a mapping lacks a key it must have";
    WrongType = "GC1005", "a value is of another type than the one expected, such as text for a number";
    UnknownWord = "GC1006", "a value isn't one of the words allowed there";
    BadValue = "GC1007", "a value has the right type but can't be accepted";
    DuplicateKey = "GC1008", "a mapping holds the same key twice";
    Tag = "GC1009", "a YAML tag (`!word`) is used; documents hold plain data only";
    MergeKey = "GC1010", "a YAML merge key (`<<`) is used; its meaning differs between readers";
    SecondDocument = "GC1011", "the file holds more than one YAML document";
    Directive = "GC1012", "the file holds a YAML directive (`%YAML`, `%TAG`)";
    NotAWord = "GC1013", "a key isn't text";
    NotFinite = "GC1014", "a number is infinite, not a number, or too large to keep exactly";
    Ambiguous = "GC1015", "two YAML readers take the text for different things";
    Empty = "GC1016", "the file holds no document";
    NotText = "GC1017", "the file isn't UTF-8";
    BadTable = "GC1018", "a `for:` table can't be expanded";
    UnknownReference = "GC1019", "a name points at something that isn't defined";
    DuplicateName = "GC1020", "a name that must be unique is given twice";
    Contradiction = "GC1021", "two parts of the document contradict each other";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One mistake in a document: its code, its place with the line it stands on, and how to mend it.
///
/// Text given to it may quote the document freely; it is made safe here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    code: Code,
    message: String,
    file: String,
    place: Place,
    excerpt: Excerpt,
    notes: Vec<String>,
    help: Option<String>,
}

impl Diagnostic {
    /// A diagnostic at a range of bytes; the range is clamped to the text.
    pub(super) fn new(code: Code, source: &Source, range: Range<usize>, message: impl AsRef<str>) -> Self {
        let place = source.place(&range);
        Self {
            code,
            message: safe(message.as_ref()),
            file: safe(source.name()),
            place,
            excerpt: Excerpt::cut(source, &place),
            notes: Vec::new(),
            help: None,
        }
    }

    /// Says, under the caret, what stands there or what was wanted.
    #[must_use]
    pub fn label(mut self, label: impl AsRef<str>) -> Self {
        if let Some(mark) = self.excerpt.marks.first_mut() {
            mark.label = Some(safe(label.as_ref()));
        }
        self
    }

    /// Adds a line of background, such as the list of allowed words.
    #[must_use]
    pub fn note(mut self, note: impl AsRef<str>) -> Self {
        self.notes.push(safe(note.as_ref()));
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl AsRef<str>) -> Self {
        self.help = Some(safe(help.as_ref()));
        self
    }

    /// Shows a second place, such as where a duplicate key was first set; when it is too far from the first to be in
    /// the same picture, as a note.
    #[must_use]
    pub(super) fn also(mut self, source: &Source, range: &Range<usize>, label: &str) -> Self {
        let place = source.place(range);
        if self.excerpt.add(source, &place, label) {
            return self;
        }
        let where_ = if place.line == self.place.line {
            format!("column {}", place.column)
        } else {
            format!("line {}", place.line)
        };
        self.note(format!("{label}, {where_}"))
    }

    /// The kind of mistake.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The name the document was parsed under.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where it is.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.place
    }

    /// The text shown with it, in rustc's style; with `color`, with ANSI colours.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let text = self.excerpt.text();
        let title = Level::ERROR.primary_title(&self.message).id(self.code.as_str());
        let mut group = title.element(self.excerpt.snippet(&self.file, &text));
        for note in &self.notes {
            group = group.element(Level::NOTE.message(note));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        // Lines are cut and escaped before, at a width of our own; the renderer must not cut them again.
        let shown = renderer.term_width(2 * SHOWN_LINE).render(&[group]);

        // The renderer counts columns in the line as it is shown. Where that isn't the line as it is in the file, the
        // second line of the picture, which names the place, is put right.
        let counted = self.excerpt.column();
        if counted == self.place.column {
            return shown;
        }
        let at = |column| format!("{}:{}:{column}", self.file, self.place.line);
        match shown.split_once('\n') {
            Some((title, rest)) => format!("{title}\n{}", rest.replacen(&at(counted), &at(self.place.column), 1)),
            None => shown,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Error for Diagnostic {}

/// The mistakes found in one reading, in the order they stand in the file.
///
/// Also the place to collect them: push what is found, then ask [`Diagnostics::or`] for the result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    dropped: usize,
}

impl Diagnostics {
    /// None so far.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new(), dropped: 0 }
    }

    /// Adds one. Past the first fifty they are only counted.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.list.len() < SHOWN_DIAGNOSTICS {
            self.list.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// Adds all of another reading.
    pub fn extend(&mut self, other: Self) {
        self.dropped += other.dropped;
        for diagnostic in other.list {
            self.push(diagnostic);
        }
    }

    /// Keeps the value of a good result and the diagnostics of a bad one.
    pub fn keep<T>(&mut self, result: Result<T, Self>) -> Option<T> {
        result.map_err(|found| self.extend(found)).ok()
    }

    /// `value` when nothing was found, else what was found, sorted by place.
    ///
    /// # Errors
    /// Returns itself unless it is empty.
    pub fn or<T>(mut self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            return Ok(value);
        }
        self.list.sort_by(|a, b| (&a.file, a.place.start).cmp(&(&b.file, b.place.start)));
        Err(self)
    }

    /// Adds the same note to each, such as which variant of a table they were found in.
    #[must_use]
    pub fn note_each(mut self, note: impl AsRef<str>) -> Self {
        self.list = self.list.into_iter().map(|diagnostic| diagnostic.note(note.as_ref())).collect();
        self
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many were found, counting those not kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len() + self.dropped
    }

    /// The ones kept, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// All of them as shown to a person, a blank line between; with `color`, with ANSI colours.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let mut shown: Vec<String> = self.list.iter().map(|diagnostic| diagnostic.render(color)).collect();
        if self.dropped > 0 {
            shown.push(format!("and {} more", self.dropped));
        }
        shown.join("\n\n")
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { list: vec![diagnostic], dropped: 0 }
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Error for Diagnostics {}

/// The lines of the file that are shown, made safe, and what is underlined in them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    /// Without gaps, lowest number first.
    lines: Vec<Line>,
    /// The first is the one the diagnostic is about.
    marks: Vec<Mark>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    text: String,
    /// How many bytes of the line in the file were left out at its beginning.
    skipped: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    line: usize,
    /// Bytes of the line as shown.
    range: Range<usize>,
    label: Option<String>,
}

impl Excerpt {
    fn cut(source: &Source, place: &Place) -> Self {
        let (line, range) = Line::cut(source, place, None);
        let mark = Mark { line: place.line, range, label: None };
        Self { lines: vec![line], marks: vec![mark] }
    }

    /// Takes in a second place, unless it is too far away.
    fn add(&mut self, source: &Source, place: &Place, label: &str) -> bool {
        let (Some(first), Some(last)) = (self.lines.first(), self.lines.last()) else {
            return false;
        };
        let (first, last) = (first.number, last.number);
        if place.line + SHOWN_LINES < first || place.line > last + SHOWN_LINES {
            return false;
        }
        let range = match self.lines.iter().find(|line| line.number == place.line) {
            Some(line) => {
                let (again, range) = Line::cut(source, place, Some(line.skipped));
                // Cut from the same byte, it is the same line; but the place may lie outside of what is shown.
                if place.start < source.line(place.line).0 + line.skipped || range.start >= again.text.len() {
                    return false;
                }
                range
            }
            None => {
                let (line, range) = Line::cut(source, place, None);
                let between = if place.line < first { place.line + 1..first } else { last + 1..place.line };
                let blank = |number| {
                    let start = source.line(number).0;
                    let place = Place { start, end: start, line: number, column: 1 };
                    Line::cut(source, &place, Some(0)).0
                };
                self.lines.extend(between.map(blank));
                self.lines.push(line);
                self.lines.sort_by_key(|line| line.number);
                range
            }
        };
        self.marks.push(Mark { line: place.line, range, label: Some(safe(label)) });
        true
    }

    fn text(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(|line| line.text.as_str()).collect();
        lines.join("\n")
    }

    /// The column, from one, of the first mark in its line as shown.
    fn column(&self) -> usize {
        let Some(mark) = self.marks.first() else {
            return 1;
        };
        let line = self.lines.iter().find(|line| line.number == mark.line);
        line.and_then(|line| line.text.get(..mark.range.start)).map_or(1, |before| before.chars().count() + 1)
    }

    fn snippet<'a>(&'a self, file: &'a str, text: &'a str) -> Snippet<'a, Annotation<'a>> {
        let first = self.lines.first().map_or(1, |line| line.number);
        let mut snippet = Snippet::source(text).path(file).line_start(first);
        for (index, mark) in self.marks.iter().enumerate() {
            let before: usize =
                self.lines.iter().take_while(|line| line.number < mark.line).map(|line| line.text.len() + 1).sum();
            let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let range = before + mark.range.start..before + mark.range.end;
            snippet = snippet.annotation(kind.span(range).label(mark.label.as_deref()));
        }
        snippet
    }
}

impl Line {
    /// The line on which a place begins, as shown, and the place in it. Later lines of the place aren't marked: a
    /// caret under the first line of a block says enough, and a block can be as long as the file.
    ///
    /// A long line is cut so that a third of what is shown lies before the place, or where `skipped` says.
    fn cut(source: &Source, place: &Place, skipped: Option<usize>) -> (Self, Range<usize>) {
        let (start, line) = source.line(place.line);
        let from = place.start.saturating_sub(start).min(line.len());
        let to = place.end.saturating_sub(start).clamp(from, line.len());
        // Trailing blanks of a block's first line aren't worth underlining, unless they are what is wrong.
        let to = match line.get(from..to).map(str::trim_end) {
            Some(marked) if !marked.is_empty() => from + marked.len(),
            _ => to,
        };

        let skipped = skipped.unwrap_or_else(|| {
            let short = line.chars().take(SHOWN_LINE + 1).count() <= SHOWN_LINE;
            let before = line.get(..from).filter(|_| !short).unwrap_or_default();
            before.char_indices().rev().take(SHOWN_LINE / 3).last().map_or(0, |(offset, _)| offset)
        });
        let mut text = String::new();
        if skipped > 0 {
            text.push('…');
        }
        let (mut caret, mut caret_end) = (None, None);
        let mut shown = 0;
        for (offset, character) in line.get(skipped..).unwrap_or_default().char_indices() {
            if offset + skipped >= from {
                caret.get_or_insert(text.len());
            }
            if offset + skipped >= to {
                caret_end.get_or_insert(text.len());
            }
            if shown >= SHOWN_LINE {
                text.push('…');
                break;
            }
            let length = text.len();
            push_safe(&mut text, character);
            // An escape takes several columns.
            shown += text.len().saturating_sub(length).max(character.len_utf8()) - character.len_utf8() + 1;
        }
        let start = caret.unwrap_or(text.len());
        let mut end = caret_end.unwrap_or(text.len()).max(start);
        if start == end {
            // Something must be underlined: the next character, or the gap after the last.
            end = start + text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        }
        (Self { number: place.line, text, skipped }, start..end)
    }
}

/// Text as it may be printed in a line: no control characters, no invisible or direction-turning ones.
pub(super) fn printable(text: &str) -> String {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|character| push_safe(&mut out, character));
    out
}

/// Text as it may be printed, and not too long.
fn safe(text: &str) -> String {
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count >= SHOWN_MESSAGE {
            out.push('…');
            break;
        }
        push_safe(&mut out, character);
    }
    out
}

fn push_safe(out: &mut String, character: char) {
    match character {
        // Four columns, as the renderer would do; doing it here keeps the caret where it belongs.
        '\t' => out.push_str("    "),
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => escape(out, character),
        _ if character.is_control() => escape(out, character),
        _ => out.push(character),
    }
}

fn escape(out: &mut String, character: char) {
    // Writing to a String can't fail.
    let _ = write!(out, "{}", character.escape_unicode());
}
