//! `gatecrash fmt`: lays out YAML files in one way.
//!
//! How a text is laid out is decided by `pretty_yaml` under fixed options. Here stands what it may not do: change what
//! a text means, lose a comment, or need to be asked twice.

use std::path::Path;

use clap::Args;
use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions, LineBreak};
use yaml_parser::SyntaxKind;

use crate::document::{Diagnostics, Document, printable};
use crate::report::Exit;

use super::hide::secrets_in;
use super::run::Problem;
use super::{complain, file, own, say};

/// What is said below the list of flags.
const MORE: &str = "\
It indents by two spaces, puts one space where one belongs, writes \"quotes\" this way, and leaves at most one empty line. \
Comments are kept, and lines break where you broke them. A file is replaced only by one that means the same.

Exit codes: 0 where every file is laid out; 1 where --check found one that is not, or one had to be left as it is; 2 where \
one cannot be read or is no YAML. The others are laid out all the same.";

/// What `gatecrash fmt` is told.
#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct Fmt {
    /// Files; folders, for the *.yaml and *.yml right in them; or `-`, which reads stdin and writes stdout
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Write nothing, and name the files that are laid out otherwise
    #[arg(long)]
    check: bool,
}

/// What became of one file, from the least to the most that needs attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Done {
    /// It is as it should be, or is so now.
    Good,
    /// It is not.
    Otherwise,
    /// It is nothing that could be laid out.
    Unusable,
}

/// Lays out every file, whatever became of those before.
pub(super) fn fmt(arguments: &Fmt) -> Exit {
    let mut worst = Done::Good;
    for path in &arguments.files {
        match own::files(path) {
            Ok(paths) => {
                for path in paths {
                    worst = worst.max(one(&path, arguments.check));
                }
            }
            Err(why) => {
                complain(&why);
                worst = Done::Unusable;
            }
        }
    }
    match worst {
        Done::Good => Exit::Good,
        Done::Otherwise => Exit::Failed,
        Done::Unusable => Exit::Usage,
    }
}

fn one(path: &str, check: bool) -> Done {
    let name = shown(path);
    let read = if is_stdin(path) { file::read_stdin() } else { file::read_bytes(Path::new(path)) };
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) => {
            complain(&format!("cannot read `{name}`: {error}"));
            return Done::Unusable;
        }
    };
    let text = match laid_out(&name, &bytes) {
        Ok(text) => text,
        Err(Trouble::NoYaml(found)) => {
            // A profile may hold a secret, on the very line that is shown.
            Problem::Profile(found, secrets_in([String::from_utf8_lossy(&bytes).as_ref()])).tell();
            return Done::Unusable;
        }
        Err(Trouble::LeftAlone(why)) => {
            complain(&format!("`{name}` is left as it is: {why}"));
            return Done::Otherwise;
        }
    };
    let same = text.as_bytes() == bytes;
    if check {
        if !same {
            say(&format!("{name}\n"));
        }
        return if same { Done::Good } else { Done::Otherwise };
    }
    if is_stdin(path) {
        say(&text);
    } else if !same {
        let to = Path::new(path);
        // To put another in its place takes no leave to write to it.
        if let Err(error) = file::writable(to).and_then(|()| file::write_whole(to, text.as_bytes())) {
            complain(&format!("cannot write `{name}`: {error}"));
            return Done::Unusable;
        }
        complain(&format!("`{name}` is laid out anew"));
    }
    Done::Good
}

fn is_stdin(path: &str) -> bool {
    path == "-"
}

fn shown(path: &str) -> String {
    if is_stdin(path) { "stdin".to_owned() } else { printable(path) }
}

/// Why a text was not laid out.
#[derive(Debug)]
enum Trouble {
    NoYaml(Diagnostics),
    LeftAlone(&'static str),
}

/// How often what was laid out is laid out again until it stays as it is: around comments it takes up to three.
const ROUNDS: usize = 5;

/// The text laid out, under a name for messages. It means the same and has the same comments.
fn laid_out(name: &str, bytes: &[u8]) -> Result<String, Trouble> {
    let before = Document::parse_bytes(name, bytes).map_err(Trouble::NoYaml)?;
    let options = options(before.text());
    // What is too deep or too long for it has been refused by now.
    let again = |text: &str| {
        let laid = pretty_yaml::format_text(text, &options);
        laid.map_err(|_| Trouble::LeftAlone("the reader of the formatter does not take it for YAML"))
    };
    let mut text = again(before.text())?;
    for round in 0.. {
        let next = again(&text)?;
        if next == text {
            break;
        }
        if round == ROUNDS {
            return Err(Trouble::LeftAlone("each layout of it differs from the one before"));
        }
        text = next;
    }
    match lost(&before, &text) {
        Some(why) => Err(Trouble::LeftAlone(why)),
        None => Ok(text),
    }
}

/// What another text would lose of a document, if it is no other layout of it.
fn lost(before: &Document, text: &str) -> Option<&'static str> {
    match Document::parse(before.name(), text) {
        Ok(after) if after.value() == before.value() => {}
        _ => return Some("laid out it would mean something else"),
    }
    (comments(text) != comments(before.text())).then_some("laid out it would lose a comment")
}

fn options(text: &str) -> FormatOptions {
    // A checkout on Windows stays one.
    let line_break = if text.contains("\r\n") { LineBreak::Crlf } else { LineBreak::Lf };
    FormatOptions {
        // Where a line breaks is its author's choice: the list of sources is read as a table, one line each.
        layout: LayoutOptions { print_width: 1 << 20, indent_width: 2, line_break },
        language: LanguageOptions {
            trailing_comma: false,
            // No comment can hold this, so that none asks for an exception.
            ignore_comment_directive: "\n".to_owned(),
            ..LanguageOptions::default()
        },
    }
}

/// The comments of a text, in order; none where it cannot be read.
fn comments(text: &str) -> Option<Vec<String>> {
    let tree = yaml_parser::parse(text).ok()?;
    let tokens = tree.descendants_with_tokens().filter_map(|element| element.into_token());
    let comments = tokens.filter(|token| token.kind() == SyntaxKind::COMMENT);
    Some(comments.map(|token| token.text().trim_end().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::bundled;

    fn laid(text: &str) -> String {
        laid_out("a.yaml", text.as_bytes()).unwrap_or_else(|trouble| panic!("{trouble:?}:\n{text}"))
    }

    /// Every YAML that is bundled, and those that the README shows.
    fn known() -> Vec<(String, String)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut known = Vec::new();
        for place in ["scenarios", "scenarios/cases", "scenarios/profiles"] {
            for path in own::files(&folder.join(place).to_string_lossy()).expect(place) {
                let text = fs::read_to_string(&path).expect("a text");
                known.push((path, text));
            }
        }
        assert!(known.len() > bundled::CASES.len());
        for page in ["README.md", "scenarios/README.md"] {
            let text = fs::read_to_string(folder.join(page)).expect(page);
            let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
            known.extend(blocks.map(|block| (page.to_owned(), block.to_owned())));
        }
        assert!(known.iter().any(|(name, _)| name == "README.md"));
        known
    }

    #[test]
    fn what_is_bundled_is_laid_out_and_stays_so() {
        for (name, text) in known() {
            let once = laid(&text);
            if name.ends_with(".md") {
                assert_eq!(laid(&once), once, "{name}");
            } else {
                assert!(once == text, "{name} is laid out otherwise: `gatecrash fmt` mends it");
            }
        }
    }

    #[test]
    fn one_layout_is_reached_from_many() {
        let text = "# top  \n\n\ncases:\n- code:    X-001   # first\n  title:  'plain'\n  steps: {a: 1,   b: [1,2]}   \n\
                    \x20 says: 'it''s \"so\"'\n  many: [1, # one\n   2]\n  text: |\n     kept\n       as it is\n\n\n\n  # last\n- code: X-002";
        let wanted = "# top\n\ncases:\n  - code: X-001 # first\n    title: \"plain\"\n    steps: { a: 1, b: [1, 2] }\n\
                      \x20   says: 'it''s \"so\"'\n    many: [\n      1, # one\n      2\n    ]\n    text: |\n      kept\n\
                      \x20       as it is\n\n    # last\n  - code: X-002\n";
        assert_eq!(laid(text), wanted);
        assert_eq!(laid(wanted), wanted);
        assert_eq!(laid(&text.replace('\n', "\r\n")), wanted.replace('\n', "\r\n"));
        assert_eq!(laid("# pretty-yaml-ignore\na:   1\n"), "# pretty-yaml-ignore\na: 1\n");
    }

    #[test]
    fn another_meaning_and_a_lost_comment_are_seen() {
        let before = Document::parse("a.yaml", "a: 1 # one\nb: [x] # two\n").expect("a document");
        assert_eq!(lost(&before, "a:   1   # one\nb: [ x ] # two  \n"), None);
        for other in ["a: 2 # one\nb: [x] # two\n", "a: 1 # one\n# two\n", "a: '1' # one\nb: [x] # two", "a: ["] {
            assert!(lost(&before, other).is_some_and(|why| why.contains("mean")), "{other}");
        }
        for other in ["a: 1\nb: [x] # two\n", "a: 1 # one\nb: [x] # tw\n", "a: 1 # two\nb: [x] # one\n"] {
            assert!(lost(&before, other).is_some_and(|why| why.contains("comment")), "{other}");
        }
    }

    #[test]
    fn what_is_no_yaml_is_told() {
        for bad in [&b"a: [1,\n"[..], b"a: 1\na: 2\n", b"\xff", b"", b"a: !tag b\n"] {
            assert!(matches!(laid_out("a.yaml", bad), Err(Trouble::NoYaml(_))), "{bad:?}");
        }
    }

    #[test]
    fn whatever_is_written_means_the_same_and_has_its_comments_or_is_left() {
        // A fixed sequence, so that a failure can be seen again.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut changed = 0;
        for (_, text) in known().iter().step_by(3) {
            let text: String = text.lines().take(30).map(|line| format!("{line}\n")).collect();
            for _ in 0..3 {
                let mut other = String::new();
                for letter in text.chars() {
                    match (letter, next(60)) {
                        ('\n', 0..5) => other.push_str(" # said beside\n"),
                        ('\n', 5..7) => other.push_str("\n\n\n      # said above\n"),
                        (',' | '[' | '{', 0..4) => other.extend([letter, '\n', ' ', ' ', ' ', ' ', ' ', ' ', ' ']),
                        (',' | '[' | '{', 4..7) => other.push_str(&format!("{letter} # said within\n            ")),
                        (_, 0) if next(40) == 0 => {}
                        _ => other.push(letter),
                    }
                }
                let Ok(laid) = laid_out("a.yaml", other.as_bytes()) else { continue };
                let value = |text: &str| Document::parse("a.yaml", text).map(|document| document.value().clone());
                assert_eq!(value(&laid), value(&other), "{other}");
                assert_eq!(laid.matches("# said").count(), other.matches("# said").count(), "{other}");
                assert_eq!(laid_out("a.yaml", laid.as_bytes()).ok(), Some(laid), "{other}");
                changed += 1;
            }
        }
        assert!(changed > 20, "only {changed} were YAML");
    }
}
