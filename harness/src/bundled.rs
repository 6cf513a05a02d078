//! The texts under `scenarios/`, as they were when this crate was built.

/// A file of cases, decoded when this crate was built; nothing is known but that it was YAML.
pub(crate) struct DecodedFile {
    /// The code of its family.
    pub(crate) family: Option<&'static str>,
    /// What the family is about.
    pub(crate) title: Option<&'static str>,
    /// Its cases.
    pub(crate) cases: Option<&'static [DecodedCase]>,
}

/// A case of it.
pub(crate) struct DecodedCase {
    /// The line of its code.
    pub(crate) line: usize,
    /// The case without what it does, as JSON.
    pub(crate) head: &'static str,
    /// The whole case as JSON.
    pub(crate) whole: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));
