//! Stands in front of the decoder: refuses what is too large or too clever, and remembers where everything stands.
//!
//! It walks the events of serde-saphyr's parser once, without building values, so a hostile text is refused before
//! `serde_yaml` sees it (whose parser needs time quadratic in nesting). It does not say what a plain scalar means;
//! see `meaning`.

use std::collections::HashMap;
use std::ops::Range;

use serde_saphyr::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

use super::diagnostic::{Code, Diagnostic, Diagnostics, SHOWN_DIAGNOSTICS};
use super::path::{Path, Segment};
use super::source::Source;

/// What a document may cost. The limits are far above what a person writes and far below what hurts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Lists and mappings inside one another, aliases followed. `serde_yaml` itself stops at 128.
    pub depth: usize,
    /// Scalars, lists and mappings as written.
    pub nodes: usize,
    /// Scalars, lists and mappings once every alias is replaced by what it stands for.
    pub expanded_nodes: usize,
    /// Bytes of keys and scalars once every alias is replaced by what it stands for.
    pub expanded_bytes: usize,
    /// Uses of an anchor.
    pub aliases: usize,
}

/// The limits every document is read under.
pub const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    depth: 48,
    nodes: 100_000,
    expanded_nodes: 200_000,
    expanded_bytes: 8 << 20,
    aliases: 1_000,
};

pub(super) type NodeId = usize;

/// Everything the text holds, with its places, in the order written.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    root: NodeId,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
    cost: Cost,
}

/// What a node comes to with aliases followed: it is built that often.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Scalar,
    List(Vec<NodeId>),
    Map(Vec<Entry>),
    Alias(NodeId),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_range: Range<usize>,
    pub(super) value: NodeId,
}

/// Where a path leads: as far as it could be followed.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) node: NodeId,
    /// The key under which the value stands, when it stands in a mapping.
    pub(super) key: Option<Range<usize>>,
    /// The outermost alias passed through.
    pub(super) alias: Option<Range<usize>>,
    /// Whether every step of the path was found.
    pub(super) whole: bool,
}

impl Tree {
    pub(super) const fn root(&self) -> NodeId {
        self.root
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The node an alias stands for, or the node itself. Aliases point backwards only, so this ends.
    pub(super) fn target(&self, mut id: NodeId) -> NodeId {
        while let Some(Node { kind: Kind::Alias(target), .. }) = self.nodes.get(id) {
            id = *target;
        }
        id
    }

    pub(super) fn entries(&self, id: NodeId) -> &[Entry] {
        match self.nodes.get(self.target(id)).map(|node| &node.kind) {
            Some(Kind::Map(entries)) => entries,
            _ => &[],
        }
    }

    pub(super) fn find(&self, path: &Path) -> Found {
        let mut found = Found { node: self.root, key: None, alias: None, whole: true };
        for segment in path.segments() {
            if let Some(Node { kind: Kind::Alias(_), range, .. }) = self.nodes.get(found.node) {
                found.alias.get_or_insert_with(|| range.clone());
            }
            let next = match (segment, self.nodes.get(self.target(found.node)).map(|node| &node.kind)) {
                (Segment::Key(key), Some(Kind::Map(entries))) => entries
                    .iter()
                    .find(|entry| entry.key == *key)
                    .map(|entry| (entry.value, Some(entry.key_range.clone()))),
                (Segment::Index(index), Some(Kind::List(items))) => items.get(*index).map(|item| (*item, None)),
                _ => None,
            };
            let Some((node, key)) = next else {
                found.whole = false;
                break;
            };
            found.node = node;
            found.key = key;
        }
        found
    }
}

/// Reads the text into a tree of places, or says everything that is forbidden in it.
pub(super) fn read(source: &Source, limits: &Limits) -> Result<Tree, Diagnostics> {
    let text = source.text();
    if text.len() > limits.bytes {
        let message = format!("the file has {} bytes; at most {} are read", text.len(), limits.bytes);
        return Err(Diagnostic::new(Code::BeyondLimits, source, 0..0, message).into());
    }
    let options = granit_parser::options! { disallow_directives: true, emit_anchor_events: false };
    let mut builder = Builder {
        source,
        limits,
        tree: Tree::default(),
        open: Vec::new(),
        anchors: HashMap::new(),
        aliases: 0,
        documents: 0,
        root: None,
        last: 0,
        found: Diagnostics::new(),
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                // Past so many mistakes the rest would not be shown, and each costs time.
                let full = builder.found.len() >= SHOWN_DIAGNOSTICS;
                if builder.take(event, &span).is_break() || full {
                    break;
                }
                builder.last = builder.last.max(range(source, &span).end);
            }
            Err(error) => {
                builder.found.push(syntax(source, &error, builder.last));
                break;
            }
        }
    }
    builder.finish()
}

/// A list or mapping whose end hasn't come yet.
struct Open {
    id: NodeId,
    anchor: usize,
    cost: Cost,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<NodeId>),
    Map {
        entries: Vec<Entry>,
        key: Option<(String, Range<usize>)>,
        seen: HashMap<String, Range<usize>>,
    },
    /// A list or mapping in the place of a key: refused, but read to its end.
    Key,
}

struct Builder<'a> {
    source: &'a Source,
    limits: &'a Limits,
    tree: Tree,
    open: Vec<Open>,
    anchors: HashMap<usize, NodeId>,
    aliases: usize,
    documents: usize,
    root: Option<NodeId>,
    /// Where the last event ended.
    last: usize,
    found: Diagnostics,
}

type Flow = std::ops::ControlFlow<()>;

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Flow {
        let range = range(self.source, span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.refuse(Code::SecondDocument, range, "a second document begins here", |d| {
                        d.help("put each document into a file of its own")
                    });
                    return Flow::Break(());
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                if self.wants_key() {
                    if style == ScalarStyle::Plain && text == "<<" {
                        self.refuse(Code::MergeKey, range.clone(), "merge keys aren't supported", |d| {
                            d.help("write the keys out, or use a plain alias for a whole value")
                        });
                    }
                    if style == ScalarStyle::Plain && self.source.text().get(range.clone()).is_none_or(str::is_empty) {
                        self.refuse(Code::NotAWord, range.clone(), "a key is missing before the `:`", |d| {
                            d.help("quote the text if it begins with a colon")
                        });
                    }
                    self.key(text.into_owned(), range);
                } else {
                    let id = self.add(range, Kind::Scalar, text.len())?;
                    self.anchor(anchor, id);
                    self.attach(id)?;
                }
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.begin(range, anchor, OpenKind::List(Vec::new()))?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let kind = OpenKind::Map { entries: Vec::new(), key: None, seen: HashMap::new() };
                self.begin(range, anchor, kind)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(&range)?,
            Event::Alias(anchor) => {
                self.aliases += 1;
                if self.aliases > self.limits.aliases {
                    let message = format!("the file uses more than {} aliases", self.limits.aliases);
                    self.refuse(Code::BeyondLimits, range, &message, |d| d);
                    return Flow::Break(());
                }
                if self.wants_key() {
                    self.refuse(Code::NotAWord, range.clone(), "an alias can't be a key", |d| {
                        d.help("write the key out")
                    });
                    // A name no other key can have, so that one mistake isn't reported as two.
                    self.key(format!("*{}", range.start), range);
                } else if let Some(target) = self.anchors.get(&anchor).copied() {
                    let id = self.add(range, Kind::Alias(target), 0)?;
                    self.attach(id)?;
                } else {
                    self.refuse(Code::BeyondLimits, range, "an alias inside the value it stands for never ends", |d| d);
                    return Flow::Break(());
                }
            }
            _ => {}
        }
        Flow::Continue(())
    }

    fn refuse(&mut self, code: Code, range: Range<usize>, message: &str, more: impl FnOnce(Diagnostic) -> Diagnostic) {
        self.found.push(more(Diagnostic::new(code, self.source, range, message)));
    }

    fn refuse_tag(&mut self, tagged: bool, span: &Span) {
        if tagged {
            let range = range(self.source, &span.tag_span().unwrap_or(*span));
            self.refuse(Code::Tag, range, "tags aren't supported", |d| {
                d.help("remove the tag; a quoted value is text, a bare number is a number")
            });
        }
    }

    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { kind: OpenKind::Map { key: None, .. }, .. }))
    }

    fn key(&mut self, text: String, range: Range<usize>) {
        let Some(Open { kind: OpenKind::Map { key, seen, .. }, .. }) = self.open.last_mut() else {
            return;
        };
        if let Some(first) = seen.get(&text) {
            let diagnostic =
                Diagnostic::new(Code::DuplicateKey, self.source, range.clone(), format!("key `{text}` is given twice"))
                    .also(self.source, first, "first given here")
                    .help("keep one of them");
            self.found.push(diagnostic);
        } else {
            seen.insert(text.clone(), range.clone());
        }
        *key = Some((text, range));
    }

    fn add(&mut self, range: Range<usize>, kind: Kind, bytes: usize) -> std::ops::ControlFlow<(), NodeId> {
        let id = self.tree.nodes.len();
        if id >= self.limits.nodes {
            let message = format!("the file holds more than {} values", self.limits.nodes);
            self.refuse(Code::BeyondLimits, range, &message, |d| d.help("split it into several files"));
            return std::ops::ControlFlow::Break(());
        }
        let cost = match kind {
            Kind::Alias(target) => self.tree.nodes.get(target).map_or_else(Cost::default, |node| node.cost),
            _ => Cost { nodes: 1, bytes, depth: 0 },
        };
        self.tree.nodes.push(Node { range, kind, cost });
        std::ops::ControlFlow::Continue(id)
    }

    fn anchor(&mut self, anchor: usize, id: NodeId) {
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
    }

    fn begin(&mut self, range: Range<usize>, anchor: usize, kind: OpenKind) -> Flow {
        if self.open.len() >= self.limits.depth {
            self.too_deep(range);
            return Flow::Break(());
        }
        let as_key = self.wants_key();
        if as_key {
            self.refuse(Code::NotAWord, range.clone(), "a key must be text, not a list or a mapping", |d| {
                d.help("a `?` or a bracket begins a key here; quote it if text is meant")
            });
        }
        let id = self.add(range, Kind::Scalar, 0)?;
        let kind = if as_key { OpenKind::Key } else { kind };
        self.open.push(Open { id, anchor, cost: Cost { nodes: 1, bytes: 0, depth: 0 }, kind });
        Flow::Continue(())
    }

    fn end(&mut self, range: &Range<usize>) -> Flow {
        let Some(open) = self.open.pop() else {
            return Flow::Continue(());
        };
        let kind = match open.kind {
            OpenKind::List(items) => Kind::List(items),
            OpenKind::Map { entries, .. } => Kind::Map(entries),
            OpenKind::Key => {
                let start = self.tree.nodes.get(open.id).map_or(range.start, |node| node.range.start);
                self.key(format!("?{start}"), start..range.end.max(start));
                return Flow::Continue(());
            }
        };
        let last = match &kind {
            Kind::List(items) => items.last().copied(),
            Kind::Map(entries) => entries.last().map(|entry| entry.value),
            _ => None,
        };
        // A block ends where its last value ends; the event itself comes later, at the next token.
        let end = last.and_then(|id| self.tree.nodes.get(id)).map_or(0, |node| node.range.end);
        let flow = self.source.text().get(range.clone()).is_some_and(|text| text.starts_with([']', '}']));
        if let Some(node) = self.tree.nodes.get_mut(open.id) {
            node.range.end = if flow { range.end } else { end }.max(node.range.end);
            node.kind = kind;
            node.cost = Cost { depth: open.cost.depth + 1, ..open.cost };
        }
        self.anchor(open.anchor, open.id);
        self.attach(open.id)
    }

    /// Puts a finished node where it belongs, and counts it there.
    fn attach(&mut self, id: NodeId) -> Flow {
        let Some((range, cost)) = self.tree.nodes.get(id).map(|node| (node.range.clone(), node.cost)) else {
            return Flow::Continue(());
        };
        let level = self.open.len();
        let Some(parent) = self.open.last_mut() else {
            self.root.get_or_insert(id);
            return Flow::Continue(());
        };
        parent.cost.nodes = parent.cost.nodes.saturating_add(cost.nodes);
        parent.cost.bytes = parent.cost.bytes.saturating_add(cost.bytes);
        parent.cost.depth = parent.cost.depth.max(cost.depth);
        match &mut parent.kind {
            OpenKind::List(items) => items.push(id),
            OpenKind::Map { entries, key, .. } => {
                if let Some((key, key_range)) = key.take() {
                    parent.cost.bytes = parent.cost.bytes.saturating_add(key.len());
                    entries.push(Entry { key, key_range, value: id });
                }
            }
            OpenKind::Key => {}
        }
        let total = parent.cost;
        let Limits { expanded_nodes, expanded_bytes, .. } = *self.limits;
        if total.nodes > expanded_nodes || total.bytes > expanded_bytes {
            let message = format!("aliases expand to more than {expanded_nodes} values or {expanded_bytes} bytes");
            self.refuse(Code::BeyondLimits, range, &message, |d| d.help("repeat less, or split the file"));
            return Flow::Break(());
        }
        if level + cost.depth > self.limits.depth {
            self.too_deep(range);
            return Flow::Break(());
        }
        Flow::Continue(())
    }

    fn too_deep(&mut self, range: Range<usize>) {
        let message = format!("lists and mappings are nested more than {} deep", self.limits.depth);
        self.refuse(Code::BeyondLimits, range, &message, |d| d);
    }

    fn finish(mut self) -> Result<Tree, Diagnostics> {
        let root = self.root.and_then(|root| self.tree.nodes.get(root));
        // `---` alone is a document that says nothing; `~` and `""` say it.
        let blank = root.is_none_or(|node| {
            let text = self.source.text().get(node.range.clone());
            matches!(node.kind, Kind::Scalar) && text.is_none_or(|text| text.trim().is_empty())
        });
        if blank && self.found.is_empty() {
            let diagnostic = Diagnostic::new(Code::Empty, self.source, 0..0, "the file holds no document")
                .help("give it content, or delete it");
            self.found.push(diagnostic);
        }
        self.tree.root = self.root.unwrap_or_default();
        self.found.or(self.tree)
    }
}

fn range(source: &Source, span: &Span) -> Range<usize> {
    span.byte_range().unwrap_or_else(|| {
        source.offset(span.start.line(), span.start.col() + 1)..source.offset(span.end.line(), span.end.col() + 1)
    })
}

/// Puts the parser's words into the author's terms where they are usually needed. `last` is where the part that was
/// understood ends.
fn syntax(source: &Source, error: &ScanError, last: usize) -> Diagnostic {
    let marker = error.marker();
    let offset = marker.byte_offset().unwrap_or_else(|| source.offset(marker.line(), marker.col() + 1));
    let at = |code, message: &str| Diagnostic::new(code, source, offset..offset, message);
    let yaml = |message: &str| at(Code::NotYaml, message);
    match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => {
            let tab = indenting_tab(source.text(), last).map_or(offset..offset, |tab| tab..tab + 1);
            Diagnostic::new(Code::NotYaml, source, tab, "a tab can't be used for indentation")
                .label("this is a tab")
                .help("indent with spaces, two for each level")
        }
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::DocumentIndicatorInQuotedScalar => {
            let quote = opening_quote(source.text(), last, offset).unwrap_or(offset);
            Diagnostic::new(Code::NotYaml, source, quote..quote, "a quote is opened and not closed")
                .help("close it; inside double quotes a quote is written `\\\"`, inside single quotes `''`")
        }
        ErrorKind::UnclosedFlowCollection { open } => yaml(&format!("`{open}` is opened and not closed")),
        ErrorKind::InvalidColonPlacement => {
            yaml("a `:` can't stand here").help("close the `[` or `{` above it, and quote text that holds a colon")
        }
        ErrorKind::RecursionLimitExceeded => at(Code::BeyondLimits, "lists and mappings are nested too deep"),
        ErrorKind::DirectiveDisallowed => {
            let end = offset + source.text().get(offset..).and_then(|rest| rest.lines().next()).map_or(0, str::len);
            Diagnostic::new(Code::Directive, source, offset..end, "directives aren't supported")
                .help("remove the line; documents are YAML 1.2")
        }
        ErrorKind::UnknownAnchor => yaml("the alias refers to an anchor that isn't defined above it")
            .help("quote the value if it is text that begins with `*`"),
        ErrorKind::UnexpectedCharacter { character } if character.is_control() => {
            yaml("a control character can't stand here").help("remove it, or write it as an escape in double quotes")
        }
        ErrorKind::UnexpectedCharacter { character } => {
            yaml(&format!("`{character}` can't begin a value")).help("quote the value")
        }
        ErrorKind::MappingValueNotAllowed => yaml("a `:` can't stand here")
            .help("check the indentation, and quote text that holds a colon followed by a space"),
        ErrorKind::BlockSequenceEntryNotAllowed => yaml("a list can't begin here")
            .help("put its first item on the next line, and quote text that begins with `- `"),
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::ExpectedDocumentStart => {
            yaml("this doesn't continue what stands above it").help("check the indentation")
        }
        _ => yaml(&error.info()),
    }
}

/// The first tab before the text of a line, looking from the line of an offset on. The parser reports the token after
/// the tab, or the one before.
fn indenting_tab(text: &str, from: usize) -> Option<usize> {
    let from = text.get(..from)?.rfind(['\n', '\r']).map_or(0, |end| end + 1);
    let mut indenting = true;
    for (offset, byte) in text.bytes().enumerate().skip(from) {
        match byte {
            b'\n' | b'\r' => indenting = true,
            b'\t' if indenting => return Some(offset),
            b' ' => {}
            _ => indenting = false,
        }
    }
    None
}

/// The quote that opens the text the parser was in, when nothing but punctuation lies between it and what was read.
fn opening_quote(text: &str, from: usize, to: usize) -> Option<usize> {
    let between = text.get(from..to)?;
    let offset = between.find(|c: char| !c.is_whitespace() && !matches!(c, ':' | '-' | ',' | '?'))?;
    between.get(offset..)?.starts_with(['"', '\'']).then_some(from + offset)
}
