//! Many findings of one cause: no wrong role is refused, which may as well be a mistake in the profile, or no signature is
//! looked at.

/// What is likely, where the gate has let in every role that was to be refused; `refused` tells of each such case whether it
/// was. Nothing where one of them was refused: then the claim is read, and each finding speaks for itself.
pub fn no_role_refused(claim: &str, refused: &[bool]) -> Option<String> {
    /// One or two may well have a cause of their own.
    const MANY: usize = 3;
    (refused.len() >= MANY && !refused.contains(&true)).then(|| {
        format!(
            "no role at all was refused, {} cases have this one cause: the server does not look at `{claim}`, or `roles` in the profile names another claim than the one it reads",
            refused.len()
        )
    })
}

/// What to mend first, where the case with this code shows that any key will do.
pub fn any_key_will_do(code: &str) -> String {
    format!(
        "a token that any key has signed is admitted ({code}), and this may have no other cause: check the signature first, \
         and run again"
    )
}

#[cfg(test)]
mod tests {
    use super::no_role_refused;

    #[test]
    fn one_role_that_is_refused_shows_that_the_claim_is_read() {
        assert!(no_role_refused("role", &[false, false, false]).is_some_and(|advice| advice.contains("`role`")));
        assert_eq!(no_role_refused("role", &[false, false, true]), None);
        assert_eq!(no_role_refused("role", &[false, false]), None);
    }
}
