//! The plan: which trials a run makes, and why the others are left out. Pure.

use std::borrow::Cow;
use std::collections::HashSet;
use std::str::FromStr;

use crate::case::{Across, Body, Bound, Case, CaseText, Each, Expect, Open, Over, Set, Step, Variant};
use crate::catalogue::Catalogue;
use crate::document::printable;
use crate::profile::{Carrier, Class};
use crate::target::Target;
use crate::token::Recipe;
use crate::verdict::{Level, Severity};

/// Which cases are wanted. Empty means all of the quick set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Codes, families, names, tags or trials (`SIG-008@query`); a case is wanted when one of them fits.
    pub words: Vec<String>,
    /// Whether cases of `set: all` are wanted too.
    pub all: bool,
    /// What a case must be besides.
    pub filter: Filter,
    /// Which share of what is selected is wanted; unset, all of it.
    pub partition: Option<Partition>,
}

/// What a case must be: of each kind that names any, one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Tags, of which it has one.
    pub tags: Vec<String>,
    /// Levels, of which it is of one.
    pub levels: Vec<Level>,
    /// The severity that it has at least.
    pub severity: Option<Severity>,
}

impl Filter {
    /// Whether a case of this head is so. The level is that which binds whoever is asked, and may be above the case's own.
    pub fn fits(&self, head: &CaseText, level: Level) -> bool {
        (self.tags.is_empty() || self.tags.iter().any(|tag| head.tags.contains(tag)))
            && (self.levels.is_empty() || self.levels.contains(&level))
            && self.severity.is_none_or(|least| head.severity >= least)
    }
}

/// Whether a word means the case: its code or family, however they are spelled, its name, or one of its tags.
pub fn is_called(case: &Case, word: &str) -> bool {
    word.eq_ignore_ascii_case(&case.head.code)
        || word.eq_ignore_ascii_case(&case.family)
        || *word == case.head.name
        || case.head.tags.iter().any(|tag| tag == word)
}

/// One of several equal shares of the trials, for runs that share the work. Which share a trial falls into follows from
/// its identity alone, so that it stays there while cases come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Which one, from 1.
    part: u32,
    /// How many there are.
    of: u32,
}

impl Partition {
    /// The share `part` of so many; none where there is no such.
    pub fn new(part: u32, of: u32) -> Option<Self> {
        (1..=of).contains(&part).then_some(Self { part, of })
    }

    /// Whether the trial of this identity falls into it.
    pub fn holds(self, id: &str) -> bool {
        // FNV-1a, whose low bits alone would be those of the last letters.
        let hash = id
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        (hash ^ (hash >> 32)) % u64::from(self.of) == u64::from(self.part - 1)
    }
}

impl FromStr for Partition {
    type Err = String;

    /// Reads `hash:2/3`.
    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (part, of) = text.strip_prefix("hash:")?.split_once('/')?;
            Self::new(part.parse().ok()?, of.parse().ok()?)
        };
        read().ok_or_else(|| "write hash:M/N, the share M of N, such as hash:1/3".to_owned())
    }
}

/// A case over one carrier.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    /// The case, with a variant for each word where it runs over the words of the profile.
    pub case: Cow<'a, Case>,
    /// The carrier its tokens ride in.
    pub carrier: Carrier,
    /// The word for the carrier, with a number where the target declares several of its kind.
    pub place: String,
    /// Whether it is reported; the others run because a wanted case looks across them.
    pub wanted: bool,
    /// How strongly its rule binds this target.
    pub level: Level,
    /// Why it is not run.
    pub skip: Option<String>,
}

impl Trial<'_> {
    /// The head of its case, with the level that holds for this target.
    pub fn head(&self) -> CaseText {
        CaseText { level: self.level, ..self.case.head.clone() }
    }

    /// Whether there is traffic in it, and not only a question to what others saw or to the profile.
    pub fn is_played(&self) -> bool {
        self.case.variants.iter().any(|variant| matches!(variant.body, Body::Steps(_)))
    }

    /// The identity in reports: `SIG-008@query`.
    pub fn id(&self) -> String {
        match self.case.variants.first().map(|variant| &variant.body) {
            Some(Body::Steps(steps)) if steps.iter().any(|step| matches!(step, Step::Open(_) | Step::Crowd(_))) => {
                format!("{}@{}", self.case.head.code, self.place)
            }
            _ => self.case.head.code.clone(),
        }
    }
}

/// Makes the trials of a run, in the order of the catalogue.
pub fn trials<'a>(catalogue: &'a Catalogue, target: &Target, selection: &Selection) -> Vec<Trial<'a>> {
    let default = [Carrier::Query("token".to_owned())];
    let carriers = if target.profile.carriers.is_empty() { &default[..] } else { &target.profile.carriers };
    let places = places(carriers);
    let mut trials = Vec::new();
    for case in &catalogue.cases {
        let fitting = |over: Over| {
            let numbered = carriers.iter().zip(&places).enumerate();
            numbered.filter(move |(index, (carrier, _))| over.includes(*index, carrier)).map(|(_, placed)| placed)
        };
        // A case over carriers that the target does not have is not applicable, once.
        let has_none = fitting(case.head.carriers).next().is_none();
        for (carrier, place) in fitting(if has_none { Over::First } else { case.head.carriers }) {
            let (carrier, place, level) = (carrier.clone(), place.clone(), level(case, target));
            let none = || has_none.then(|| "the profile declares no carrier of its kind".to_owned());
            let skip = unmet(case, target).or_else(none);
            let case = with_tokens_of(over_words(case, target), target);
            // What runs over no word has a reason of its own.
            let keyed =
                !target.makes_tokens() && !case.variants.is_empty() && !case.variants.iter().any(plays_without_key);
            let skip = skip.or_else(|| keyed.then(|| NO_KEY.to_owned()));
            let mut trial = Trial { case, carrier, place, wanted: false, level, skip };
            if trial.case.variants.is_empty() && trial.skip.is_none() {
                trial.skip = Some("the profile declares none of the words it runs over".to_owned());
            }
            trial.wanted = is_wanted(&trial, selection);
            trials.push(trial);
        }
    }
    if !target.makes_tokens() {
        skip_unseen_classes(&mut trials);
    }
    let support = Support::of(&trials);
    trials.retain(|trial| trial.wanted || support.includes(trial));
    trials
}

/// The words for the carriers of a target.
fn places(carriers: &[Carrier]) -> Vec<String> {
    let before = |index: usize| carriers[..index].iter().filter(|other| other.word() == carriers[index].word()).count();
    let place = |(index, carrier): (usize, &Carrier)| match before(index) {
        0 => carrier.word().to_owned(),
        earlier => format!("{}-{}", carrier.word(), earlier + 1),
    };
    carriers.iter().enumerate().map(place).collect()
}

/// Whether the selection names this trial.
fn is_wanted(trial: &Trial<'_>, selection: &Selection) -> bool {
    let head = &trial.case.head;
    if selection.partition.is_some_and(|partition| !partition.holds(&trial.id())) {
        return false;
    }
    if !selection.filter.fits(head, trial.level) {
        return false;
    }
    if selection.words.is_empty() {
        return selection.all || head.set == Set::Quick;
    }
    selection.words.iter().any(|word| is_called(&trial.case, word) || word.eq_ignore_ascii_case(&trial.id()))
}

/// What the wanted cases that look across the run need to have run.
#[derive(Debug, Default)]
struct Support {
    refusals: bool,
    /// A plain forged token, where no wanted case would show whether a bare end is how this target refuses, or a crash.
    plain: Option<String>,
}

/// Whether a step of a case opens with one of these expectations.
fn expects(trial: &Trial<'_>, wanted: &[Expect]) -> bool {
    let opens = |step: &Step| matches!(step, Step::Open(open) if wanted.contains(&open.expect));
    let in_steps = |variant: &Variant| matches!(&variant.body, Body::Steps(steps) if steps.iter().any(opens));
    trial.skip.is_none() && trial.case.variants.iter().any(in_steps)
}

impl Support {
    fn of(trials: &[Trial<'_>]) -> Self {
        let refusals = trials.iter().any(|trial| {
            trial.wanted
                && trial.skip.is_none()
                && trial.case.variants.iter().any(|variant| matches!(variant.body, Body::Across(_)))
        });
        let is_asked = |expect: &[Expect]| trials.iter().any(|trial| trial.wanted && expects(trial, expect));
        let refuses = |trial: &&Trial<'_>| {
            trial.case.head.class == Some(Class::BadSignature)
                && trial.case.head.set == Set::Quick
                && !trial.case.head.alone
                && expects(trial, &[Expect::Refused])
        };
        let is_open = is_asked(&[Expect::Survives, Expect::NoServerError]) && !is_asked(&[Expect::Refused]);
        let plain = trials.iter().find(refuses).filter(|_| is_open).map(Trial::id);
        Self { refusals, plain }
    }

    fn includes(&self, trial: &Trial<'_>) -> bool {
        if self.plain.as_ref().is_some_and(|plain| *plain == trial.id()) {
            return true;
        }
        self.refusals
            && trial.skip.is_none()
            && trial.case.head.set == Set::Quick
            && trial.case.variants.iter().any(|variant| match &variant.body {
                Body::Steps(steps) => steps.iter().any(|step| matches!(step, Step::Open(open) if open.class.is_some())),
                _ => false,
            })
    }
}

/// The case as this target has it.
fn over_words<'a>(case: &'a Case, target: &Target) -> Cow<'a, Case> {
    let Some(each) = case.head.each else { return Cow::Borrowed(case) };
    let profile = &target.profile;
    let roles = profile.roles.as_ref();
    let words: Vec<&str> = match each {
        Each::AllowedRoles => roles.map(|roles| roles.allowed.iter().map(String::as_str).collect()).unwrap_or_default(),
        Each::DeniedRoles => roles.map(|roles| roles.refused().collect()).unwrap_or_default(),
        Each::WeakSecrets => profile.weak_secrets.iter().map(String::as_str).collect(),
        Each::AllowedOrigins => profile.allowed_origins.iter().map(String::as_str).collect(),
    };
    let mut case = case.clone();
    let before = std::mem::take(&mut case.variants);
    for variant in before {
        for word in &words {
            let label = [variant.label.as_str(), &printable(word)].join(" ").trim().to_owned();
            let bound = Some(Bound { each, word: (*word).to_owned() });
            case.variants.push(Variant { label, body: variant.body.clone(), bound });
        }
    }
    Cow::Owned(case)
}

/// Why a case that needs tokens of its own cannot be had where only a real one is given.
const NO_KEY: &str = "it needs tokens of its own making, and the key to sign them with is not known";

/// The variants of a case that can be played by whoever does not hold the signing key.
fn plays_without_key(variant: &Variant) -> bool {
    match &variant.body {
        Body::Steps(steps) => !steps.iter().any(needs_signing_key),
        Body::Across(_) | Body::Lint(_) => true,
    }
}

/// The case without what only the holder of the signing key can play, where anything is left then.
fn with_tokens_of<'a>(case: Cow<'a, Case>, target: &Target) -> Cow<'a, Case> {
    let plays = case.variants.iter().filter(|variant| plays_without_key(variant)).count();
    if target.makes_tokens() || plays == 0 || plays == case.variants.len() {
        return case;
    }
    let mut case = case.into_owned();
    case.variants.retain(plays_without_key);
    Cow::Owned(case)
}

/// Whether a token of this step can be made only with the target's key.
fn needs_signing_key(step: &Step) -> bool {
    let opens = |open: &Open| {
        let also = open.carry.also.iter().map(|also| &also.token);
        also.chain([&open.token]).any(Recipe::needs_signing_key)
    };
    match step {
        Step::Open(open) => opens(open),
        Step::Crowd(crowd) => crowd.of.iter().any(opens),
        Step::Http(http) => http.bearer.as_ref().is_some_and(Recipe::needs_signing_key),
        _ => false,
    }
}

/// Leaves out the questions about refusals of a class of which no attempt can be made.
fn skip_unseen_classes(trials: &mut [Trial<'_>]) {
    let runs = |trial: &&Trial<'_>| trial.skip.is_none() && trial.case.head.set == Set::Quick;
    let classes: HashSet<Class> = trials
        .iter()
        .filter(runs)
        .flat_map(|trial| trial.case.variants.iter().map(move |variant| (trial, &variant.body)))
        .flat_map(|(trial, body)| match body {
            Body::Steps(steps) => steps.iter().filter_map(|step| refused_as(&trial.case, step)).collect(),
            Body::Across(_) | Body::Lint(_) => Vec::new(),
        })
        .collect();
    for trial in trials.iter_mut().filter(|trial| trial.skip.is_none()) {
        let asks = |variant: &Variant| match &variant.body {
            Body::Across(Across::Signal(class)) => !classes.contains(class),
            _ => false,
        };
        if trial.case.variants.iter().all(asks) {
            trial.skip = Some(NO_KEY.to_owned());
        }
    }
}

/// The class that a refusal of this step would belong to.
fn refused_as(case: &Case, step: &Step) -> Option<Class> {
    match step {
        Step::Open(open) => class_of(case, open.class),
        _ => None,
    }
}

/// A recommendation binds whoever promises to follow it.
fn level(case: &Case, target: &Target) -> Level {
    let head = &case.head;
    let is_promised = !head.must_when.is_empty() && head.must_when.iter().all(|need| need.is_met_by(target));
    if is_promised { Level::Must } else { head.level }
}

/// Why the target cannot have this case, if it cannot.
fn unmet(case: &Case, target: &Target) -> Option<String> {
    if let Some(need) = case.head.needs.iter().find(|need| !need.is_met_by(target)) {
        return Some(format!("it needs {}, which the profile does not declare", need.words()));
    }
    if let Some(need) = case.head.unless.iter().find(|need| need.is_met_by(target)) {
        return Some(format!("the profile declares {}", need.words()));
    }
    None
}

/// The class a refusal of this attempt belongs to.
pub fn class_of(case: &Case, open: Option<Class>) -> Option<Class> {
    open.or(case.head.class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier;
    use crate::profile::Profile;

    fn target(carriers: &str) -> Target {
        let path = if carriers.contains("path") { "/{token}" } else { "" };
        let text = format!(
            "url: ws://h/ws{path}\nsecret: {}\nwelcome: {{ text: hello }}\ncarriers: {carriers}",
            "x".repeat(40)
        );
        Target::from_profile(Profile::from_yaml("p", &text).expect("a profile")).expect("a target")
    }

    fn of_case(code: &str, carriers: &str) -> Vec<(String, bool)> {
        let catalogue = Catalogue::bundled().expect("the catalogue");
        let selection = Selection { words: vec![code.to_owned()], all: true, ..Selection::default() };
        let trials = trials(&catalogue, &target(carriers), &selection);
        let wanted = trials.iter().filter(|trial| trial.wanted);
        wanted.map(|trial| (trial.id(), trial.skip.is_none())).collect()
    }

    #[test]
    fn a_case_runs_over_the_carriers_that_it_names() {
        let all = r#"[{ query: token }, { cookie: a }, { cookie: b }, { subprotocol: ["{token}"] },
            { subprotocol: [app, "k.{token_base64url}"] }, { first_message: { send: "{token}", reply: { text: ok } } }]"#;
        let ids = |code, carriers| of_case(code, carriers).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(
            ids("CAR-001", all),
            ["query", "cookie", "cookie-2", "subprotocol", "subprotocol-2", "first-message"]
                .map(|place| format!("CAR-001@{place}"))
        );
        assert_eq!(ids("CAR-025", all), ["CAR-025@query"]);
        assert_eq!(ids("ORI-003", all), ["ORI-003@cookie", "ORI-003@cookie-2"]);
        assert_eq!(ids("CAR-032", all), ["CAR-032@subprotocol", "CAR-032@subprotocol-2"]);
        assert_eq!(ids("CAR-033", all), ["CAR-033@subprotocol-2"]);
        assert_eq!(ids("CAR-035", all), ["CAR-035@first-message"]);
        // Wherever among the others the carrier stands that a case is about; and the case applies.
        let third = |code| of_case(code, r#"[{ authorization: Bearer }, { query: token }, path]"#);
        let applies = |id: &str| (id.to_owned(), true);
        assert_eq!(third("CAR-017"), [applies("CAR-017@query"), applies("CAR-017@path")]);
        assert_eq!(third("CAR-011"), [applies("CAR-011@query")]);
        assert_eq!(third("CAR-027"), [applies("CAR-027@path")]);
        assert_eq!(of_case("CAR-014", "[{ cookie: a }, { query: token }]"), [("CAR-014@cookie".to_owned(), true)]);
        assert_eq!(of_case("CAR-014", "[{ query: token }]"), [("CAR-014@query".to_owned(), false)]);
        // Once, and with a reason.
        assert_eq!(of_case("CAR-035", "[{ query: token }]"), [("CAR-035@query".to_owned(), false)]);
    }

    #[test]
    fn shares_are_disjoint_whole_and_of_like_size() {
        let catalogue = Catalogue::bundled().expect("the catalogue");
        let target = Target::new("ws://127.0.0.1/ws?token={token}", &"x".repeat(40)).expect("a target");
        let ids = |partition| -> Vec<String> {
            let selection = Selection { all: true, partition, ..Selection::default() };
            trials(&catalogue, &target, &selection).iter().filter(|trial| trial.wanted).map(Trial::id).collect()
        };
        let whole = ids(None);
        for of in [1, 2, 3, 7] {
            let mut parts = Vec::new();
            for part in 1..=of {
                let share = ids(Partition::new(part, of));
                let fair = whole.len() / of as usize;
                assert!(
                    share.len() > fair / 2 && share.len() < fair * 2,
                    "{part}/{of}: {} of {}",
                    share.len(),
                    whole.len()
                );
                parts.extend(share);
            }
            let mut sorted = whole.clone();
            sorted.sort();
            parts.sort();
            assert_eq!(parts, sorted, "of {of}");
        }
        // Part of the interface: a run that was shared out yesterday is shared out alike today.
        let held = |id| (1..=3).find(|part| Partition::new(*part, 3).is_some_and(|share| share.holds(id)));
        assert_eq!(["SIG-008@query", "AUTH-001@query", "TLS-004"].map(held), [Some(3), Some(2), Some(2)]);
        assert_eq!("hash:2/3".parse(), Partition::new(2, 3).ok_or(String::new()));
        for bad in ["2/3", "hash:0/3", "hash:4/3", "hash:1/0", "hash:x/3", "slice:1/3", ""] {
            assert!(bad.parse::<Partition>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_filter_asks_for_one_of_each_kind() {
        let catalogue = Catalogue::bundled().expect("the catalogue");
        let target = Target::new("ws://127.0.0.1/ws?token={token}", &"x".repeat(40)).expect("a target");
        let wanted = |filter: Filter, words: &[&str]| -> Vec<(Level, Severity, bool)> {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            let selection = Selection { words, filter, ..Selection::default() };
            let trials = trials(&catalogue, &target, &selection);
            let trials = trials.iter().filter(|trial| trial.wanted);
            trials.map(|trial| (trial.level, trial.case.head.severity, trial.case.head.set == Set::Quick)).collect()
        };
        let all = wanted(Filter::default(), &[]);
        let levels = vec![Level::May, Level::Should];
        let some = wanted(Filter { levels, severity: Some(Severity::Medium), ..Filter::default() }, &[]);
        let fits = |(level, severity, quick): &&(Level, Severity, bool)| {
            matches!(level, Level::May | Level::Should) && *severity >= Severity::Medium && *quick
        };
        assert_eq!(some, all.iter().filter(fits).copied().collect::<Vec<_>>());
        assert!(some.len() > 5 && some.iter().any(|(_, severity, _)| *severity > Severity::Medium), "{some:?}");
        // It narrows what words select, and no kind makes up for another.
        let high = Filter { severity: Some(Severity::High), ..Filter::default() };
        let of_family = wanted(high.clone(), &["CLM"]);
        assert!(!of_family.is_empty() && of_family.len() < wanted(Filter::default(), &["CLM"]).len());
        assert_eq!(wanted(Filter { tags: vec!["smoke".to_owned()], levels: vec![Level::Info], ..high }, &[]), []);
    }

    #[test]
    fn the_requests_of_every_case_can_be_put_in_the_words_of_a_target() {
        let profile = Profile {
            allowed_origins: vec!["https://app.example.com".to_owned()],
            subprotocol: Some("app".to_owned()),
            ..Profile::default()
        };
        for case in Catalogue::bundled().expect("the catalogue").cases {
            for variant in &case.variants {
                let Body::Steps(steps) = &variant.body else { continue };
                for step in steps.iter() {
                    let Step::Open(open) = step else { continue };
                    let fitted = carrier::fit(&open.request, &profile, &[]);
                    assert!(fitted.is_ok(), "{} {}: {fitted:?}", case.head.code, variant.label);
                }
            }
        }
    }
}
