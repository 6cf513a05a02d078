//! What every connection shares.
//!
//! The configuration, the gate with its keys made ready, the registry of connections, the accounts with their
//! passwords hashed. Built once, before the first connection, and never changed after.

use std::io;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::config::{Config, User};
use crate::fault::Fault;
use crate::faulty::Memory;
use crate::gate::{Bearer, Gate};
use crate::http::FailedLogins;
use crate::hub::Hub;
use crate::talk;

/// Password hashes computed at once: the rest of the blocking pool stays free.
const HASHES_AT_ONCE: usize = 4;

pub(crate) struct App {
    pub(crate) config: Config,
    /// Who may open a socket.
    pub(crate) gate: Gate,
    /// Whose token is genuine, whatever the role: for the validation endpoint.
    pub(crate) validator: Gate,
    pub(crate) hub: Arc<Hub>,
    pub(crate) accounts: Vec<Account>,
    /// Compared when there is no such user, so that it takes as long (bcrypt of nothing anyone can type).
    pub(crate) nobodys_hash: String,
    pub(crate) hashing: Semaphore,
    pub(crate) failed_logins: FailedLogins,
    /// shipvox's token without an end.
    pub(crate) test_token: String,
    /// Becomes true when the server is to stop.
    stop: watch::Receiver<bool>,
    /// What faults remember from one connection to the next.
    pub(crate) memory: Memory,
}

/// A user whose password is a hash.
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) hash: String,
}

impl App {
    pub(crate) fn new(config: Config, stop: watch::Receiver<bool>) -> io::Result<Self> {
        if config.secret.is_empty() && config.keys.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the secret is empty: anyone could sign with it"));
        }
        // RFC 7518 §3.2: a key shorter than the hash is weaker than the hash.
        if config.secret.len() < 32 && config.keys.is_empty() {
            tracing::warn!(bytes = config.secret.len(), "the secret is shorter than 32 bytes");
        }
        let hash = |password: &str| bcrypt::hash(password, config.bcrypt_cost).map_err(io::Error::other);
        let mut accounts = Vec::new();
        for mut user in config.accounts() {
            let password = std::mem::take(&mut user.password);
            let hash = if config.fault == Some(Fault::DocumentedLoginFails) {
                hash("secret of another page")?
            } else {
                hash(&password)?
            };
            accounts.push(Account { user, hash });
        }
        let policy = config.policy();
        // To be asked about a token does not use it up.
        let validator = crate::gate::Policy { roles: None, single_use: false, ..policy.clone() };
        Ok(Self {
            gate: Gate::new(policy, config.fault),
            validator: Gate::new(validator, config.fault),
            hub: Hub::new(config.limits.queue_messages, config.limits.queue_bytes),
            nobodys_hash: hash(&hex(&random_16()))?,
            hashing: Semaphore::new(HASHES_AT_ONCE),
            failed_logins: FailedLogins::new(config.limits.failed_logins),
            test_token: match &config.test_token {
                Some(token) => token.clone(),
                None => crate::http::mint(&config, serde_json::Map::from_iter([("sub".to_owned(), "user".into())]))?,
            },
            memory: Memory::default(),
            accounts,
            stop,
            config,
        })
    }

    pub(crate) fn now(&self) -> f64 {
        self.config.clock.now()
    }

    /// Ready once the server is to stop.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.clone();
        let _ = stop.wait_for(|stop| *stop).await;
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.config.fault == Some(fault)
    }

    /// Connections at once that `bearer` may have, by plan where there are plans.
    pub(crate) fn connections_of(&self, bearer: &Bearer) -> usize {
        self.plan_of(bearer).map_or(self.config.limits.per_user, |plan| plan.connections)
    }

    /// The plan `bearer` is held to: the one the token names, else the first.
    pub(crate) fn plan_of(&self, bearer: &Bearer) -> Option<&crate::config::PlanLimit> {
        let plans = &self.config.limits.plans;
        let first = plans.first()?;
        let name = talk::plan(&bearer.claims);
        Some(plans.iter().find(|plan| plan.name == name).unwrap_or(first))
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("config", &self.config).finish_non_exhaustive()
    }
}

/// 16 bytes nobody can guess.
pub(crate) fn random_16() -> [u8; 16] {
    let mut bytes = [0; 16];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        // Nothing that asks here is a key; a clash is worth a line in the log, not the connection.
        tracing::error!("the operating system gave no random bytes");
    }
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
