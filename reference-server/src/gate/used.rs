//! The tokens that were used, where each is good for one use (RFC 7519 §4.1.7).
//!
//! A `jti` is kept until its token has expired, and no longer. The store is bounded: while it is full no token is
//! admitted, because one that cannot be remembered could be used twice.

use std::collections::HashMap;

/// How many tokens are remembered at once.
const LIMIT: usize = 64 * 1024;

/// When each token that was used expires, by its `jti`.
#[derive(Debug, Default)]
pub(super) struct Used(HashMap<String, f64>);

/// Why a token may not be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spent {
    /// It was used before.
    Before,
    /// It could not be remembered.
    Full,
}

impl Used {
    /// Uses the token `jti`, which expires at `until`: once.
    pub(super) fn spend(&mut self, jti: &str, until: f64, now: f64) -> Result<(), Spent> {
        if self.0.get(jti).is_some_and(|until| now < *until) {
            return Err(Spent::Before);
        }
        if self.0.len() >= LIMIT {
            self.0.retain(|_, until| now < *until);
        }
        if self.0.len() >= LIMIT {
            return Err(Spent::Full);
        }
        self.0.insert(jti.to_owned(), until);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_until_it_expires() {
        let mut used = Used::default();
        assert_eq!(used.spend("a", 10.0, 1.0), Ok(()));
        assert_eq!(used.spend("a", 10.0, 9.0), Err(Spent::Before));
        assert_eq!(used.spend("b", 10.0, 9.0), Ok(()));
        // Expired, the token itself is refused; its name is free again.
        assert_eq!(used.spend("a", 20.0, 10.0), Ok(()));
    }

    #[test]
    fn full_admits_nobody_and_forgets_what_expired() {
        let mut used = Used::default();
        for n in 0..LIMIT {
            assert_eq!(used.spend(&n.to_string(), 10.0, 1.0), Ok(()));
        }
        assert_eq!(used.spend("one more", 10.0, 1.0), Err(Spent::Full));
        assert_eq!(used.spend("one more", 30.0, 20.0), Ok(()));
        assert_eq!(used.0.len(), 1);
    }
}
