//! What a faulty gate remembers. A right gate remembers nothing, and never comes here.
//!
//! Every store is bounded: full, it is emptied, because a fault is there to be noticed, not to fill the memory.

use std::collections::{HashMap, HashSet};

use super::Bearer;

/// How many entries a store holds before it is emptied.
const LIMIT: usize = 1024;

/// The stores of the stateful faults. Only one fault is ever on, so the texts need no owner.
#[derive(Debug, Default)]
pub(super) struct Memory {
    texts: HashSet<Vec<u8>>,
    bearers: HashMap<Vec<u8>, Bearer>,
    failures: HashMap<String, u32>,
    roles: HashMap<String, String>,
}

impl Memory {
    /// Keeps `text`; false if it was already there.
    pub(super) fn keep(&mut self, text: &[u8]) -> bool {
        if self.texts.len() >= LIMIT {
            self.texts.clear();
        }
        self.texts.insert(text.to_vec())
    }

    /// Whether `text` was kept.
    pub(super) fn has(&self, text: &[u8]) -> bool {
        self.texts.contains(text)
    }

    /// Keeps who was let in by `text`.
    pub(super) fn keep_bearer(&mut self, text: Vec<u8>, bearer: Bearer) {
        if self.bearers.len() >= LIMIT {
            self.bearers.clear();
        }
        self.bearers.insert(text, bearer);
    }

    /// Who was let in by `text`.
    pub(super) fn bearer(&self, text: &[u8]) -> Option<&Bearer> {
        self.bearers.get(text)
    }

    /// Counts one more failure of `identity`.
    pub(super) fn count_failure(&mut self, identity: String) {
        if self.failures.len() >= LIMIT {
            self.failures.clear();
        }
        *self.failures.entry(identity).or_default() += 1;
    }

    /// How often `identity` failed.
    pub(super) fn failures(&self, identity: &str) -> u32 {
        self.failures.get(identity).copied().unwrap_or_default()
    }

    /// Keeps the role of `identity`.
    pub(super) fn keep_role(&mut self, identity: &str, role: &str) {
        if self.roles.len() >= LIMIT {
            self.roles.clear();
        }
        self.roles.insert(identity.to_owned(), role.to_owned());
    }

    /// The role `identity` had.
    pub(super) fn role(&self, identity: &str) -> Option<&str> {
        self.roles.get(identity).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_grow_without_end() {
        let mut memory = Memory::default();
        for n in 0..5 * LIMIT {
            let name = n.to_string();
            memory.keep(name.as_bytes());
            memory.keep_role(&name, "admin");
            memory.count_failure(name);
        }
        assert!(memory.texts.len() <= LIMIT);
        assert!(memory.roles.len() <= LIMIT);
        assert!(memory.failures.len() <= LIMIT);
    }
}
