//! The list of mutations, walked: no row can be invented, none can be forgotten, and each has its effect on a server
//! that is right.

use std::collections::BTreeSet;

use gatecrash::case::{Body, Carry, Encoding, Expect, FrameText, How, Open, Request, Step};
use gatecrash::command::bundled_server::{BundledServer, SETTINGS, Setting};
use gatecrash::mutation::{self, Layer, Mutation};
use gatecrash::profile::Carrier;
use gatecrash::target::Endpoint;
use gatecrash::token::Effect;
use gatecrash::{Catalogue, Suite, Verdict, carrier};
use gatecrash_reference_server::{Dialect, RefusalStyle};
use serde_json::Value;

/// A case around the body of an example.
fn case(code: &str, example: &str) -> Catalogue {
    let mut catalogue = Catalogue::default();
    let body = example.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).expect("a flow mapping");
    let text = format!(
        "family: MUT\ntitle: Mutations\ncases:\n  - {{ code: {code}, name: it, title: it, level: must, severity: low, \
         source: [], {body} }}\n"
    );
    catalogue.add("example", &text).unwrap_or_else(|found| panic!("{example}\n{found}"));
    catalogue
}

fn steps(example: &str) -> Vec<Step> {
    let mut catalogue = case("MUT-001", example);
    let mut case = catalogue.cases.remove(0);
    assert_eq!(case.variants.len(), 1, "{example}");
    match case.variants.remove(0).body {
        Body::Steps(steps) => steps.to_vec(),
        other => panic!("{example}: {other:?}"),
    }
}

fn examples() -> Vec<(Mutation, String)> {
    let rows = mutation::all();
    rows.iter().flat_map(|row| row.examples.iter().map(|example| (row.clone(), example.clone()))).collect()
}

#[test]
fn every_row_has_a_name_of_its_own_a_sentence_and_an_example_of_its_own() {
    let mut names = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for row in mutation::all() {
        assert!(names.insert(row.name.clone()), "{} stands twice", row.name);
        assert!(row.doc.ends_with('.') && !row.examples.is_empty(), "{row:?}");
        for example in row.examples {
            assert!(seen.insert(example.clone()), "{}: {example} stands twice", row.name);
        }
    }
}

/// The members of a value that are not as they are by default, at any depth.
fn said(value: &Value, default: &Value) -> BTreeSet<String> {
    let (Some(value), Some(default)) = (value.as_object(), default.as_object()) else { return BTreeSet::new() };
    value.iter().filter(|(name, value)| default.get(*name) != Some(value)).map(|(name, _)| name.clone()).collect()
}

fn json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("JSON")
}

#[test]
fn whatever_the_case_language_can_change_stands_in_the_list() {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for (_, example) in examples() {
        for step in steps(&example) {
            match &step {
                Step::Open(open) => {
                    used.extend(said(&json(&open.carry), &json(&Carry::default())));
                    used.extend(said(&json(&open.request), &json(&Request::default())));
                    used.insert(json(&open.carry.encoding).as_str().expect("a word").to_owned());
                    let places = open.carry.on.iter().chain(open.carry.also.iter().filter_map(|also| also.on.as_ref()));
                    used.extend(places.filter_map(|on| json(on).as_object()?.keys().next().cloned()));
                }
                Step::Say(say) => drop(used.insert(json(&say.how).as_str().expect("a word").to_owned())),
                Step::Send(send) => {
                    let plain = json(&FrameText::default());
                    used.extend(send.frames.iter().flat_map(|frame| said(&json(frame), &plain)));
                }
                _ => {}
            }
        }
    }
    let fields = [json(&Carry::default()), json(&Request::default()), json(&FrameText::default())];
    let fields = fields.iter().flat_map(|value| value.as_object().expect("an object").keys().cloned());
    // A path takes a token only where it is declared, and `place` puts it there.
    let carriers = words::<Carrier>().into_iter().filter(|word| word != "path");
    let all = fields.chain(words::<How>()).chain(words::<Encoding>()).chain(carriers);
    let missing: Vec<String> = all.filter(|word| !used.contains(word)).collect();
    assert!(missing.is_empty(), "no row of mutation.rs shows {}", missing.join(", "));
}

/// The words of an enum, which its reader tells to whoever says another.
fn words<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
    let error = serde_json::from_value::<T>(Value::from("?")).expect_err("no word").to_string();
    let words: Vec<String> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(words.len() > 1, "{error}");
    words
}

#[test]
fn every_opening_differs_from_a_valid_one() {
    let request = |open: &Open, on: &Carrier| {
        let url = if *on == Carrier::Path { "ws://server/ws/{token}" } else { "ws://server/ws" };
        let endpoint = Endpoint::parse(url).expect("a URL");
        let other = Carrier::Query("other".to_owned());
        let main = carrier::Placed { on: open.carry.on.as_ref().unwrap_or(on), token: Some(b"a.b.c") };
        let also: Vec<_> = open
            .carry
            .also
            .iter()
            .map(|also| carrier::Placed { on: also.on.as_ref().unwrap_or(&other), token: Some(b"d.e.f") })
            .chain(std::iter::once(carrier::Placed { on: &other, token: None }))
            .collect();
        let key = open.request.key.as_deref().unwrap_or("key");
        let bytes = carrier::place(&endpoint, key, main, &open.carry, &also, &open.request).to_bytes();
        let Request { segment_bytes, early, server_name, plain, .. } = open.request.clone();
        (bytes, segment_bytes, early, server_name, plain)
    };
    for (row, example) in examples() {
        if !matches!(row.layer, Layer::Carrier | Layer::Request) || row.name == "place" {
            continue;
        }
        let on = if example.contains("path_carrier") { Carrier::Path } else { Carrier::Query("token".to_owned()) };
        let steps = steps(&example);
        let [Step::Open(open)] = steps.as_slice() else { panic!("{example}") };
        assert_ne!(request(open, &on), request(&Open::default(), &on), "{}: {example}", row.name);
    }
}

/// Whether the example asks for what its row says.
fn asks_for(effect: Effect, steps: &[Step]) -> bool {
    let refused = |step: &Step| match step {
        Step::Open(open) => matches!(open.expect, Expect::Refused | Expect::NotUpgraded),
        Step::Await(wait) => json(&wait.what) == "failed",
        _ => false,
    };
    let served = |step: &Step| match step {
        Step::Open(open) => open.expect == Expect::Admitted,
        Step::Hear(_) | Step::Alive(_) => true,
        _ => false,
    };
    match effect {
        Effect::Breaking => steps.iter().any(refused),
        Effect::Benign => steps.last().is_some_and(served),
        Effect::Open => true,
    }
}

#[test]
fn every_row_has_its_effect_on_a_server_that_is_right() {
    let mut catalogue = Catalogue::default();
    let mut rows = Vec::new();
    for (number, (row, example)) in examples().into_iter().enumerate() {
        assert!(asks_for(row.effect, &steps(&example)), "{}: {example} asks for something else", row.name);
        catalogue.cases.extend(case(&format!("MUT-{number:03}"), &example).cases);
        rows.push((row.name, example));
    }
    let mut applied = BTreeSet::new();
    let close = Dialect::ALL.iter().map(|dialect| Setting::of(*dialect, RefusalStyle::Close));
    let tls = SETTINGS.iter().filter(|setting| setting.name == "strict::tls").copied();
    for setting in close.chain(tls) {
        let server = BundledServer::start(&setting, None).expect("it starts");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let suite = Suite::new(Ok(catalogue.clone())).seed(11);
        let report = runtime.block_on(suite.run(&server.target)).expect("a report");
        assert!(report.failure.is_none(), "{report}");
        for trial in &report.trials {
            let number: usize = trial.code.trim_start_matches("MUT-").parse().expect("a number");
            match trial.verdict {
                Verdict::NotApplicable => {}
                Verdict::Pass | Verdict::Info => drop(applied.insert(number)),
                _ => panic!("{}: {} in {}\n{report}", rows[number].0, rows[number].1, setting.name),
            }
        }
    }
    // What only some algorithms can have is tried in the laws of the token room.
    let never: Vec<&(String, String)> =
        (0..rows.len()).filter(|number| !applied.contains(number)).map(|number| &rows[number]).collect();
    let excused = |name: &str| {
        gatecrash::token::Op::catalogue()
            .iter()
            .any(|info| info.name == name && info.suits != gatecrash::token::Suits::Any)
    };
    let lost: Vec<_> = never.iter().filter(|(name, _)| !excused(name)).collect();
    assert!(lost.is_empty(), "never applicable: {lost:?}");
}
