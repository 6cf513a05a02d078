//! The reference server on a free port, in a thread of its own, for runs without a URL, and the settings in which it is
//! judged.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Target;
use crate::profile::{FirstMessage, Issuer, Profile, RefusesBy, Shape, Signal, TokenProfile};
use crate::target::Endpoint;
use crate::token::{KeyKind, PrivateKey, PublicForm};
use gatecrash_reference_server::gate::TrustedKey;
use gatecrash_reference_server::{Carrier, Config, Dialect, Environment, Fault, RefusalStyle, Server, jsonwebtoken};
use tokio::sync::oneshot;

use super::certificates;

/// A running reference server; it stops when this is dropped.
#[derive(Debug)]
pub struct BundledServer {
    /// Where it is and what it promises.
    pub target: Target,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The secret of the bundled server. It guards nothing: the server lives for one run, on the loopback.
const SECRET: &str = "gatecrash bundled server, for one run on loopback only";

/// A test token of development, which opens nothing in production.
const TEST_TOKEN: &str = "gatecrash-test-token-of-development";

/// Where the server publishes its keys.
const JWKS_PATH: &str = "/.well-known/jwks.json";

/// One way to set the server up, and what it then promises.
///
/// With no fault every case passes in each of them; a fault must show in one of them.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name, for tests and reports.
    pub name: &'static str,
    /// What the server speaks.
    pub dialect: Dialect,
    /// How it refuses.
    pub refusal: RefusalStyle,
    /// What else differs from the defaults of the dialect.
    pub change: fn(&mut Config, &mut Profile),
}

impl Setting {
    /// The defaults of a dialect, as its documents have it.
    pub const fn plain(dialect: Dialect, refusal: RefusalStyle, name: &'static str) -> Self {
        Self::changed(dialect, refusal, name, |_, _| {})
    }

    /// A dialect with something else than its defaults.
    const fn changed(
        dialect: Dialect,
        refusal: RefusalStyle,
        name: &'static str,
        change: fn(&mut Config, &mut Profile),
    ) -> Self {
        Self { name, dialect, refusal, change }
    }

    /// The first setting of this dialect that refuses in this way.
    pub fn of(dialect: Dialect, refusal: RefusalStyle) -> Self {
        let found = SETTINGS.iter().find(|setting| setting.dialect == dialect && setting.refusal == refusal);
        found.copied().unwrap_or(Self::plain(dialect, refusal, dialect.name()))
    }
}

/// A key pair that is made once per process: an RSA key takes longer than many a run.
fn pair(kind: KeyKind) -> Option<&'static PrivateKey> {
    static PAIRS: [OnceLock<Option<PrivateKey>>; 4] = [const { OnceLock::new() }; 4];
    let place = match kind {
        KeyKind::Rsa => 0,
        KeyKind::P256 => 1,
        KeyKind::Ed25519 => 2,
        KeyKind::P384 => 3,
        _ => return None,
    };
    PAIRS[place].get_or_init(|| PrivateKey::generate(kind)).as_ref()
}

/// A key pair as the server is given it and as the profile declares it.
fn halves(kind: KeyKind, algorithm: jsonwebtoken::Algorithm, kid: &str) -> Option<(TrustedKey, String)> {
    let pair = pair(kind)?;
    let pem = String::from_utf8(pair.public().spelled(PublicForm::SpkiPem)?).ok()?;
    Some((TrustedKey { kid: Some(kid.to_owned()), ..TrustedKey::new(pem, algorithm) }, pair.to_pem()?))
}

/// Replaces the secret by a key pair.
fn signed_with(config: &mut Config, profile: &mut Profile, kind: KeyKind, algorithm: jsonwebtoken::Algorithm) {
    let name = format!("{algorithm:?}");
    let kid = format!("{}-1", name.to_lowercase());
    let Some((key, private)) = halves(kind, algorithm, &kid) else { return };
    config.secret.clear();
    config.keys.push(key);
    profile.secret = None;
    profile.keys.private.push(private);
    profile.kid = Some(kid);
    profile.algorithm = Some(name.clone());
    profile.algorithms = Some(vec![name]);
    profile.jwks_url = Some(JWKS_PATH.to_owned());
    // Without a secret no tokens are issued.
    profile.http.remove("login");
    profile.http.remove("validate");
    // Those were secrets.
    config.retired_secrets.clear();
    profile.retired_secrets.clear();
}

/// The second issuer of the settings that have one.
const PARTNER: &str = "https://partner.strict.example/";

/// Trusts a second issuer, which signs with ES256.
fn with_second_issuer(config: &mut Config, profile: &mut Profile) {
    let Some((key, private)) = halves(KeyKind::P256, jsonwebtoken::Algorithm::ES256, "partner-1") else { return };
    config.keys.push(TrustedKey { issuer: Some(PARTNER.to_owned()), ..key });
    profile.other_issuers.push(Issuer {
        issuer: PARTNER.to_owned(),
        secret: None,
        private: Some(private),
        algorithm: None,
        kid: Some("partner-1".to_owned()),
    });
    profile.jwks_url = Some(JWKS_PATH.to_owned());
    profile.algorithms.get_or_insert_default().push("ES256".to_owned());
}

/// What the strict dialect promises beside its preset, because it is a secret or is made when the server starts.
fn promises(config: &mut Config, profile: &mut Profile) {
    let retired = ["the secret of the year before, 32 bytes", "the secret before that one, 32 bytes."];
    config.retired_secrets = retired.map(|secret| secret.as_bytes().to_vec()).to_vec();
    profile.retired_secrets = retired.map(str::to_owned).to_vec();
    config.test_token = Some(TEST_TOKEN.to_owned());
    profile.test_token = Some(TEST_TOKEN.to_owned());
    with_second_issuer(config, profile);
}

/// RS256, and access tokens of RFC 9068.
fn rs256(config: &mut Config, profile: &mut Profile) {
    signed_with(config, profile, KeyKind::Rsa, jsonwebtoken::Algorithm::RS256);
    with_second_issuer(config, profile);
    // Keys of every kind, so that each form in which one is kept stands in the way of one run.
    if let Some((key, _)) = halves(KeyKind::Ed25519, jsonwebtoken::Algorithm::EdDSA, "partner-2") {
        config.keys.push(TrustedKey { issuer: Some(PARTNER.to_owned()), ..key });
    }
    profile.keys.public = config.keys.iter().map(|key| key.pem.clone()).collect();
    config.rfc9068 = true;
    profile.profile = Some(TokenProfile::Rfc9068);
    profile.token_type = None;
}

/// ES256, and each token is good for one opening.
fn es256(config: &mut Config, profile: &mut Profile) {
    signed_with(config, profile, KeyKind::P256, jsonwebtoken::Algorithm::ES256);
    config.single_use = true;
    profile.jti_single_use = true;
}

/// HS512, with a secret as long as its hash, and roles in a list.
fn hs512(config: &mut Config, profile: &mut Profile) {
    let secret = "the secret of the server that signs with HS512, all of its sixty-four bytes";
    config.secret = secret.as_bytes().to_vec();
    config.algorithm = jsonwebtoken::Algorithm::HS512;
    profile.secret = Some(secret.to_owned());
    profile.algorithm = Some("HS512".to_owned());
    profile.algorithms = Some(vec!["HS512".to_owned()]);
    config.role_list = true;
    if let Some(roles) = &mut profile.roles {
        roles.list = true;
    }
}

/// ES384, whose signatures are longer than those of the other curve.
fn es384(config: &mut Config, profile: &mut Profile) {
    signed_with(config, profile, KeyKind::P384, jsonwebtoken::Algorithm::ES384);
}

/// EdDSA, and only one bearer is known.
fn eddsa(config: &mut Config, profile: &mut Profile) {
    signed_with(config, profile, KeyKind::Ed25519, jsonwebtoken::Algorithm::EdDSA);
    config.directory = Some(vec!["alice".to_owned()]);
    profile.user_directory = true;
    profile.user = Some("alice".to_owned());
}

/// PS256, and nothing but `aud` tells a token of this kind from others.
fn ps256(config: &mut Config, profile: &mut Profile) {
    const AUDIENCE: &str = "https://ws.ps256.example";
    signed_with(config, profile, KeyKind::Rsa, jsonwebtoken::Algorithm::PS256);
    config.audience = Some(AUDIENCE.to_owned());
    profile.audience = Some(AUDIENCE.to_owned());
}

/// Every setting, in the order in which a fault is looked for.
pub const SETTINGS: &[Setting] = &[
    // Whoever does not offer to compress sees no difference, and neither does whoever sends tokens of the usual length: what is
    // nested deeply has to get as far as the parser.
    Setting {
        change: |config, _| (config.deflate, config.max_token_bytes) = (true, 1 << 16),
        ..Setting::plain(Dialect::PersonalAssistant, RefusalStyle::Close, "personal-assistant::close")
    },
    Setting::plain(Dialect::Shipvox, RefusalStyle::Close, "shipvox::close"),
    Setting::plain(Dialect::Simutrador, RefusalStyle::Close, "simutrador::close"),
    Setting::plain(Dialect::Omni2, RefusalStyle::Close, "omni2::close"),
    Setting::changed(Dialect::Strict, RefusalStyle::Close, "strict::close", promises),
    Setting::plain(Dialect::PersonalAssistant, RefusalStyle::Http, "personal-assistant::http"),
    Setting::plain(Dialect::Shipvox, RefusalStyle::Http, "shipvox::http"),
    Setting::plain(Dialect::Simutrador, RefusalStyle::Http, "simutrador::http"),
    Setting::plain(Dialect::Omni2, RefusalStyle::Http, "omni2::http"),
    Setting::changed(Dialect::Strict, RefusalStyle::Http, "strict::http", promises),
    Setting::changed(Dialect::Strict, RefusalStyle::Close, "rs256", rs256),
    Setting::changed(Dialect::Strict, RefusalStyle::Close, "es256", es256),
    Setting::changed(Dialect::PersonalAssistant, RefusalStyle::Close, "es384", es384),
    Setting::changed(Dialect::Strict, RefusalStyle::Close, "eddsa", eddsa),
    Setting::changed(Dialect::PersonalAssistant, RefusalStyle::Close, "ps256", ps256),
    Setting::changed(Dialect::PersonalAssistant, RefusalStyle::Close, "hs512", hs512),
    Setting {
        name: "strict::tls",
        dialect: Dialect::Strict,
        refusal: RefusalStyle::Close,
        change: |config, profile| encrypted(config, profile),
    },
    Setting { name: "first-message", dialect: Dialect::Shipvox, refusal: RefusalStyle::Close, change: first_message },
];

/// Speaks TLS, with a second port without it.
fn encrypted(config: &mut Config, profile: &mut Profile) {
    // Without certificates it stays plain, and whoever looks for TLS finds none: the matrix tells.
    let Ok(made) = certificates::make("localhost", config.fault == Some(Fault::ExpiredCertificate)) else { return };
    profile.ca = Some(made.authority);
    config.tls = Some(made.server);
    config.plain = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
}

/// The token is told in the first message, in a dialect where everybody hears everybody; pages only, and a subprotocol
/// that every client offers.
fn first_message(config: &mut Config, profile: &mut Profile) {
    const TIMEOUT_MS: u64 = 1_500;
    const ORIGIN: &str = "https://app.shipvox.example";
    const SUBPROTOCOL: &str = "shipvox.v1";
    config.carriers = vec![Carrier::FirstMessage];
    config.auth_timeout = Duration::from_millis(TIMEOUT_MS);
    config.allowed_origins = vec![ORIGIN.to_owned()];
    config.require_origin = true;
    config.subprotocol = Some(SUBPROTOCOL.to_owned());
    profile.carriers = vec![crate::profile::Carrier::FirstMessage(FirstMessage {
        send: r#"{"type":"auth","token":"{token}"}"#.to_owned(),
        reply: Some(Shape::like(r#"{"type":"auth_ok"}"#)),
        timeout_ms: Some(TIMEOUT_MS),
        ..FirstMessage::default()
    })];
    profile.allowed_origins = config.allowed_origins.clone();
    profile.require_origin = true;
    profile.send_origin = true;
    profile.subprotocol = Some(SUBPROTOCOL.to_owned());
    profile.offer_subprotocol = true;
}

impl BundledServer {
    /// Starts it.
    pub fn start(setting: &Setting, fault: Option<Fault>) -> io::Result<Self> {
        let (dialect, refusal) = (setting.dialect, setting.refusal);
        let mut config = Config { refusal, fault, ..Config::new(dialect, SECRET) };
        let mut profile = profile(dialect, refusal);
        (setting.change)(&mut config, &mut profile);
        if fault == Some(Fault::TestTokenInProduction) {
            // In development a test token is no fault.
            config.environment = Environment::Production;
            profile.environment = Some(crate::profile::Environment::Production);
            profile.require_exp = Some(true);
            // The sample accounts exist in development only.
            profile.http.remove("login");
        }
        if fault == Some(Fault::KeepaliveKillsSession)
            && let Some(echo) = &mut profile.echo
            && Some(&echo.send) == profile.keepalive_text.as_ref()
        {
            // The text of the keep-alive cannot be the one that proves that the session is served.
            echo.send = r#"{"type":"ping"}"#.to_owned();
        }
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(format!("{}-server", dialect.name())).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async move {
                match Server::bind(config).await {
                    Err(error) => drop(ready.send(Err(error))),
                    Ok(server) => {
                        let _ = ready.send(Ok((server.url(), server.plain_addr())));
                        server.run(async move { drop(stopped.await) }).await;
                    }
                }
            });
        })?;
        let (url, plain) =
            is_ready.recv().map_err(|_| io::Error::other("the server's thread ended before it was ready"))??;
        if let (Some(JWKS_PATH), Ok(endpoint)) = (profile.jwks_url.as_deref(), Endpoint::parse(&url)) {
            profile.jwks_url = Some(format!("http://{}{JWKS_PATH}", endpoint.host_header()));
        }
        profile.url = Some(url);
        profile.plain_port = plain.map(|address| address.port());
        let target = Target::from_profile(profile).map_err(io::Error::other)?;
        Ok(Self { target, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for BundledServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The preset of a dialect, with the refusal style of this server.
fn profile(dialect: Dialect, refusal: RefusalStyle) -> Profile {
    let mut profile = Profile::preset(dialect.name()).unwrap_or_default();
    profile.secret = Some(SECRET.to_owned());
    if refusal == RefusalStyle::Http {
        profile.refuses_by = Some(RefusesBy::Http);
        for (class, signal) in &mut profile.signals {
            let status = if *class == crate::profile::Class::Insufficient { 403 } else { 401 };
            *signal = Signal { http: Some(status), ..Signal::default() };
        }
    }
    profile
}
