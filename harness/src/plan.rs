//! The plan: which trials a run makes, and why the others are left out. Pure.

use crate::case::{Body, Case, Need, Over, Set, Step};
use crate::catalogue::Catalogue;
use crate::profile::{Carrier, Class, Environment, Profile, RefusesBy, Shape};

/// Which cases are wanted. Empty means all of the quick set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Codes, families, names, tags or trials (`SIG-008@query`); a case is wanted when one of them fits.
    pub words: Vec<String>,
    /// Whether cases of `set: all` are wanted too.
    pub all: bool,
}

/// A case over one carrier.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    /// The case.
    pub case: &'a Case,
    /// The carrier its tokens ride in.
    pub carrier: Carrier,
    /// Whether it is reported; the others run because a wanted case looks across them.
    pub wanted: bool,
    /// Why it is not run.
    pub skip: Option<String>,
}

impl Trial<'_> {
    /// The identity in reports: `SIG-008@query`.
    pub fn id(&self) -> String {
        match self.case.variants.first().map(|variant| &variant.body) {
            Some(Body::Steps(steps)) if steps.iter().any(|step| matches!(step, Step::Open(_))) => {
                format!("{}@{}", self.case.head.code, self.carrier.word())
            }
            _ => self.case.head.code.clone(),
        }
    }
}

/// Makes the trials of a run, in the order of the catalogue.
pub fn trials<'a>(catalogue: &'a Catalogue, profile: &Profile, selection: &Selection) -> Vec<Trial<'a>> {
    let first = profile.carriers.first().cloned().unwrap_or(Carrier::Query("token".to_owned()));
    let mut trials = Vec::new();
    for case in &catalogue.cases {
        let carriers: &[Carrier] = match case.head.carriers {
            Over::First => std::slice::from_ref(&first),
            Over::All => &profile.carriers,
        };
        for carrier in carriers {
            let mut trial = Trial { case, carrier: carrier.clone(), wanted: false, skip: unmet(case, profile) };
            trial.wanted = is_wanted(&trial, selection);
            trials.push(trial);
        }
    }
    let support = Support::of(&trials);
    trials.retain(|trial| trial.wanted || support.includes(trial));
    trials
}

/// Whether the selection names this trial.
fn is_wanted(trial: &Trial<'_>, selection: &Selection) -> bool {
    let head = &trial.case.head;
    if selection.words.is_empty() {
        return selection.all || head.set == Set::Quick;
    }
    selection.words.iter().any(|word| {
        word.eq_ignore_ascii_case(&head.code)
            || word.eq_ignore_ascii_case(&trial.case.family)
            || word.eq_ignore_ascii_case(&trial.id())
            || *word == head.name
            || head.tags.contains(word)
    })
}

/// What the wanted cases that look across the run need to have run.
#[derive(Debug, Default)]
struct Support {
    refusals: bool,
}

impl Support {
    fn of(trials: &[Trial<'_>]) -> Self {
        let refusals = trials.iter().any(|trial| {
            trial.wanted
                && trial.skip.is_none()
                && trial.case.variants.iter().any(|variant| matches!(variant.body, Body::Across(_)))
        });
        Self { refusals }
    }

    fn includes(&self, trial: &Trial<'_>) -> bool {
        self.refusals
            && trial.skip.is_none()
            && trial.case.head.set == Set::Quick
            && trial.case.variants.iter().any(|variant| match &variant.body {
                Body::Steps(steps) => steps.iter().any(|step| matches!(step, Step::Open(open) if open.class.is_some())),
                _ => false,
            })
    }
}

/// Why the profile cannot have this case, if it cannot.
fn unmet(case: &Case, profile: &Profile) -> Option<String> {
    if let Some(need) = case.head.needs.iter().find(|need| !declares(profile, **need)) {
        return Some(format!("it needs {}, which the profile does not declare", wording(*need)));
    }
    if let Some(need) = case.head.unless.iter().find(|need| declares(profile, **need)) {
        return Some(format!("the profile declares {}", wording(*need)));
    }
    None
}

/// Whether the profile declares what a case needs.
pub fn declares(profile: &Profile, need: Need) -> bool {
    let has = |wanted: fn(&Carrier) -> bool| profile.carriers.iter().any(wanted);
    match need {
        Need::UrlCarrier => profile.carriers.first().is_some_and(Carrier::is_in_url),
        Need::PathCarrier => profile.carriers.first() == Some(&Carrier::Path),
        Need::QueryCarrier => matches!(profile.carriers.first(), Some(Carrier::Query(_))),
        Need::HeaderCarrier => {
            has(|carrier| matches!(carrier, Carrier::Authorization(scheme) if scheme.eq_ignore_ascii_case("Bearer")))
        }
        Need::CookieCarrier => has(|carrier| matches!(carrier, Carrier::Cookie(_))),
        Need::TwoCarriers => profile.carriers.len() > 1,
        Need::Algorithms => profile.algorithms.is_some(),
        Need::Leeway => profile.leeway.is_some(),
        Need::NoLeeway => profile.leeway == Some(0),
        Need::RequireExp => profile.require_exp == Some(true),
        Need::OptionalExp => profile.require_exp == Some(false),
        Need::IdentityClaim => !profile.identity_claims.is_empty(),
        Need::RequiredIdentity => !profile.identity_claims.is_empty() && profile.identity_fallback.is_none(),
        Need::IdentityEcho => profile.identity_echo.is_some(),
        Need::Roles => profile.roles.is_some(),
        Need::DefaultRole => profile
            .roles
            .as_ref()
            .is_some_and(|roles| roles.default.as_ref().is_some_and(|default| !roles.allowed.contains(default))),
        Need::Welcome => profile.welcome.is_some(),
        Need::Echo => profile.echo.is_some(),
        Need::FaithfulEcho => profile.echo.as_ref().is_some_and(crate::profile::Echo::is_faithful),
        Need::Broadcast => profile.echo.as_ref().is_some_and(|echo| echo.broadcast),
        Need::Json => profile.echo.as_ref().is_some_and(|echo| matches!(echo.reply, Shape::Json(_))),
        Need::Keepalive => profile.keepalive_text.is_some(),
        Need::Signals => profile.signals.values().any(|signal| signal.close.is_some() || signal.http.is_some()),
        Need::ClosePromised => {
            profile.refuses_by != Some(RefusesBy::Http) && profile.signals.values().any(|signal| signal.close.is_some())
        }
        Need::Reasons => profile.signals.values().any(|signal| signal.reason.is_some()),
        Need::Health => profile.http.contains_key("health"),
        Need::Login => profile.http.contains_key("login"),
        Need::RefreshToken => {
            profile.http.get("login").is_some_and(|login| login.answer.contains_key("/refresh_token"))
        }
        Need::TestToken => profile.http.contains_key("test_token"),
        Need::Validate => profile.http.contains_key("validate"),
        Need::SameHost => {
            let endpoint = profile.url.as_deref().map(crate::target::Endpoint::parse);
            matches!(endpoint, Some(Ok(endpoint)) if endpoint.is_local())
        }
        Need::Production => profile.environment == Some(Environment::Production),
        Need::TimeEcho => profile.time_echo.is_some(),
        Need::IdEcho => profile.id_echo.is_some(),
        Need::Hmac => profile.algorithm.as_deref().is_none_or(|algorithm| algorithm.starts_with("HS")),
    }
}

/// A need in the words of the profile.
fn wording(need: Need) -> String {
    let words = match need {
        Need::UrlCarrier => "a carrier in the URL",
        Need::PathCarrier => "a path carrier",
        Need::QueryCarrier => "a query carrier",
        Need::HeaderCarrier => "an `authorization: Bearer` carrier",
        Need::CookieCarrier => "a cookie carrier",
        Need::TwoCarriers => "more than one carrier",
        Need::Algorithms => "`algorithms`",
        Need::Leeway => "`leeway`",
        Need::NoLeeway => "`leeway: 0`",
        Need::RequireExp => "`require_exp: true`",
        Need::OptionalExp => "`require_exp: false`",
        Need::IdentityClaim => "`identity_claims`",
        Need::RequiredIdentity => "`identity_claims` without an `identity_fallback`",
        Need::IdentityEcho => "`identity_echo`",
        Need::Roles => "`roles`",
        Need::DefaultRole => "a `roles.default` that is refused",
        Need::Welcome => "`welcome`",
        Need::Echo => "`echo`",
        Need::FaithfulEcho => "an `echo` that repeats the message",
        Need::Broadcast => "`echo.broadcast`",
        Need::Json => "an `echo` in JSON",
        Need::Keepalive => "`keepalive_text`",
        Need::Signals => "`signals`",
        Need::ClosePromised => "a refusal by close code",
        Need::Reasons => "a reason text in `signals`",
        Need::Health => "`http.health`",
        Need::Login => "`http.login`",
        Need::RefreshToken => "`http.login.answer` with `/refresh_token`",
        Need::TestToken => "`http.test_token`",
        Need::Validate => "`http.validate`",
        Need::Production => "`environment: production`",
        Need::TimeEcho => "`time_echo`",
        Need::IdEcho => "`id_echo`",
        Need::Hmac => "an HMAC key",
        Need::SameHost => "a target on this machine",
    };
    words.to_owned()
}

/// The class a refusal of this attempt belongs to.
pub fn class_of(case: &Case, open: Option<Class>) -> Option<Class> {
    open.or(case.head.class)
}
