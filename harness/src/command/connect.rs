//! How a server is reached and its tokens are had, as `probe` and `init` are told it.

use clap::Args;

use super::run::CarrierArgument;
use crate::profile::Profile;

/// The key or the token, and its place.
#[derive(Debug, Args)]
pub(super) struct Connect {
    /// Sign with the secret in this environment variable
    #[arg(long, value_name = "NAME", group = "key", help_heading = "The secret")]
    pub(super) secret_env: Option<String>,
    /// Sign with the bytes of this file
    #[arg(long, value_name = "PATH", group = "key", help_heading = "The secret")]
    pub(super) secret_file: Option<String>,
    /// Use the real token in this environment variable, where the secret is not known
    #[arg(long, value_name = "NAME", group = "key", help_heading = "The secret")]
    pub(super) token_env: Option<String>,
    /// Use the real token in this file
    #[arg(long, value_name = "PATH", group = "key", help_heading = "The secret")]
    pub(super) token_file: Option<String>,
    /// Where the token rides, when the URL does not say; as for `run`
    #[arg(long, value_name = "PLACE")]
    pub(super) carrier: Vec<CarrierArgument>,
    /// Trust this certificate authority too, a file in PEM
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<String>,
}

impl Connect {
    /// The field of a profile that says where the key or the token is, and its value.
    pub(super) fn key(&self) -> Option<(&'static str, String)> {
        let env = |name: &String| format!("env:{name}");
        let file = |path: &String| format!("file:{path}");
        let secret = self.secret_env.as_ref().map(env).or(self.secret_file.as_ref().map(file));
        let token = self.token_env.as_ref().map(env).or(self.token_file.as_ref().map(file));
        secret.map(|secret| ("secret", secret)).or(token.map(|token| ("token", token)))
    }

    /// Lays what was said over a profile.
    pub(super) fn apply(&self, profile: &mut Profile) {
        match self.key() {
            Some(("secret", notation)) => {
                (profile.secret, profile.token, profile.login) = (Some(notation), None, None);
            }
            Some((_, notation)) => (profile.token, profile.login) = (Some(notation), None),
            None => {}
        }
        if !self.carrier.is_empty() {
            profile.carriers = self.carrier.iter().map(|CarrierArgument(carrier, _)| carrier.clone()).collect();
        }
        if self.ca.is_some() {
            profile.ca.clone_from(&self.ca);
        }
    }
}
