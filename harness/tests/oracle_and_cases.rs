//! The oracle against the cases: what a case says of a token must be what the oracle says of its bytes, for every
//! setting of the bundled server. Two people would have to make the same mistake for a wrong case to pass.
//!
//! Only what the token alone decides can be compared. The exceptions are named with their reason, and one that no longer
//! is one fails.

use std::collections::{BTreeMap, BTreeSet};

use gatecrash::Catalogue;
use gatecrash::case::{Body, Expect, Open, Step};
use gatecrash::command::bundled_server::{BundledServer, SETTINGS};
use gatecrash::plan::{self, Selection};
use gatecrash::target::{Target, Templates};
use gatecrash::token::{Answer, Recipe, Rules, forge, oracle};
use gatecrash::verdict::Level;

/// 2026-01-01, half a second after midnight.
const NOW: f64 = 1_767_225_600.5;

/// Cases that refuse, at MUST, a token that the oracle does not refuse, and why both are right.
const DECIDED_ELSEWHERE: &[(&str, &str)] =
    &[("CLM-046", "which bearers are known is the target's to say; that nobody has a random name is the case's guess")];

/// Whether only the token of this opening is unusual.
fn is_about_its_token(open: &Open) -> bool {
    let ordinary = Open::default();
    !open.captured && !open.again && open.carry == ordinary.carry && open.request == ordinary.request
}

fn level_of(open: &Open, case: Level) -> Level {
    open.level.unwrap_or(case)
}

#[test]
fn every_case_says_what_the_oracle_says() {
    let catalogue = Catalogue::bundled().expect("the catalogue");
    let mut wrong = Vec::new();
    let mut elsewhere: BTreeMap<&str, usize> = DECIDED_ELSEWHERE.iter().map(|(code, _)| (*code, 0)).collect();
    let mut compared = BTreeSet::new();
    for setting in SETTINGS {
        let server = BundledServer::start(setting, None).expect("a server");
        let target = &server.target;
        let rules = Rules::of(target);
        let selection = Selection { all: true, ..Selection::default() };
        for trial in plan::trials(&catalogue, target, &selection).iter().filter(|trial| trial.skip.is_none()) {
            let head = &trial.case.head;
            for (number, variant) in trial.case.variants.iter().enumerate() {
                let Body::Steps(steps) = &variant.body else { continue };
                for (place, step) in steps.iter().enumerate() {
                    let Step::Open(open) = step else { continue };
                    if !is_about_its_token(open) || matches!(open.token, Recipe::Absent) {
                        continue;
                    }
                    let wanted = match (open.expect, level_of(open, head.level)) {
                        (Expect::Refused, Level::Must) => Answer::Refuse,
                        // What is only given is no demand.
                        (Expect::Admitted, Level::Must) if open.given.is_none() => Answer::Accept,
                        _ => continue,
                    };
                    let seed = (number * 100 + place) as u64;
                    let Some(judgement) = judge(target, &rules, &open.token, variant.bound.as_ref(), seed) else {
                        continue;
                    };
                    compared.insert(head.code.clone());
                    if judgement.answer == wanted {
                        continue;
                    }
                    if let Some(count) = elsewhere.get_mut(head.code.as_str()) {
                        *count += 1;
                        continue;
                    }
                    let reasons: Vec<String> = judgement.reasons.iter().map(ToString::to_string).collect();
                    wrong.push(format!(
                        "{} {} in {}: the case says {wanted:?}, the oracle {:?} ({})",
                        head.code,
                        variant.label,
                        setting.name,
                        judgement.answer,
                        reasons.join("; ")
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    let idle: Vec<_> = elsewhere.iter().filter(|(_, count)| **count == 0).collect();
    assert!(idle.is_empty(), "no longer exceptions: {idle:?}");
    assert!(compared.len() > 120, "hardly anything was compared: {}", compared.len());
}

/// What the oracle says of the token, if this target gives a way to make it.
fn judge(
    target: &Target,
    rules: &Rules,
    recipe: &Recipe,
    bound: Option<&gatecrash::case::Bound>,
    seed: u64,
) -> Option<gatecrash::token::Judgement> {
    let templates = Templates::of(&target.profile);
    let user = target.profile.user.clone().unwrap_or_else(|| "gatecrash-00c0de".to_owned());
    let mut mint = target.mint(&templates, NOW, &user, seed);
    if let Some(bound) = bound {
        bound.put(&mut mint.words);
    }
    match forge(recipe, &mint) {
        Ok(token) => Some(oracle(token.bytes().unwrap_or_default(), rules, NOW, 0.0)),
        Err(error) if error.is_not_applicable() => None,
        Err(error) => panic!("{recipe:?}: {error}"),
    }
}

#[test]
fn the_valid_token_of_every_setting_is_accepted() {
    for setting in SETTINGS {
        let server = BundledServer::start(setting, None).expect("a server");
        let rules = Rules::of(&server.target);
        let judgement = judge(&server.target, &rules, &Recipe::Valid, None, 1).expect("a token");
        assert_eq!(judgement.answer, Answer::Accept, "{}: {:?}", setting.name, judgement.reasons);
    }
}
